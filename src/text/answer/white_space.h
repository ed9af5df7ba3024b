// JSON's white space, which is also what models write around calls and thoughts.
#pragma once

#include <algorithm>
#include <string_view>

namespace genesis::text {

inline constexpr std::string_view kSpace = " \t\r\n";

constexpr bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

constexpr std::string_view without_leading_space(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kSpace), text.size()));
}

}  // namespace genesis::text
