// Cuts a template into tokens as jinja2 does with trim_blocks and lstrip_blocks on: a newline after
// a block is dropped, and so is the white space before a block that begins a line.
#pragma once

#include "base/result.h"
#include "text/jinja/value.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text::jinja {

struct Token {
  enum class Kind : std::uint8_t {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };

  Kind kind;
  std::uint32_t line;
  std::string text;  // data, name, operator; the value of a string
  Value number = {};

  bool is(Kind k, std::string_view t) const { return kind == k && text == t; }

  bool is_name(std::string_view t) const { return is(Kind::kName, t); }

  bool is_operator(std::string_view t) const { return is(Kind::kOperator, t); }
};

// The last token is kEnd. Errors name the line.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace genesis::text::jinja
