#include "text/jinja/json_value.h"

#include "base/json.h"
#include "text/jinja/literal.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

namespace genesis::text::jinja {

namespace {

// Names that the templates of the big families use.
SourcePart part_named(std::string_view field) {
  if (field == "role" || field == "content" || field == "tool_calls") {
    return field == "role" ? SourcePart::kRole
                           : (field == "content" ? SourcePart::kContent : SourcePart::kToolCalls);
  }
  const bool reasoning =
      field == "reasoning_content" || field == "reasoning" || field == "thinking";
  return reasoning ? SourcePart::kReasoning : SourcePart::kOther;
}

class Reader {
 public:
  Reader(std::string_view json, std::string_view what, JsonSource source)
      : json_(json), what_(what), of_messages_(source == JsonSource::kMessages) {
    origin_.foreign = source != JsonSource::kTrusted;
    if (source == JsonSource::kTools || source == JsonSource::kVariables) {
      origin_.part = source == JsonSource::kTools ? SourcePart::kTools : SourcePart::kVariables;
    }
  }

  Result<Value> document() {
    if (!is_valid_utf8(json_)) {
      return malformed("invalid UTF-8");
    }
    GENESIS_TRY(Value value, any(0));
    skip_space();
    return at_ == json_.size() ? Result<Value>(std::move(value)) : malformed("text after the end");
  }

 private:
  std::unexpected<Error> malformed(std::string_view why) const {
    return fail_param(std::string(what_),
                      fmt::format("{} is not valid JSON: {} at byte {}", what_, why, at_));
  }

  char peek() const { return at_ < json_.size() ? json_[at_] : '\0'; }

  void skip_space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') {
      ++at_;
    }
  }

  bool take(std::string_view text) {
    const bool found = json_.substr(at_).starts_with(text);
    at_ += found ? text.size() : 0;
    return found;
  }

  Result<Value> any(std::size_t depth) {
    skip_space();
    if (depth > kMaxJsonDepth) {
      return malformed("nested too deeply");
    }
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"': {
        GENESIS_TRY(const std::string text, string());
        return Value::text(text_from(text, origin_));
      }
      default:
        break;
    }
    if (take("true")) {
      return Value::boolean(true);
    }
    if (take("false")) {
      return Value::boolean(false);
    }
    return take("null") ? Result<Value>(Value::none()) : number();
  }

  Result<Value> object(std::size_t depth) {
    DictBuilder builder;
    builder.set_message(origin_.message);
    ++at_;
    skip_space();
    if (take("}")) {
      return builder.take();
    }
    while (true) {
      skip_space();
      if (peek() != '"') {
        return malformed("a member without name");
      }
      GENESIS_TRY(const std::string key, string());
      if (of_messages_ && depth == kMessageDepth) {
        origin_.part = part_named(key);
      }
      Value name = Value::text(text_from(key, origin_));
      skip_space();
      if (!take(":")) {
        return malformed("no ':'");
      }
      GENESIS_TRY(Value value, any(depth + 1));
      builder.set(std::move(name), std::move(value));
      skip_space();
      if (take("}")) {
        return builder.take();
      }
      if (!take(",")) {
        return malformed("no ',' or '}'");
      }
    }
  }

  Result<Value> array(std::size_t depth) {
    std::vector<Value> items;
    ++at_;
    skip_space();
    if (take("]")) {
      return make_list({});
    }
    while (true) {
      if (of_messages_ && depth + 1 == kMessageDepth) {
        origin_ = {.message = static_cast<std::uint32_t>(items.size()), .foreign = true};
      }
      GENESIS_TRY(Value value, any(depth + 1));
      items.push_back(std::move(value));
      skip_space();
      if (take("]")) {
        return make_list(std::move(items));
      }
      if (!take(",")) {
        return malformed("no ',' or ']'");
      }
    }
  }

  Result<std::string> string() {
    std::string out;
    ++at_;
    while (peek() != '"') {
      const char c = peek();
      if (at_ >= json_.size() || static_cast<unsigned char>(c) < 0x20) {
        return malformed("a string without end, or with a control character");
      }
      if (c != '\\') {
        out.push_back(c);
        ++at_;
        continue;
      }
      GENESIS_TRY_VOID(escape(out));
    }
    ++at_;
    return out;
  }

  Result<void> escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    ++at_;
    const std::size_t known = kLetters.find(peek());
    if (at_ < json_.size() && known != std::string_view::npos) {
      out.push_back(kMeanings[known]);
      ++at_;
      return {};
    }
    GENESIS_TRY(char32_t value, hex());
    if (value >= 0xD800 && value <= 0xDBFF && take("\\")) {
      GENESIS_TRY(const char32_t low, hex());
      if (low < 0xDC00 || low > 0xDFFF) {
        return malformed("half of a surrogate pair");
      }
      value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
    }
    if (value >= 0xD800 && value <= 0xDFFF) {
      return malformed("half of a surrogate pair");
    }
    append_utf8(out, value);
    return {};
  }

  Result<char32_t> hex() {
    if (!take("u") || at_ + 4 > json_.size()) {
      return malformed("an unknown escape");
    }
    char32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const std::size_t digit =
          std::string_view("0123456789abcdef")
              .find(static_cast<char>(json_[at_] >= 'A' && json_[at_] <= 'F' ? json_[at_] | 0x20
                                                                             : json_[at_]));
      if (digit == std::string_view::npos) {
        return malformed("an unknown escape");
      }
      value = value << 4 | static_cast<char32_t>(digit);
    }
    return value;
  }

  std::size_t digits() {
    const std::size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') {
      ++at_;
    }
    return at_ - begin;
  }

  Result<Value> number() {
    const std::size_t begin = at_;
    take("-");
    const bool zero = peek() == '0';
    const std::size_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) {
      return malformed("no value");
    }
    bool is_integer = true;
    if (take(".")) {
      is_integer = false;
      if (digits() == 0) {
        return malformed("no digit after '.'");
      }
    }
    if (take("e") || take("E")) {
      is_integer = false;
      if (!take("+")) {
        take("-");
      }
      if (digits() == 0) {
        return malformed("no digit in the exponent");
      }
    }
    const std::string literal(json_.substr(begin, at_ - begin));
    if (!is_integer) {
      return Value::real(std::strtod(literal.c_str(), nullptr));
    }
    const auto value = parse_int(literal);
    return value ? Result<Value>(Value::integer(*value)) : malformed("an integer too large");
  }

  static constexpr std::size_t kMessageDepth = 1;  // of a message in the array of them

  std::string_view json_;
  std::string_view what_;
  bool of_messages_;
  Origin origin_;  // of the text read next
  std::size_t at_ = 0;
};

}  // namespace

Result<Value> value_from_json(std::string_view json, std::string_view what, JsonSource source) {
  return Reader(json, what, source).document();
}

}  // namespace genesis::text::jinja
