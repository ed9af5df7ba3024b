// Differences dealt with here: \s (PCRE2 counts U+180E), \w, \d and \p{..} (older Unicode tables),
// \h and \v (other meanings), ^ and $ (always per line in Oniguruma's Ruby syntax), {n,m}+ (not
// possessive there), case folding to several letters (there only). Source: doc/RE of Oniguruma 6.9,
// pcre2pattern(3).
#include "text/pattern.h"

#include "text/unicode.h"
#include "text/unicode_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace genesis::text {

namespace {

constexpr std::size_t kMaxPatternBytes = 64 * 1024;

constexpr std::string_view kSpaceRanges =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
constexpr std::string_view kNonSpaceRanges =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"
    "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}"
    "\\x{2060}-\\x{2fff}\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}";

constexpr auto kCategories = std::to_array<std::string_view>(
    {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N", "Nd",
     "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm",
     "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Cc", "Cf", "Co"});

// \p{X} and what Unicode 15 and 16 added to X, as class content.
std::string category_content(std::string_view category) {
  std::string out = fmt::format("\\p{{{}}}", category);
  for (const CategoryRange& range : categories_after_unicode_14()) {
    if (std::string_view(range.category.data(), 2).starts_with(category)) {
      out += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}",
                         static_cast<std::uint32_t>(range.first),
                         static_cast<std::uint32_t>(range.last));
    }
  }
  return out;
}

// Oniguruma's \w: Alphabetic | M | Nd | Pc. Numbers that are not digits are out, but Nl is
// Alphabetic.
std::string word_content() {
  std::string out;
  for (const std::string_view category : {"L", "M", "Nd", "Nl", "Pc"}) {
    out += category_content(category);
  }
  return out + "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";
}

