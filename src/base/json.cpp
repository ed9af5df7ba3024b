#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

namespace genesis {

namespace {

std::unexpected<Error> wrong_type(std::string_view prefix,
                                  std::string_view key,
                                  std::string_view expected) {
  const std::string param = fmt::format("{}{}", prefix, key);
  return fail_param(param, fmt::format("'{}' must be {}", param, expected));
}

template <typename T>
void append_shortest(std::string& out, T value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  out.append(buffer.data(), end.ptr);
}

constexpr std::uint64_t in_every_byte(unsigned char c) {
  return 0x0101'0101'0101'0101ULL * c;
}

// High bit set at bytes of `word` that are zero; exact up to and including the first one.
constexpr std::uint64_t zero_bytes(std::uint64_t word) {
  return (word - in_every_byte(1)) & ~word & in_every_byte(0x80);
}

void append_escaped_ascii(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (static_cast<unsigned char>(c) < 0x20) {
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
  } else {
    out.push_back(c);
  }
}

// Walks one object's or array's text; positions only, no tree.
class MemberScanner {
 public:
  explicit MemberScanner(std::string_view text) : text_(text) {}

  Result<std::vector<JsonMember>> run() {
    std::vector<JsonMember> members;
    skip_space();
    if (!take('{')) {
      return malformed();
    }
    skip_space();
    while (!take('}')) {
      GENESIS_TRY(auto member, next_member());
      members.push_back(std::move(member));
      skip_space();
      if (take(',')) {
        skip_space();
      } else if (at_ >= text_.size() || text_[at_] != '}') {
        return malformed();
      }
    }
    return members;
  }

  Result<std::vector<std::string_view>> items() {
    std::vector<std::string_view> items;
    skip_space();
    if (!take('[')) {
      return malformed();
    }
    skip_space();
    while (!take(']')) {
      GENESIS_TRY(const std::string_view item, value());
      items.push_back(item);
      if (take(',')) {
        skip_space();
      } else if (at_ >= text_.size() || text_[at_] != ']') {
        return malformed();
      }
    }
    return items;
  }

 private:
  std::unexpected<Error> malformed() const {
    return fail(ErrorCode::kInvalidArgument, fmt::format("malformed JSON at byte {}", at_));
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) {
      ++at_;
    }
  }

  bool take(char c) {
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }

  bool skip_string() {
    if (!take('"')) {
      return false;
    }
    at_ += plain_prefix(text_.substr(at_));
    while (at_ < text_.size() && text_[at_] != '"') {
      at_ += text_[at_] == '\\' ? 2 : 1;
      at_ += at_ < text_.size() ? plain_prefix(text_.substr(at_)) : 0;
    }
    return take('"');
  }

  bool skip_value() {
    std::size_t depth = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!skip_string()) {
          return false;
        }
        continue;
      }
      if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
        break;
      }
      if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        --depth;
      }
      ++at_;
    }
    return depth == 0 && at_ > begin;
  }

  // `quoted` with its quotes.
  static Result<std::string> unescaped(std::string_view quoted) {
    if (!quoted.contains('\\')) {
      return std::string(quoted.substr(1, quoted.size() - 2));
    }
    GENESIS_TRY(const auto parsed, parse_json(quoted));
    return std::string(parsed.as_string());
  }

  Result<JsonMember> next_member() {
    const std::size_t key_begin = at_;
    if (!skip_string()) {
      return malformed();
    }
    GENESIS_TRY(std::string key, unescaped(text_.substr(key_begin, at_ - key_begin)));
    skip_space();
    if (!take(':')) {
      return malformed();
    }
    skip_space();
    GENESIS_TRY(const std::string_view member_value, value());
    return JsonMember{.key = std::move(key), .value = member_value};
  }

  // Without white space around it.
  Result<std::string_view> value() {
    const std::size_t begin = at_;
    if (!skip_value()) {
      return malformed();
    }
    std::size_t end = at_;
    while (end > begin && std::string_view(" \t\r\n").contains(text_[end - 1])) {
      --end;
    }
    return text_.substr(begin, end - begin);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

// Eight bytes at a time (graphics.stanford.edu/~seander/bithacks.html#HasLessInWord).
std::size_t plain_prefix(std::string_view text) {
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= text.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, sizeof word);
    const std::uint64_t control = (word - in_every_byte(0x20)) & ~word & in_every_byte(0x80);
    const std::uint64_t special = (word & in_every_byte(0x80)) | control |
                                  zero_bytes(word ^ in_every_byte('"')) |
                                  zero_bytes(word ^ in_every_byte('\\'));
    if (special != 0) {
      static_assert(std::endian::native == std::endian::little);
      return at + static_cast<std::size_t>(std::countr_zero(special)) / 8;
    }
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) >= 0x20 &&
         static_cast<unsigned char>(text[at]) < 0x80 && text[at] != '"' && text[at] != '\\') {
    ++at;
  }
  return at;
}

