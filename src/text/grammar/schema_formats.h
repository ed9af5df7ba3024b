// The formats of JSON Schema as regular expressions.
#pragma once

#include <optional>
#include <string_view>

namespace genesis::text::grammar {

// Nullopt: not known. An empty pattern: known to say nothing about the text.
std::optional<std::string_view> format_pattern(std::string_view name);

// Formats of OpenAPI that speak of numbers.
bool is_number_format(std::string_view name);

}  // namespace genesis::text::grammar
