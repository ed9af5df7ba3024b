#include "text/grammar/regex_parser.h"

#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace genesis::text::grammar {

namespace {

constexpr std::size_t kMostRepeats = 1'000'000;

class Parser {
 public:
  Parser(std::string_view pattern, const RegexLimits& limits, bool ecma_dot)
      : pattern_(pattern), limits_(limits), ecma_dot_(ecma_dot) {}

  Result<RegexNode> run() {
    if (!is_valid_utf8(pattern_)) {
      return invalid("not valid UTF-8");
    }
    GENESIS_TRY(RegexNode node, choice(0));
    if (!at_end()) {
      return invalid("a ')' without '('");
    }
    return node;
  }

 private:
  struct Flags {
    bool any_case = false;
    bool dot_all = false;
  };

  // A class, or one code point that may begin a range.
  struct Item {
    Ranges ranges;
    std::optional<char32_t> single;
  };

  std::unexpected<Error> invalid(std::string_view what) const {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("regular expression: {} at byte {}", what, at_));
  }

  std::unexpected<Error> unsupported(std::string_view what) const {
    return fail(ErrorCode::kUnsupported,
                fmt::format("regular expression: {} at byte {} is not supported", what, at_));
  }

  bool at_end() const { return at_ == pattern_.size(); }

