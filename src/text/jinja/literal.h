// Literals of the template language and of JSON: numbers and escaped strings.
#pragma once

#include "text/jinja/value.h"

#include <optional>
#include <string>
#include <string_view>

namespace genesis::text::jinja {

struct NumberLiteral {
  Value value;
  std::size_t bytes;  // 0: it does not fit
};

// The number at the front of `text`, which begins with a digit: 1_000, 0x1f, 0o17, 0b1, 1.5e-3.
NumberLiteral read_number(std::string_view text);

// A decimal integer with optional sign; nullopt if it is none or does not fit.
std::optional<Int> parse_int(std::string_view digits);
// As Python's float(): nullopt if it is none.
std::optional<double> parse_float(std::string_view text);

// The inside of a quoted string with Python's escapes. nullopt for an escape that cannot be read.
std::optional<std::string> unescape_string(std::string_view inside);

}  // namespace genesis::text::jinja