std::size_t utf8_sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    low = lead == 0xE0 ? 0xA0 : 0x80;
    high = lead == 0xED ? 0x9F : 0xBF;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    low = lead == 0xF0 ? 0x90 : 0x80;
    high = lead == 0xF4 ? 0x8F : 0xBF;
  }
  if (length == 0 || text.size() < length || byte(1) < low || byte(1) > high) {
    return 0;
  }
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) {
      return 0;
    }
  }
  return length;
}

Result<boost::json::value> parse_json(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  // One block for the whole tree instead of an allocation a node; the value keeps it alive.
  const std::size_t block = std::clamp<std::size_t>(2 * text.size(), 512, std::size_t{1} << 20);
  boost::json::stream_parser parser({}, options);
  parser.reset(boost::json::make_shared_resource<boost::json::monotonic_resource>(block));
  boost::system::error_code error;
  std::size_t used = parser.write_some(text.data(), text.size(), error);
  if (!error && used == text.size()) {
    parser.finish(error);
  }
  if (error || used != text.size()) {
    const std::string reason =
        error ? error.message() : std::string("text after the end of the document");
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("invalid JSON at byte {}: {}", used, reason));
  }
  return parser.release();
}

Result<std::vector<JsonMember>> scan_members(std::string_view object_text) {
  return MemberScanner(object_text).run();
}

Result<std::vector<std::string_view>> scan_items(std::string_view array_text) {
  return MemberScanner(array_text).items();
}

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    const std::size_t plain = plain_prefix(text);
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) {
      break;
    }
    const std::size_t length = utf8_sequence_length(text);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else if (length == 1) {
      append_escaped_ascii(out, text.front());
      text.remove_prefix(1);
    } else {
      out.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  out.push_back('"');
}

void append_json_number(std::string& out, double value) {
  append_shortest(out, value);
}

void append_json_number(std::string& out, float value) {
  append_shortest(out, value);
}

void JsonWriter::key(std::string_view name) {
  separate();
  append_json_string(out_, name);
  out_.push_back(':');
  need_comma_ = false;
}

void JsonWriter::string(std::string_view text) {
  separate();
  append_json_string(out_, text);
  need_comma_ = true;
}

void JsonWriter::number(double value) {
  separate();
  append_json_number(out_, value);
  need_comma_ = true;
}

void JsonWriter::number(float value) {
  separate();
  append_json_number(out_, value);
  need_comma_ = true;
}

void JsonWriter::integer(std::int64_t value) {
  raw(fmt::format_int(value).c_str());
}

void JsonWriter::boolean(bool value) {
  raw(value ? "true" : "false");
}

void JsonWriter::null() {
  raw("null");
}

void JsonWriter::raw(std::string_view json) {
  separate();
  out_.append(json);
  need_comma_ = true;
}

void JsonWriter::open(char bracket) {
  separate();
  out_.push_back(bracket);
  need_comma_ = false;
}

void JsonWriter::close(char bracket) {
  out_.push_back(bracket);
  need_comma_ = true;
}

void JsonWriter::separate() {
  if (need_comma_) {
    out_.push_back(',');
  }
}

Result<std::optional<std::string>> get_string(const boost::json::object& object,
                                              std::string_view key,
                                              std::string_view prefix) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    return wrong_type(prefix, key, "a string");
  }
  return std::string(value->get_string());
}

Result<std::optional<double>> get_number(const boost::json::object& object,
                                         std::string_view key,
                                         std::string_view prefix) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  if (!value->is_number() || !std::isfinite(value->to_number<double>())) {
    return wrong_type(prefix, key, "a finite number");
  }
  return value->to_number<double>();
}

Result<std::optional<std::int64_t>> get_integer(const boost::json::object& object,
                                                std::string_view key,
                                                std::string_view prefix) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  boost::system::error_code error;
  const auto integer = value->is_number() ? value->to_number<std::int64_t>(error) : 0;
  if (!value->is_number() || error) {
    return wrong_type(prefix, key, "an integer");
  }
  return integer;
}

Result<std::optional<bool>> get_bool(const boost::json::object& object,
                                     std::string_view key,
                                     std::string_view prefix) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  if (!value->is_bool()) {
    return wrong_type(prefix, key, "true or false");
  }
  return value->get_bool();
}

}  // namespace genesis
