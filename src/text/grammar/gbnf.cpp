#include "text/grammar/gbnf.h"

#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace genesis::text::grammar {

namespace {

constexpr std::size_t kMostRepeats = 1'000'000;

enum class Newlines : std::uint8_t { kSpace, kEnd };

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class Parser {
 public:
  Parser(ExprPool& pool, std::string_view source) : pool_(pool), source_(source) {}

  Result<Expr> run() {
    if (!is_valid_utf8(source_)) {
      return invalid("not valid UTF-8");
    }
    skip_space(Newlines::kSpace);
    while (!at_end()) {
      GENESIS_TRY_VOID(rule());
      skip_space(Newlines::kSpace);
    }
    for (const auto& [name, entry] : rules_) {
      if (!entry.defined) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("GBNF: the rule '{}' is used but not defined", name));
      }
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) {
      return fail(ErrorCode::kInvalidArgument, "GBNF: no rule is named 'root'");
    }
    return root->second.expr;
  }

 private:
  struct Rule {
    Expr expr = 0;
    bool defined = false;
  };

  std::unexpected<Error> invalid(std::string_view what) const {
    const auto line = std::ranges::count(source_.substr(0, at_), '\n') + 1;
    return fail(ErrorCode::kInvalidArgument, fmt::format("GBNF: {} in line {}", what, line));
  }

  bool at_end() const { return at_ == source_.size(); }

  char peek() const { return at_end() ? '\0' : source_[at_]; }

  bool take(std::string_view text) {
    const bool found = source_.substr(at_).starts_with(text);
    at_ += found ? text.size() : 0;
    return found;
  }

  void skip_space(Newlines newlines) {
    while (!at_end()) {
      const char c = peek();
      if (c == '#') {
        at_ = std::min(source_.find_first_of("\r\n", at_), source_.size());
      } else if (c == ' ' || c == '\t' ||
                 (newlines == Newlines::kSpace && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string_view name() {
    const std::size_t start = at_;
    while (!at_end() && is_name(peek())) {
      ++at_;
    }
    return source_.substr(start, at_ - start);
  }

  Rule& rule_named(std::string_view name) {
    const auto [found, fresh] = rules_.try_emplace(std::string(name));
    if (fresh) {
      found->second.expr = pool_.new_rule();
    }
    return found->second;
  }

  Result<void> rule() {
    const std::string_view left = name();
    skip_space(Newlines::kEnd);
    if (left.empty() || !take("::=")) {
      return invalid("expected 'name ::='");
    }
    skip_space(Newlines::kSpace);
    GENESIS_TRY(const Expr body, alternatives(0));
    Rule& entry = rule_named(left);
    if (entry.defined) {
      return invalid(fmt::format("the rule '{}' is defined twice", left));
    }
    entry.defined = true;
    pool_.define(entry.expr, body);
    if (!at_end() && peek() != '\n' && peek() != '\r') {
      return invalid("expected the end of the line");
    }
    return {};
  }

  Result<Expr> alternatives(std::size_t depth) {
    if (depth > pool_.limits().depth) {
      return invalid("groups nested too deep");
    }
    std::vector<Expr> parts;
    for (;;) {
      GENESIS_TRY(const Expr part, sequence(depth));
      parts.push_back(part);
      const std::size_t end = at_;
      // A line that goes on with '|' belongs to the rule before.
      skip_space(Newlines::kSpace);
      if (!take("|")) {
        at_ = depth == 0 ? end : at_;
        return pool_.choice(std::move(parts));
      }
      skip_space(Newlines::kSpace);
    }
  }

  Result<Expr> sequence(std::size_t depth) {
    const Newlines newlines = depth == 0 ? Newlines::kEnd : Newlines::kSpace;
    std::vector<Expr> parts;
    for (;;) {
      GENESIS_TRY_VOID(pool_.check_size());
      GENESIS_TRY(const std::optional<Expr> part, element(depth));
      if (!part) {
        return pool_.sequence(std::move(parts));
      }
      GENESIS_TRY(const Expr repeated, quantified(*part));
      parts.push_back(repeated);
      skip_space(newlines);
    }
  }

  // Nullopt: the sequence ends here.
  Result<std::optional<Expr>> element(std::size_t depth) {
    if (take("\"")) {
      return literal();
    }
    if (take("[")) {
      return character_class();
    }
    if (take(".")) {
      const CodePointRange all{0, 0x10FFFF};
      return pool_.character(std::span(&all, 1), false);
    }
    if (take("(")) {
      skip_space(Newlines::kSpace);
      GENESIS_TRY(const Expr inner, alternatives(depth + 1));
      if (!take(")")) {
        return invalid("a '(' without ')'");
      }
      return inner;
    }
    if (peek() == '<' || peek() == '!') {
      return fail(ErrorCode::kUnsupported, "GBNF: references to tokens (<...>) are not supported");
    }
    const std::string_view referred = name();
    if (referred.empty()) {
      return std::nullopt;
    }
    return rule_named(referred).expr;
  }

  Result<char32_t> character() {
    if (at_end()) {
      return invalid("an unfinished literal or class");
    }
    if (!take("\\")) {
      const CodePoint point = decode_valid(source_, at_);
      at_ += point.bytes;
      return point.value;
    }
    const char kind = peek();
    at_ += at_end() ? 0 : 1;
    switch (kind) {
      case 'x':
        return hexadecimal(2);
      case 'u':
        return hexadecimal(4);
      case 'U':
        return hexadecimal(8);
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<char32_t>(kind);
      default:
        return invalid("an unknown escape");
    }
  }

  Result<char32_t> hexadecimal(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<char32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + static_cast<char32_t>(lower - 'a' + 10);
      } else {
        return invalid("an incomplete hexadecimal escape");
      }
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      return invalid("an escape that is no Unicode character");
    }
    return value;
  }

  Result<std::optional<Expr>> literal() {
    std::string text;
    while (!take("\"")) {
      GENESIS_TRY(const char32_t value, character());
      append_utf8(text, value);
    }
    return pool_.literal(text);
  }

  Result<std::optional<Expr>> character_class() {
    const bool negated = take("^");
    std::vector<CodePointRange> ranges;
    while (!take("]")) {
      GENESIS_TRY(const char32_t first, character());
      char32_t last = first;
      if (peek() == '-' && !source_.substr(at_).starts_with("-]")) {
        ++at_;
        GENESIS_TRY(last, character());
      }
      if (last < first) {
        return invalid("a range that ends before it begins");
      }
      ranges.push_back({first, last});
    }
    return pool_.character(ranges, negated);
  }

  std::optional<std::size_t> number() {
    std::optional<std::size_t> value;
    while (peek() >= '0' && peek() <= '9') {
      value = std::min(value.value_or(0) * 10 + static_cast<std::size_t>(peek() - '0'),
                       kMostRepeats + 1);
      ++at_;
    }
    return value;
  }

  Result<Expr> quantified(Expr part) {
    for (;;) {
      if (take("*")) {
        part = pool_.repeat(part, 0, std::nullopt);
      } else if (take("+")) {
        part = pool_.repeat(part, 1, std::nullopt);
      } else if (take("?")) {
        part = pool_.optional(part);
      } else if (take("{")) {
        const auto least = number();
        const bool comma = take(",");
        const auto most = comma ? number() : least;
        if ((!least && !most) || !take("}")) {
          return invalid("expected {m}, {m,} or {m,n}");
        }
        if (std::max(least.value_or(0), most.value_or(0)) > kMostRepeats ||
            most.value_or(kMostRepeats) < least.value_or(0)) {
          return invalid("impossible repetition counts");
        }
        part = pool_.repeat(part, least.value_or(0), most);
      } else {
        return part;
      }
    }
  }

  ExprPool& pool_;
  std::string_view source_;
  std::size_t at_ = 0;
  std::map<std::string, Rule> rules_;
};

}  // namespace

Result<Expr> gbnf(ExprPool& pool, std::string_view source) {
  return Parser(pool, source).run();
}

}  // namespace genesis::text::grammar