  bool looking_at(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  bool take(std::string_view text) {
    const bool found = looking_at(text);
    at_ += found ? text.size() : 0;
    return found;
  }

  char32_t take_code_point() {
    const CodePoint point = decode_valid(pattern_, at_);
    at_ += point.bytes;
    return point.value;
  }

  Result<RegexNode> choice(std::size_t depth) {
    if (depth > limits_.depth) {
      return invalid("groups nested too deep");
    }
    const Flags outer = flags_;
    RegexNode node;
    node.kind = RegexNode::Kind::kChoice;
    do {
      GENESIS_TRY(RegexNode part, sequence(depth));
      node.parts.push_back(std::move(part));
    } while (take("|"));
    flags_ = outer;
    return node;
  }

  Result<RegexNode> sequence(std::size_t depth) {
    RegexNode node;
    while (!at_end() && !looking_at("|") && !looking_at(")")) {
      if (++nodes_ > limits_.nodes) {
        return invalid("too long");
      }
      GENESIS_TRY(std::optional<RegexNode> part, atom(depth));
      if (!part) {
        continue;
      }
      GENESIS_TRY(RegexNode repeated, quantified(std::move(*part)));
      node.parts.push_back(std::move(repeated));
    }
    return node;
  }

  // Nullopt for what only changes flags or is a comment.
  Result<std::optional<RegexNode>> atom(std::size_t depth) {
    if (take("(")) {
      return group(depth);
    }
    RegexNode node;
    if (take("^")) {
      node.kind = RegexNode::Kind::kBegin;
      return node;
    }
    if (take("$")) {
      node.kind = RegexNode::Kind::kEnd;
      return node;
    }
    if (looking_at("*") || looking_at("+") || looking_at("?")) {
      return invalid("nothing to repeat");
    }
    node.kind = RegexNode::Kind::kClass;
    if (take(".")) {
      node.ranges = dot();
      return node;
    }
    if (take("[")) {
      GENESIS_TRY(node.ranges, bracket());
      return node;
    }
    if (looking_at("\\A") || looking_at("\\Z") || looking_at("\\z")) {
      node.kind = looking_at("\\A") ? RegexNode::Kind::kBegin : RegexNode::Kind::kEnd;
      at_ += 2;
      return node;
    }
    if (take("\\")) {
      GENESIS_TRY(const Item item, escape(false));
      node.ranges = cased(item.ranges);
      return node;
    }
    const char32_t value = take_code_point();
    node.ranges = cased({{value, value}});
    return node;
  }

  Ranges cased(Ranges ranges) const {
    return flags_.any_case ? with_both_cases(std::move(ranges)) : std::move(ranges);
  }

  Ranges dot() const {
    if (flags_.dot_all) {
      return {{0, 0x10FFFF}};
    }
    return complement(ecma_dot_ ? Ranges{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}
                                : Ranges{{'\n', '\n'}});
  }

  Result<std::optional<RegexNode>> group(std::size_t depth) {
    if (take("?")) {
      if (looking_at("=") || looking_at("!") || looking_at("<=") || looking_at("<!")) {
        return unsupported(looking_at("<") ? "lookbehind" : "lookahead");
      }
      if (take("#")) {
        while (!at_end() && !take(")")) {
          ++at_;
        }
        return std::nullopt;
      }
      if (looking_at("P=") || looking_at("P>") || looking_at("R") || looking_at("&")) {
        return unsupported("a reference to a group");
      }
      if (looking_at(">") || looking_at("(") || looking_at("|")) {
        return unsupported("an atomic, conditional or branch reset group");
      }
      if (take("P<") || take("<")) {
        while (!at_end() && !take(">")) {
          ++at_;
        }
      } else if (!take(":")) {
        return flag_group(depth);
      }
    }
    return group_body(depth);
  }

  Result<std::optional<RegexNode>> group_body(std::size_t depth) {
    GENESIS_TRY(RegexNode node, choice(depth + 1));
    if (!take(")")) {
      return invalid("a '(' without ')'");
    }
    return node;
  }

  Result<std::optional<RegexNode>> flag_group(std::size_t depth) {
    Flags flags = flags_;
    bool on = true;
    while (!at_end() && !looking_at(")") && !looking_at(":")) {
      const char letter = pattern_[at_];
      if (letter == '-') {
        on = false;
      } else if (letter == 'i') {
        flags.any_case = on;
      } else if (letter == 's') {
        flags.dot_all = on;
      } else if (letter != 'u') {
        return unsupported(fmt::format("the flag '{}'", letter));
      }
      ++at_;
    }
    if (take(")")) {
      flags_ = flags;
      return std::nullopt;
    }
    take(":");
    const Flags outer = std::exchange(flags_, flags);
    auto node = group_body(depth);
    flags_ = outer;
    return node;
  }

  Result<RegexNode> quantified(RegexNode part) {
    std::size_t least = 0;
    std::optional<std::size_t> most;
    if (take("*")) {
    } else if (take("+")) {
      least = 1;
    } else if (take("?")) {
      most = 1;
    } else {
      GENESIS_TRY(const bool braces, counts(least, most));
      if (!braces) {
        return part;
      }
    }
    if (part.kind == RegexNode::Kind::kBegin || part.kind == RegexNode::Kind::kEnd) {
      return unsupported("a repeated anchor");
    }
    take("?");  // lazy: the same language
    if (looking_at("+")) {
      return unsupported("a possessive quantifier");
    }
    if (looking_at("*") || looking_at("?")) {
      return invalid("a quantifier after a quantifier");
    }
    RegexNode node;
    node.kind = RegexNode::Kind::kRepeat;
    node.least = least;
    node.most = most;
    node.parts.push_back(std::move(part));
    return node;
  }

  // {m}, {m,}, {m,n} and {,n}; any other brace is an ordinary character.
  Result<bool> counts(std::size_t& least, std::optional<std::size_t>& most) {
    const std::size_t start = at_;
    if (!take("{")) {
      return false;
    }
    const auto low = number();
    const bool comma = take(",");
    const auto high = number();
    if ((!low && !high) || !take("}")) {
      at_ = start;
      return false;
    }
    least = low.value_or(0);
    most = comma ? high : low;
    if (least > kMostRepeats || most.value_or(0) > kMostRepeats) {
      return invalid(fmt::format("more than {} repetitions", kMostRepeats));
    }
    if (most && *most < least) {
      return invalid("a repetition whose most is below its least");
    }
    return true;
  }

  std::optional<std::size_t> number() {
    std::optional<std::size_t> value;
    while (!at_end() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
      value = std::min(value.value_or(0) * 10 + static_cast<std::size_t>(pattern_[at_] - '0'),
                       kMostRepeats + 1);
      ++at_;
    }
    return value;
  }

  Result<Ranges> bracket() {
    const bool negated = take("^");
    Ranges all;
    for (bool first = true; first || !looking_at("]"); first = false) {
      if (at_end()) {
        return invalid("a '[' without ']'");
      }
      if (looking_at("[:") && pattern_.find(":]", at_) != std::string_view::npos) {
        return unsupported("a POSIX class such as [:alpha:]");
      }
      GENESIS_TRY(const Item low, bracket_item(negated));
      all.insert(all.end(), low.ranges.begin(), low.ranges.end());
      if (!low.single || !looking_at("-") || pattern_.substr(at_).starts_with("-]")) {
        continue;
      }
      take("-");
      GENESIS_TRY(const Item high, bracket_item(negated));
      if (!high.single) {
        all.push_back({'-', '-'});
        all.insert(all.end(), high.ranges.begin(), high.ranges.end());
      } else if (*high.single < *low.single) {
        return invalid("a range that ends before it begins");
      } else {
        all.push_back({*low.single, *high.single});
      }
    }
    take("]");
    all = cased(std::move(all));
    return negated ? complement(all) : normal_ranges_of(all);
  }

  static Ranges normal_ranges_of(const Ranges& ranges) { return complement(complement(ranges)); }

  Result<Item> bracket_item(bool negated) {
    if (at_end()) {
      return invalid("a '[' without ']'");
    }
    if (take("\\")) {
      return escape(true, negated);
    }
    const char32_t value = take_code_point();
    return Item{{{value, value}}, value};
  }

  // What follows a backslash. In a negated class the wider reading makes the result narrower.
  Result<Item> escape(bool in_class, bool negated = false) {
    if (at_end()) {
      return invalid("a backslash at the end");
    }
    const char32_t value = take_code_point();
    const Reading inside = negated ? Reading::kWide : Reading::kNarrow;
    const Reading outside = negated ? Reading::kNarrow : Reading::kWide;
    switch (value) {
      case 'd':
      case 'w':
      case 's':
        return Item{escape_class(static_cast<char>(value), inside), std::nullopt};
      case 'D':
      case 'W':
      case 'S':
        return Item{complement(escape_class(static_cast<char>(value + 0x20), outside)),
                    std::nullopt};
      case 'p':
      case 'P':
        return category(value == 'P');
      case 'b':
        if (in_class) {
          return single('\b');
        }
        return unsupported("the word border \\b");
      default:
        return character_escape(value);
    }
  }

  static Item single(char32_t value) { return Item{{{value, value}}, value}; }

  Result<Item> character_escape(char32_t value) {
    switch (value) {
      case 'n':
        return single('\n');
      case 'r':
        return single('\r');
      case 't':
        return single('\t');
      case 'f':
        return single('\f');
      case 'v':
        return single('\v');
      case 'a':
        return single('\a');
      case 'e':
        return single(0x1B);
      case '0':
        return single(0);
      case 'x':
        return hexadecimal(2);
      case 'u':
        return hexadecimal(4);
      case 'c': {
        const bool letter =
            !at_end() && ((pattern_[at_] | 0x20) >= 'a' && (pattern_[at_] | 0x20) <= 'z');
        return letter ? Result<Item>(single(static_cast<char32_t>(pattern_[at_++] & 0x1F)))
                      : Result<Item>(invalid("\\c without a letter"));
      }
      default:
        break;
    }
    if ((value >= '1' && value <= '9') || value == 'k') {
      return unsupported("a backreference");
    }
    if ((value >= 'a' && value <= 'z') || (value >= 'A' && value <= 'Z')) {
      return unsupported(fmt::format("the escape \\{}", static_cast<char>(value)));
    }
    return single(value);
  }

  Result<Item> hexadecimal(std::size_t digits) {
    const bool braces = take("{");
    char32_t value = 0;
    std::size_t count = 0;
    for (; !at_end() && (braces ? count < 6 : count < digits); ++count, ++at_) {
      const char c = pattern_[at_];
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<char32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + static_cast<char32_t>(lower - 'a' + 10);
      } else {
        break;
      }
    }
    if (braces ? count == 0 || !take("}") : count != digits) {
      return invalid("an incomplete hexadecimal escape");
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      return invalid("an escape that is no Unicode character");
    }
    return single(value);
  }

  Result<Item> category(bool negated) {
    std::string_view name = pattern_.substr(at_, 1);
    if (take("{")) {
      const std::size_t end = pattern_.find('}', at_);
      if (end == std::string_view::npos) {
        return invalid("\\p{ without '}'");
      }
      name = pattern_.substr(at_, end - at_);
      at_ = end + 1;
    } else {
      ++at_;
    }
    for (const std::string_view prefix : {"General_Category=", "gc="}) {
      name.remove_prefix(name.starts_with(prefix) ? prefix.size() : 0);
    }
    const auto ranges = category_class(name);
    if (!ranges) {
      return unsupported(fmt::format("the Unicode property '{}'", name));
    }
    return Item{negated ? complement(*ranges) : *ranges, std::nullopt};
  }

  std::string_view pattern_;
  RegexLimits limits_;
  bool ecma_dot_;
  std::size_t at_ = 0;
  std::size_t nodes_ = 0;
  Flags flags_;
};

}  // namespace

Result<RegexNode> parse_regex(std::string_view pattern, const RegexLimits& limits, bool ecma_dot) {
  return Parser(pattern, limits, ecma_dot).run();
}

}  // namespace genesis::text::grammar
