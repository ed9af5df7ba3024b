// One state per byte; RFC 8259's grammar by hand.
#include "text/answer/json_scanner.h"

namespace genesis::text {

namespace {

constexpr bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// How many bytes a character has that begins so (RFC 3629), 0 for no beginning.
constexpr std::size_t character_length(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0xC2 && byte <= 0xDF) {
    return 2;
  }
  if (byte >= 0xE0 && byte <= 0xEF) {
    return 3;
  }
  return byte >= 0xF0 && byte <= 0xF4 ? 4 : 0;
}

}  // namespace

bool JsonScanner::push(char c) {
  switch (place_) {
    case JsonPlace::kString:
      return in_string(c);
    case JsonPlace::kEscape:
      return in_escape(c);
    case JsonPlace::kHex:
      return in_hex(c);
    case JsonPlace::kPair:
      return in_pair(c);
    case JsonPlace::kWord:
      return in_word(c);
    case JsonPlace::kNumber:
      return in_number(c);
    case JsonPlace::kStart:
      return c == '{' ? open(true) : go(JsonPlace::kBroken);
    case JsonPlace::kEnd:
    case JsonPlace::kBroken:
      return go(JsonPlace::kBroken);
    default:
      return is_space(c) || outside(c);
  }
}

// Between the tokens, `c` no white space.
bool JsonScanner::outside(char c) {
  switch (place_) {
    case JsonPlace::kFirstKey:
    case JsonPlace::kKey:
      if (c == '"') {
        key_ = true;
        return go(JsonPlace::kString);
      }
      return c == '}' && place_ == JsonPlace::kFirstKey ? close(true) : go(JsonPlace::kBroken);
    case JsonPlace::kColon:
      return go(c == ':' ? JsonPlace::kValue : JsonPlace::kBroken);
    case JsonPlace::kFirstItem:
      return c == ']' ? close(false) : begin_value(c);
    case JsonPlace::kValue:
      return begin_value(c);
    default:
      break;
  }
  if (c == ',') {
    return go(object_[depth_ - 1] ? JsonPlace::kKey : JsonPlace::kValue);
  }
  return c == '}' || c == ']' ? close(c == '}') : go(JsonPlace::kBroken);
}

bool JsonScanner::open(bool object) {
  if (depth_ == kMaxJsonDepth) {
    return go(JsonPlace::kBroken);
  }
  object_[depth_++] = object;
  return go(object ? JsonPlace::kFirstKey : JsonPlace::kFirstItem);
}

bool JsonScanner::close(bool object) {
  if (object_[depth_ - 1] != object) {
    return go(JsonPlace::kBroken);
  }
  --depth_;
  return go(depth_ == 0 ? JsonPlace::kEnd : JsonPlace::kAfter);
}

bool JsonScanner::begin_value(char c) {
  switch (c) {
    case '{':
    case '[':
      return open(c == '{');
    case '"':
      key_ = false;
      return go(JsonPlace::kString);
    case 't':
      word_ = "rue";
      return go(JsonPlace::kWord);
    case 'f':
      word_ = "alse";
      return go(JsonPlace::kWord);
    case 'n':
      word_ = "ull";
      return go(JsonPlace::kWord);
    default:
      break;
  }
  if (c != '-' && !is_digit(c)) {
    return go(JsonPlace::kBroken);
  }
  digits_ = c == '-' ? Digits::kSign : (c == '0' ? Digits::kZero : Digits::kWhole);
  return go(JsonPlace::kNumber);
}

bool JsonScanner::in_word(char c) {
  if (c != word_.front()) {
    return go(JsonPlace::kBroken);
  }
  word_.remove_prefix(1);
  return go(word_.empty() ? JsonPlace::kAfter : JsonPlace::kWord);
}

bool JsonScanner::in_number(char c) {
  const Digits before = digits_;
  if (is_digit(c)) {
    switch (before) {
      case Digits::kSign:
        digits_ = c == '0' ? Digits::kZero : Digits::kWhole;
        return true;
      case Digits::kZero:
        return go(JsonPlace::kBroken);
      case Digits::kPoint:
        digits_ = Digits::kFraction;
        return true;
      case Digits::kE:
      case Digits::kESign:
        digits_ = Digits::kPower;
        return true;
      default:
        return true;
    }
  }
  const bool whole = before == Digits::kZero || before == Digits::kWhole;
  if (c == '.' && whole) {
    digits_ = Digits::kPoint;
    return true;
  }
  if ((c == 'e' || c == 'E') && (whole || before == Digits::kFraction)) {
    digits_ = Digits::kE;
    return true;
  }
  if ((c == '+' || c == '-') && before == Digits::kE) {
    digits_ = Digits::kESign;
    return true;
  }
  if (!whole && before != Digits::kFraction && before != Digits::kPower) {
    return go(JsonPlace::kBroken);
  }
  place_ = JsonPlace::kAfter;  // a number ends where something else begins
  return is_space(c) || outside(c);
}

bool JsonScanner::in_string(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (!character_.empty() || byte >= 0x80) {
    return in_character(c);
  }
  if (c == '"') {
    return go(key_ ? JsonPlace::kColon : JsonPlace::kAfter);
  }
  if (c == '\\') {
    return go(JsonPlace::kEscape);
  }
  return byte >= 0x20 || go(JsonPlace::kBroken);
}

bool JsonScanner::in_character(char c) {
  character_.push_back(c);
  const std::size_t length = character_length(character_.front());
  if (length == 0) {
    return go(JsonPlace::kBroken);
  }
  if (character_.size() < length) {
    return true;
  }
  const bool valid = utf8_sequence_length(character_) == length;
  character_.clear();
  return valid || go(JsonPlace::kBroken);
}

bool JsonScanner::in_escape(char c) {
  if (c == 'u') {
    unit_ = 0;
    hex_left_ = 4;
    return go(JsonPlace::kHex);
  }
  const bool known = !low_ && c != '\0' && std::string_view("\"\\/bfnrt").contains(c);
  return go(known ? JsonPlace::kString : JsonPlace::kBroken);
}

bool JsonScanner::in_hex(char c) {
  const char lower = static_cast<char>(c | 0x20);
  if (!is_digit(c) && (lower < 'a' || lower > 'f')) {
    return go(JsonPlace::kBroken);
  }
  unit_ = unit_ * 16 + static_cast<unsigned>(is_digit(c) ? c - '0' : lower - 'a' + 10);
  if (--hex_left_ > 0) {
    return true;
  }
  const bool is_high = unit_ >= 0xD800 && unit_ <= 0xDBFF;
  const bool is_low = unit_ >= 0xDC00 && unit_ <= 0xDFFF;
  if (is_low != low_) {
    return go(JsonPlace::kBroken);
  }
  low_ = is_high;
  return go(is_high ? JsonPlace::kPair : JsonPlace::kString);
}

// Only another \u may follow a high surrogate.
bool JsonScanner::in_pair(char c) {
  return go(c == '\\' ? JsonPlace::kEscape : JsonPlace::kBroken);
}

}  // namespace genesis::text
