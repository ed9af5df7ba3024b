#include "text/grammar/json_text.h"

#include "text/grammar/utf8_automaton.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

namespace genesis::text::grammar {

namespace {

constexpr std::size_t kMostIntegerDigits = 19;
constexpr std::size_t kMostFractionDigits = 18;

struct ShortEscape {
  char32_t value;
  char letter;
};

constexpr std::array<ShortEscape, 7> kShortEscapes = {
    {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}}};

std::string escape_of(char32_t value) {
  for (const ShortEscape& escape : kShortEscapes) {
    if (escape.value == value) {
      return {'\\', escape.letter};
    }
  }
  return fmt::format("\\u{:04x}", static_cast<std::uint32_t>(value));
}

bool needs_escape(char32_t value) {
  return value < 0x20 || value == '"' || value == '\\';
}

}  // namespace

JsonText::JsonText(ExprPool& pool, const JsonSchemaOptions& options) : pool_(pool) {
  const Expr blank = pool.literal(" ");
  const std::size_t most = options.most_whitespace;
  space_ = most == 0
               ? pool.empty()
               : pool.sequence({pool.optional(pool.literal("\n")), pool.repeat(blank, 0, most)});
  comma_ = pool.sequence({pool.literal(","), space_});
  colon_ = pool.sequence({pool.literal(":"), space_});
  any_character_ = make_character();
  const Expr quote = pool.literal("\"");
  string_ = pool.well_known(
      "string",
      pool.sequence({quote, pool.repeat(make_character(), 0, std::nullopt), pool.literal("\"")}));
  const Expr digit = pool.byte_range('0', '9');
  const Expr minus = pool.optional(pool.literal("-"));
  const auto whole = [&] {
    return pool.choice({pool.literal("0"),
                        pool.sequence({pool.byte_range('1', '9'),
                                       pool.repeat(digit, 0, kMostIntegerDigits - 1)})});
  };
  integer_ = pool.sequence({minus, whole()});
  const Expr exponent =
      pool.choice({pool.repeat(digit, 1, 2),
                   pool.sequence({pool.literal("1"), digit, digit}),
                   pool.sequence({pool.literal("2"), pool.byte_range('0', '7'), digit})});
  number_ = pool.sequence(
      {minus,
       whole(),
       pool.optional(
           pool.sequence({pool.literal("."), pool.repeat(digit, 1, kMostFractionDigits)})),
       pool.optional(
           pool.sequence({any_of_bytes("eE"), pool.optional(any_of_bytes("+-")), exponent}))});
  boolean_ = pool.choice({pool.literal("true"), pool.literal("false")});
  value_ = pool.new_rule();
  const Expr member = pool.sequence({string_, colon_, value_});
  const auto list = [&](Expr item) {
    return pool.optional(
        pool.sequence({item, pool.repeat(pool.sequence({comma_, item}), 0, std::nullopt), space_}));
  };
  any_object_ = enclosed('{', list(member), '}');
  any_array_ = enclosed('[', list(value_), ']');
  pool.define(
      value_,
      pool.choice({string_, number_, boolean_, pool.literal("null"), any_object_, any_array_}));
}

Expr JsonText::any_of_bytes(std::string_view bytes) {
  ByteSet set;
  for (const char c : bytes) {
    set.set(static_cast<unsigned char>(c));
  }
  return pool_.bytes(set);
}

Expr JsonText::make_character() {
  constexpr std::array<CodePointRange, 3> kEscaped = {{{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}};
  const Expr hex = any_of_bytes("0123456789abcdefABCDEF");
  const Expr not_d = any_of_bytes("0123456789abcefABCEF");
  const Expr d = any_of_bytes("dD");
  // A surrogate stands for a character only as one of a pair (RFC 8259, section 7).
  const Expr plain = pool_.choice({pool_.sequence({not_d, hex, hex, hex}),
                                   pool_.sequence({d, pool_.byte_range('0', '7'), hex, hex})});
  const Expr pair = pool_.sequence({d,
                                    any_of_bytes("89abAB"),
                                    hex,
                                    hex,
                                    pool_.literal("\\u"),
                                    d,
                                    any_of_bytes("cdefCDEF"),
                                    hex,
                                    hex});
  return pool_.choice(
      {pool_.character(kEscaped, true),
       pool_.sequence(
           {pool_.literal("\\"),
            pool_.choice({any_of_bytes("\"\\/bfnrt"),
                          pool_.sequence({pool_.literal("u"), pool_.choice({plain, pair})})})})});
}

Expr JsonText::enclosed(char open, Expr inner, char close) {
  return pool_.sequence({pool_.literal(std::string_view(&open, 1)),
                         space_,
                         inner,
                         pool_.literal(std::string_view(&close, 1))});
}

Expr spelled_character(ExprPool& pool, const std::vector<CodePointRange>& ranges) {
  std::vector<CodePointRange> as_they_are;
  std::vector<Expr> parts;
  for (const CodePointRange& range : ranges) {
    char32_t first = range.first;
    for (char32_t c = range.first; c <= range.last && c <= '\\'; ++c) {
      if (needs_escape(c)) {
        as_they_are.push_back({first, c - 1});
        parts.push_back(pool.literal(escape_of(c)));
        first = c + 1;
      }
    }
    as_they_are.push_back({first, range.last});
  }
  std::erase_if(as_they_are,
                [](const CodePointRange& r) { return r.first > r.last || r.last > 0x10FFFF; });
  parts.push_back(utf8_automaton(pool, as_they_are));
  return pool.choice(std::move(parts));
}

std::string spelled(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_valid(text, at);
    if (needs_escape(point.value)) {
      out += escape_of(point.value);
    } else {
      out += text.substr(at, point.bytes);
    }
    at += point.bytes;
  }
  return out;
}

}  // namespace genesis::text::grammar
