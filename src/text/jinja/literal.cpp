#include "text/jinja/literal.h"

#include "text/unicode.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace genesis::text::jinja {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

int digit_value(char c) {
  if (is_digit(c)) {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
}

// Length of a run of digits with single underscores between them.
std::size_t digit_run(std::string_view text, int base) {
  std::size_t at = 0;
  while (at < text.size()) {
    const bool digit = digit_value(text[at]) < base;
    const bool between = text[at] == '_' && at > 0 && text[at - 1] != '_' && at + 1 < text.size() &&
                         digit_value(text[at + 1]) < base;
    if (digit || between) {
      ++at;
    } else {
      break;
    }
  }
  return at;
}

std::optional<Int> digits_to_int(std::string_view digits, int base) {
  Int value = 0;
  for (const char c : digits) {
    if (c == '_') {
      continue;
    }
    if (__builtin_mul_overflow(value, static_cast<Int>(base), &value) ||
        __builtin_add_overflow(value, static_cast<Int>(digit_value(c)), &value)) {
      return std::nullopt;
    }
  }
  return value;
}

// Length of ".5", ".5e3" or "e3" after the digits of a number; 0 if it is an integer.
std::size_t fraction_length(std::string_view text) {
  std::size_t at = 0;
  if (text.starts_with('.')) {
    const std::size_t digits = digit_run(text.substr(1), 10);
    if (digits == 0) {
      return 0;
    }
    at = 1 + digits;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    std::size_t exponent = at + 1;
    exponent +=
        exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-') ? 1U : 0U;
    const std::size_t digits = digit_run(text.substr(std::min(exponent, text.size())), 10);
    if (digits > 0) {
      at = exponent + digits;
    }
  }
  return at;
}

std::string without_underscores(std::string_view text) {
  std::string out(text);
  std::erase(out, '_');
  return out;
}

}  // namespace

NumberLiteral read_number(std::string_view text) {
  if (text.size() > 2 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    const int base = mark == 'x' ? 16 : (mark == 'o' ? 8 : (mark == 'b' ? 2 : 0));
    const std::size_t digits = base == 0 ? 0 : digit_run(text.substr(2), base);
    if (digits > 0) {
      const auto value = digits_to_int(text.substr(2, digits), base);
      return {value ? Value::integer(*value) : Value(), value ? digits + 2 : 0};
    }
  }
  const std::size_t whole = digit_run(text, 10);
  const std::size_t fraction = fraction_length(text.substr(whole));
  if (fraction > 0) {
    const std::string literal = without_underscores(text.substr(0, whole + fraction));
    return {Value::real(std::strtod(literal.c_str(), nullptr)), whole + fraction};
  }
  const auto value = digits_to_int(text.substr(0, whole), 10);
  return {value ? Value::integer(*value) : Value(), value ? whole : 0};
}

std::optional<Int> parse_int(std::string_view digits) {
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) {
    digits.remove_prefix(1);
  }
  if (digits.empty() || digit_run(digits, 10) != digits.size()) {
    return std::nullopt;
  }
  const auto value = digits_to_int(digits, 10);
  return value ? std::optional(negative ? -*value : *value) : std::nullopt;
}

std::optional<double> parse_float(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  });
  std::string_view digits = lower;
  const double sign = digits.starts_with('-') ? -1.0 : 1.0;
  if (digits.starts_with('-') || digits.starts_with('+')) {
    digits.remove_prefix(1);
  }
  if (digits == "inf" || digits == "infinity") {
    return sign * std::numeric_limits<double>::infinity();
  }
  if (digits == "nan") {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const std::size_t whole = digit_run(digits, 10);
  std::string_view tail = digits.substr(whole);
  std::size_t fraction = fraction_length(tail);
  if (fraction == 0 && whole > 0 && tail.starts_with('.')) {
    fraction = 1 + fraction_length(tail.substr(1));  // "5." and "5.e3"
  }
  if ((whole == 0 && fraction < 2) || whole + fraction != digits.size()) {
    return std::nullopt;
  }
  return sign * std::strtod(without_underscores(digits).c_str(), nullptr);
}

namespace {

// Reads `\xHH`, `\uHHHH`, `\UHHHHHHHH` after the backslash and letter.
bool append_hex(std::string& out, std::string_view text, std::size_t& at, std::size_t digits) {
  if (at + digits > text.size()) {
    return false;
  }
  char32_t value = 0;
  for (std::size_t i = 0; i < digits; ++i, ++at) {
    const int digit = digit_value(text[at]);
    if (digit > 15) {
      return false;
    }
    value = value << 4 | static_cast<char32_t>(digit);
  }
  // A lone surrogate is legal in Python, but no such string can ever be sent as UTF-8.
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
    return false;
  }
  append_utf8(out, value);
  return true;
}

void append_octal(std::string& out, std::string_view text, std::size_t& at) {
  char32_t value = 0;
  for (int i = 0; i < 3 && at < text.size() && text[at] >= '0' && text[at] <= '7'; ++i, ++at) {
    value = value << 3 | static_cast<char32_t>(text[at] - '0');
  }
  append_utf8(out, value);
}

}  // namespace

std::optional<std::string> unescape_string(std::string_view inside) {
  constexpr std::string_view kLetters = "ntrabfv\\'\"";
  constexpr std::string_view kMeanings = "\n\t\r\a\b\f\v\\'\"";
  std::string out;
  for (std::size_t at = 0; at < inside.size();) {
    if (inside[at] != '\\' || at + 1 == inside.size()) {
      out.push_back(inside[at++]);
      continue;
    }
    const char c = inside[at + 1];
    at += 2;
    if (const std::size_t known = kLetters.find(c); known != std::string_view::npos) {
      out.push_back(kMeanings[known]);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      if (!append_hex(out, inside, at, c == 'x' ? 2 : (c == 'u' ? 4 : 8))) {
        return std::nullopt;
      }
    } else if (c >= '0' && c <= '7') {
      --at;
      append_octal(out, inside, at);
    } else if (c == 'N') {
      return std::nullopt;
    } else if (c != '\n') {
      out.push_back('\\');
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace genesis::text::jinja
