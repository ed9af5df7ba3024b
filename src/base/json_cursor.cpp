#include "base/json_cursor.h"

#include "base/json.h"

#include <charconv>

namespace genesis {

namespace {

// Deeper texts are left to the parser; every text that a hot path reads is far flatter.
constexpr std::size_t kMaxCursorDepth = 32;
// Fits 64 bits whatever the digits are.
constexpr std::size_t kMaxDigits = 18;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_high_surrogate(unsigned unit) {
  return unit >= 0xD800 && unit <= 0xDBFF;
}

bool is_low_surrogate(unsigned unit) {
  return unit >= 0xDC00 && unit <= 0xDFFF;
}

void append_utf8(std::string& out, unsigned code) {
  const auto push = [&](unsigned byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    push(code);
  } else if (code < 0x800) {
    push(0xC0U | (code >> 6U));
    push(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    push(0xE0U | (code >> 12U));
    push(0x80U | ((code >> 6U) & 0x3FU));
    push(0x80U | (code & 0x3FU));
  } else {
    push(0xF0U | (code >> 18U));
    push(0x80U | ((code >> 12U) & 0x3FU));
    push(0x80U | ((code >> 6U) & 0x3FU));
    push(0x80U | (code & 0x3FU));
  }
}

unsigned hex4(std::string_view digits) {
  unsigned unit = 0;
  std::from_chars(digits.data(), digits.data() + 4, unit, 16);
  return unit;
}

}  // namespace

bool JsonCursor::fail() {
  failed_ = true;
  at_ = text_.size();
  return false;
}

void JsonCursor::skip_space() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
    ++at_;
  }
}

bool JsonCursor::take(char c) {
  if (at_ < text_.size() && text_[at_] == c) {
    ++at_;
    return true;
  }
  return false;
}

bool JsonCursor::begin(char bracket) {
  skip_space();
  if (!take(bracket) || ++depth_ > kMaxCursorDepth) {
    return fail();
  }
  need_comma_ = false;
  return true;
}

// Steps over the comma or the closing bracket; true when another element follows.
bool JsonCursor::next(char closing) {
  skip_space();
  if (take(closing)) {
    if (depth_ == 0) {
      return fail();
    }
    --depth_;
    need_comma_ = true;
    return false;
  }
  if (need_comma_ && !take(',')) {
    return fail();
  }
  skip_space();
  return need_comma_ && peek() == closing ? fail() : !failed_;
}

std::optional<std::string_view> JsonCursor::next_member() {
  if (!next('}')) {
    return std::nullopt;
  }
  const std::size_t start = at_;
  if (!take_string()) {
    return std::nullopt;
  }
  const std::string_view name = text_.substr(start + 1, at_ - start - 2);
  skip_space();
  if (!take(':')) {
    fail();
    return std::nullopt;
  }
  return name;
}

bool JsonCursor::next_item() {
  return next(']');
}

bool JsonCursor::take_word(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) {
    return fail();
  }
  at_ += word.size();
  need_comma_ = true;
  return true;
}

bool JsonCursor::take_null() {
  skip_space();
  return peek() == 'n' && take_word("null");
}

std::optional<unsigned> JsonCursor::take_hex4() {
  unsigned unit = 0;
  const std::string_view digits = text_.substr(at_, 4);
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16).ptr;
  if (digits.size() != 4 || end != digits.data() + 4) {
    return std::nullopt;
  }
  at_ += 4;
  return unit;
}

// Behind the backslash.
bool JsonCursor::take_escape() {
  const char c = peek();
  if (c != 'u') {
    ++at_;
    return std::string_view("\"\\/bfnrt").contains(c) && c != '\0' ? true : fail();
  }
  ++at_;
  const auto unit = take_hex4();
  if (!unit || is_low_surrogate(*unit)) {
    return fail();
  }
  if (!is_high_surrogate(*unit)) {
    return true;
  }
  if (!take('\\') || !take('u')) {
    return fail();
  }
  const auto low = take_hex4();
  return low && is_low_surrogate(*low) ? true : fail();
}

bool JsonCursor::take_string() {
  if (!take('"')) {
    return fail();
  }
  for (;;) {
    at_ += plain_prefix(text_.substr(at_));
    if (at_ >= text_.size()) {
      return fail();
    }
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') {
      ++at_;
      need_comma_ = true;
      return true;
    } else if (c == '\\') {
      ++at_;
      if (!take_escape()) {
        return false;
      }
    } else {
      const std::size_t length = c < 0x80 ? 0 : utf8_sequence_length(text_.substr(at_, 4));
      if (length == 0) {
        return fail();
      }
      at_ += length;
    }
  }
}

std::optional<std::string_view> JsonCursor::string() {
  skip_space();
  const std::size_t start = at_;
  if (!take_string()) {
    return std::nullopt;
  }
  return text_.substr(start + 1, at_ - start - 2);
}

// RFC 8259 section 6 without exponents.
bool JsonCursor::take_number() {
  const std::size_t start = at_;
  take('-');
  const std::size_t first = at_;
  while (is_digit(peek())) {
    ++at_;
  }
  const std::size_t digits = at_ - first;
  if (digits == 0 || (digits > 1 && text_[first] == '0')) {
    return fail();
  }
  if (take('.')) {
    const std::size_t fraction = at_;
    while (is_digit(peek())) {
      ++at_;
    }
    if (at_ == fraction) {
      return fail();
    }
  }
  if (peek() == 'e' || peek() == 'E' || at_ - start > kMaxDigits) {
    return fail();
  }
  need_comma_ = true;
  return true;
}

std::optional<std::int64_t> JsonCursor::integer() {
  skip_space();
  const std::size_t start = at_;
  if (!take_number()) {
    return std::nullopt;
  }
  const std::string_view digits = text_.substr(start, at_ - start);
  std::int64_t value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) {
    fail();
    return std::nullopt;
  }
  return value;
}

bool JsonCursor::skip() {
  skip_space();
  switch (peek()) {
    case '{':
      begin('{');
      while (next_member()) {
        skip();
      }
      return !failed_;
    case '[':
      begin('[');
      while (next_item()) {
        skip();
      }
      return !failed_;
    case '"':
      return take_string();
    case 't':
      return take_word("true");
    case 'f':
      return take_word("false");
    case 'n':
      return take_word("null");
    default:
      return take_number();
  }
}

bool JsonCursor::at_end() {
  skip_space();
  return !failed_ && depth_ == 0 && need_comma_ && at_ == text_.size();
}

std::string unescape_json(std::string_view raw) {
  std::string out;
  out.reserve(raw.size());
  for (;;) {
    const std::size_t escape = raw.find('\\');
    out += raw.substr(0, escape);
    if (escape == std::string_view::npos || escape + 1 >= raw.size()) {
      return out;
    }
    const char c = raw[escape + 1];
    raw.remove_prefix(escape + 2);
    constexpr std::string_view kNames = "bfnrt";
    constexpr std::string_view kMeant = "\b\f\n\r\t";
    if (const auto at = kNames.find(c); at != std::string_view::npos) {
      out.push_back(kMeant[at]);
    } else if (c != 'u') {
      out.push_back(c);
    } else if (raw.size() >= 4) {
      unsigned code = hex4(raw);
      raw.remove_prefix(4);
      if (is_high_surrogate(code) && raw.size() >= 6) {
        code = 0x10000 + ((code - 0xD800) << 10U) + (hex4(raw.substr(2)) - 0xDC00);
        raw.remove_prefix(6);
      }
      append_utf8(out, code);
    }
  }
}

}  // namespace genesis
