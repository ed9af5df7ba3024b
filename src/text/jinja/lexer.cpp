#include "text/jinja/lexer.h"

#include "text/jinja/literal.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace genesis::text::jinja {

namespace {

using Kind = Token::Kind;

// \r\n and \r become \n, and one newline at the end goes: jinja2's defaults.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      out.push_back('\n');
    }
  }
  if (out.ends_with('\n')) {
    out.pop_back();
  }
  return out;
}

bool is_name_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || byte == '_' || (byte >= '0' && byte <= '9') ||
         (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      GENESIS_TRY_VOID(data());
    }
    push(Kind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }

  std::unexpected<Error> fail_here(std::string_view what) const {
    return fail(ErrorCode::kInvalidArgument, fmt::format("template line {}: {}", line_, what));
  }

  void push(Kind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  // Moves on and counts lines.
  void advance(std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
      line_ += source_[at_ + i] == '\n' ? 1U : 0U;
    }
    at_ += bytes;
  }

  void skip_space() {
    const PlainSpan left = stripped(rest(), StripSide::kLeft, nullptr);
    advance(left.begin);
  }

  bool take(std::string_view text) {
    if (!rest().starts_with(text)) {
      return false;
    }
    advance(text.size());
    return true;
  }

  // Text up to the next tag, then the tag.
  Result<void> data() {
    std::size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        push_data(rest());
        advance(source_.size() - at_);
        return {};
      }
      if (std::string_view("{%#").contains(source_[tag + 1])) {
        break;
      }
      ++tag;
    }
    const char type = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool has_sign = sign == '-' || sign == '+';
    push_data(before_tag(std::string_view(source_).substr(at_, tag - at_), sign, type == '{'));
    advance(tag - at_);
    const std::size_t open_bytes = has_sign ? 3 : 2;
    if (type == '#') {
      advance(open_bytes);
      return comment();
    }
    if (type == '%' && is_raw(tag + open_bytes)) {
      return raw();
    }
    advance(open_bytes);
    push(type == '{' ? Kind::kVariableBegin : Kind::kBlockBegin, {});
    return tag_content(type == '{');
  }

  void push_data(std::string_view text) {
    if (!text.empty()) {
      push(Kind::kData, std::string(text));
    }
  }

  // `-` strips all white space before the tag; lstrip_blocks strips the start of its line.
  std::string_view before_tag(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') {
      return text.substr(0, stripped(text, StripSide::kRight, nullptr).end);
    }
    if (sign == '+' || is_variable) {
      return text;
    }
    const std::size_t newline = text.rfind('\n');
    const std::size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) {
      return text;
    }
    const std::string_view last_line = text.substr(line_start);
    const PlainSpan left = stripped(last_line, StripSide::kLeft, nullptr);
    return left.begin == last_line.size() ? text.substr(0, line_start) : text;
  }

  bool is_raw(std::size_t at) const {
    std::string_view text = std::string_view(source_).substr(at);
    text.remove_prefix(stripped(text, StripSide::kLeft, nullptr).begin);
    if (!text.starts_with("raw")) {
      return false;
    }
    text.remove_prefix(3);
    text.remove_prefix(stripped(text, StripSide::kLeft, nullptr).begin);
    return text.starts_with("%}") || text.starts_with("-%}");
  }

  // At the `{%` of a raw block.
  Result<void> raw() {
    const std::size_t close = source_.find("%}", at_);
    const bool strip = source_[close - 1] == '-';
    advance(close + 2 - at_);
    line_starting_ = false;
    if (strip) {
      const std::size_t before = at_;
      skip_space();
      line_starting_ = at_ > before && source_[at_ - 1] == '\n';
    }
    const std::size_t begin = at_;
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 2)) {
      std::size_t at = tag + 2;
      const char sign = at < source_.size() ? source_[at] : '\0';
      at += sign == '-' || sign == '+' ? 1U : 0U;
      std::string_view text = std::string_view(source_).substr(at);
      text.remove_prefix(stripped(text, StripSide::kLeft, nullptr).begin);
      if (!text.starts_with("endraw")) {
        continue;
      }
      text.remove_prefix(6);
      text.remove_prefix(stripped(text, StripSide::kLeft, nullptr).begin);
      if (text.starts_with("%}") || text.starts_with("-%}") || text.starts_with("+%}")) {
        push_data(before_tag(std::string_view(source_).substr(begin, tag - begin), sign, false));
        advance(static_cast<std::size_t>(text.data() - source_.data()) - at_);
        close_block();
        return {};
      }
    }
    return fail_here("missing end of raw directive");
  }

  Result<void> comment() {
    const std::size_t close = source_.find("#}", at_);
    if (close == std::string::npos) {
      return fail_here("missing end of comment tag");
    }
    const char sign = close > at_ ? source_[close - 1] : '\0';
    advance(close + 2 - at_);
    after_tag(sign);
    return {};
  }

  // White space after a closed block or comment.
  void after_tag(char sign) {
    const std::size_t before = at_;
    if (sign == '-') {
      skip_space();
    } else if (sign != '+') {
      take("\n");
    }
    line_starting_ = at_ > before && source_[at_ - 1] == '\n';
  }

  // Takes `%}`, `-%}` or `+%}`, whichever stands here.
  bool close_block() {
    for (const std::string_view close : {"%}", "-%}", "+%}"}) {
      if (take(close)) {
        after_tag(close.front());
        return true;
      }
    }
    return false;
  }

  bool close_variable() {
    if (take("}}")) {
      line_starting_ = false;
      return true;
    }
    if (take("-}}")) {
      const std::size_t before = at_;
      skip_space();
      line_starting_ = at_ > before && source_[at_ - 1] == '\n';
      return true;
    }
    return false;
  }

  Result<void> tag_content(bool is_variable) {
    std::string open_brackets;
    while (at_ < source_.size()) {
      if (open_brackets.empty() && (is_variable ? close_variable() : close_block())) {
        push(is_variable ? Kind::kVariableEnd : Kind::kBlockEnd, {});
        return {};
      }
      const std::size_t before = at_;
      skip_space();
      if (at_ == before) {
        GENESIS_TRY_VOID(token(open_brackets));
      }
    }
    // jinja2 lets the parser find out; the message is the same: the tag does not end.
    return fail_here("unexpected end of template inside a tag");
  }

  Result<void> token(std::string& open_brackets) {
    const char c = source_[at_];
    if (c >= '0' && c <= '9') {
      return number();
    }
    if (is_name_byte(c)) {
      std::size_t end = at_;
      while (end < source_.size() && is_name_byte(source_[end])) {
        ++end;
      }
      push(Kind::kName, source_.substr(at_, end - at_));
      advance(end - at_);
      return {};
    }
    if (c == '\'' || c == '"') {
      return string();
    }
    return operator_token(open_brackets);
  }

  Result<void> number() {
    const NumberLiteral literal = read_number(rest());
    if (literal.bytes == 0) {
      return fail_here("a number too large");
    }
    push(literal.value.is<Int>() ? Kind::kInteger : Kind::kFloat,
         source_.substr(at_, literal.bytes));
    tokens_.back().number = literal.value;
    advance(literal.bytes);
    return {};
  }

  Result<void> string() {
    const char quote = source_[at_];
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) {
      end += source_[end] == '\\' ? 2U : 1U;
    }
    if (end >= source_.size()) {
      return fail_here("a string without end");
    }
    std::optional<std::string> value =
        unescape_string(std::string_view(source_).substr(at_ + 1, end - at_ - 1));
    if (!value) {
      return fail_here("a string with an escape that is not supported");
    }
    push(Kind::kString, std::move(*value));
    advance(end + 1 - at_);
    return {};
  }

  Result<void> operator_token(std::string& open_brackets) {
    constexpr auto kOperators = std::to_array<std::string_view>(
        {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
         "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"});
    for (const std::string_view op : kOperators) {
      if (!rest().starts_with(op)) {
        continue;
      }
      const char c = op.front();
      if (c == '(' || c == '[' || c == '{') {
        open_brackets.push_back(c == '(' ? ')' : (c == '[' ? ']' : '}'));
      } else if (c == ')' || c == ']' || c == '}') {
        if (open_brackets.empty() || open_brackets.back() != c) {
          return fail_here(fmt::format("unexpected '{}'", c));
        }
        open_brackets.pop_back();
      }
      push(Kind::kOperator, std::string(op));
      advance(op.size());
      return {};
    }
    return fail_here(fmt::format("unexpected character '{}'",
                                 rest().substr(0, decode_valid(source_, at_).bytes)));
  }

  std::string source_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  bool line_starting_ = true;  // the text after the last tag begins a line
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace genesis::text::jinja