class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  Result<std::string> run() {
    if (in_.size() > kMaxPatternBytes) {
      return refuse("a pattern this long");
    }
    while (at_ < in_.size()) {
      GENESIS_TRY_VOID(item());
    }
    return "(?m)" + out_;
  }

 private:
  std::unexpected<Error> refuse(std::string_view what) const {
    return fail(ErrorCode::kUnsupported,
                fmt::format("regular expression '{}': {} at byte {} is not supported",
                            in_.substr(0, 200),
                            what,
                            at_));
  }

  bool take(std::string_view text) {
    if (!in_.substr(at_).starts_with(text)) {
      return false;
    }
    at_ += text.size();
    return true;
  }

  void copy_character() {
    const std::size_t bytes = decode_valid(in_, at_).bytes;
    out_ += in_.substr(at_, bytes);
    at_ += bytes;
  }

  Result<void> item() {
    const char c = in_[at_];
    switch (c) {
      case '\\':
        return escape(false);
      case '[':
        return char_class();
      case '(':
        return group();
      case '*':
      case '+':
      case '?':
        return quantifier();
      case '{':
        return interval();
      case '#':
      case '}':
      case ']':
        // Plain characters in both syntaxes; escaped so that no option gives them meaning.
        out_ += '\\';
        copy_character();
        return {};
      default:
        copy_character();
        return {};
    }
  }

  // *, +, ? and their lazy and possessive forms are the same in both.
  Result<void> quantifier() {
    copy_character();
    if (!take_suffix('?')) {
      take_suffix('+');
    }
    if (at_ < in_.size() && std::string_view("*+?{").contains(in_[at_])) {
      return refuse("a repeated quantifier");
    }
    return {};
  }

  bool take_suffix(char c) {
    if (at_ < in_.size() && in_[at_] == c) {
      copy_character();
      return true;
    }
    return false;
  }

  // {n}, {n,}, {n,m}, {,m}
  Result<void> interval() {
    const std::size_t close = in_.find('}', at_);
    if (close == std::string_view::npos) {
      return refuse("'{' without '}'");
    }
    const std::string_view body = in_.substr(at_ + 1, close - at_ - 1);
    const bool digits_and_comma =
        std::ranges::all_of(body, [](char c) { return (c >= '0' && c <= '9') || c == ','; });
    if (!digits_and_comma || std::ranges::count(body, ',') > 1 || body.empty() || body == "," ||
        body.size() > 9) {
      return refuse("this '{'");
    }
    out_ += body.front() == ',' ? fmt::format("{{0{}}}", body) : fmt::format("{{{}}}", body);
    at_ = close + 1;
    if (body.contains(',')) {
      take_suffix('?');
    }
    if (at_ < in_.size() && std::string_view("*+?{").contains(in_[at_])) {
      return refuse("a repeated quantifier");
    }
    return {};
  }

  Result<void> group() {
    for (const std::string_view open : {"(?:", "(?!", "(?=", "(?<!", "(?<=", "(?>"}) {
      if (take(open)) {
        out_ += open;
        return {};
      }
    }
    if (take("(?i:")) {
      return case_insensitive_group();
    }
    if (in_.substr(at_).starts_with("(?") || in_.substr(at_).starts_with("(*")) {
      return refuse(fmt::format("group '{}'", in_.substr(at_, 3)));
    }
    out_ += '(';
    ++at_;
    return {};
  }

  // Only the English contractions: no letters here fold to or from several characters.
  Result<void> case_insensitive_group() {
    const std::size_t close = in_.find(')', at_);
    const std::string_view body =
        in_.substr(at_, close == std::string_view::npos ? 0 : close - at_);
    if (body.empty() || body.find_first_not_of("'sdmtrevl|[]?") != std::string_view::npos ||
        body.contains("ss") || body.contains("st")) {
      return refuse("case-insensitive matching of anything but 's 't 're 've 'm 'll 'd");
    }
    out_ += "(?i:";
    return {};
  }

  Result<void> char_class() {
    out_ += '[';
    ++at_;
    if (take("^")) {
      out_ += '^';
    }
    bool first = true;
    while (at_ < in_.size() && (in_[at_] != ']' || first)) {
      if (in_[at_] == '[' || in_.substr(at_).starts_with("&&") || in_[at_] == ']') {
        return refuse("a nested or combined character class");
      }
      first = false;
      if (in_[at_] == '\\') {
        GENESIS_TRY_VOID(escape(true));
      } else {
        copy_character();
      }
    }
    if (!take("]")) {
      return refuse("'[' without ']'");
    }
    out_ += ']';
    return {};
  }

  void put_class(std::string_view content, bool in_class, bool negated) {
    if (in_class) {
      out_ += content;
    } else {
      out_ += fmt::format("[{}{}]", negated ? "^" : "", content);
    }
  }

  Result<void> escape(bool in_class) {
    ++at_;
    if (at_ == in_.size()) {
      return refuse("a lone backslash");
    }
    const char c = in_[at_];
    if (std::string_view("rntfae").contains(c)) {
      out_ += '\\';
      copy_character();
      return {};
    }
    if (static_cast<unsigned char>(c) < 0x80 && std::ispunct(static_cast<unsigned char>(c)) != 0) {
      out_ += '\\';
      copy_character();
      return {};
    }
    ++at_;
    switch (c) {
      case 'v':
        out_ += "\\x{b}";
        return {};
      case 's':
        put_class(kSpaceRanges, in_class, false);
        return {};
      case 'S':
        put_class(kNonSpaceRanges, in_class, false);
        return {};
      case 'd':
        put_class(category_content("Nd"), in_class, false);
        return {};
      case 'w':
        put_class(word_content(), in_class, false);
        return {};
      case 'D':
      case 'W':
        if (in_class) {
          return refuse("a negated class inside a class");
        }
        put_class(c == 'D' ? category_content("Nd") : word_content(), false, true);
        return {};
      case 'p':
      case 'P':
        return property(c == 'P', in_class);
      case 'x':
      case 'u':
        return code_point(c == 'u');
      default:
        return refuse(fmt::format("escape '\\{}'", c));
    }
  }

  Result<void> property(bool negated, bool in_class) {
    const std::size_t close = in_.find('}', at_);
    if (!take("{") || close == std::string_view::npos) {
      return refuse("\\p without braces");
    }
    if (take("^")) {
      negated = !negated;
    }
    const std::string_view name = in_.substr(at_, close - at_);
    if (std::ranges::find(kCategories, name) == kCategories.end()) {
      return refuse(fmt::format("property '{}'", name));
    }
    if (negated && in_class) {
      return refuse("a negated class inside a class");
    }
    put_class(category_content(name), in_class, negated);
    at_ = close + 1;
    return {};
  }

  // \xHH, \x{H...} and \uHHHH
  Result<void> code_point(bool four_digits) {
    std::size_t end = at_;
    const bool braces = !four_digits && take("{");
    const std::size_t most = braces ? 6 : (four_digits ? 4 : 2);
    const std::size_t begin = at_;
    for (end = begin; end < in_.size() && end - begin < most; ++end) {
      if (std::isxdigit(static_cast<unsigned char>(in_[end])) == 0) {
        break;
      }
    }
    at_ = end;
    const std::string hex(in_.substr(begin, end - begin));
    const unsigned long value = hex.empty() ? 0 : std::strtoul(hex.c_str(), nullptr, 16);
    const bool complete = braces ? take("}") && !hex.empty() : hex.size() == most;
    // Below \x80 only: in Oniguruma \x80 and above without braces are bytes, not characters.
    if (!complete || value > 0x10FFFF || (!braces && !four_digits && value >= 0x80)) {
      return refuse("this hexadecimal escape");
    }
    out_ += fmt::format("\\x{{{}}}", hex);
    return {};
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> translate_pattern(std::string_view oniguruma) {
  return Translator(oniguruma).run();
}

}  // namespace genesis::text
