// GrammarBuilder and GrammarMatcher over small vocabularies: what is in a language, masks against
// every token one by one, limits, and hostile sources.
#include "text/grammar/grammar.h"

#include "text/grammar/matcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace genesis::text {

namespace {

// Every byte is a token, then the given texts; the last token is special.
class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(std::vector<std::string> more) {
    for (int b = 0; b < 256; ++b) {
      tokens_.emplace_back(1, static_cast<char>(b));
    }
    tokens_.insert(tokens_.end(), more.begin(), more.end());
    tokens_.emplace_back("<|call|>");
  }

  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<std::int32_t> ids;
    for (const char c : text) {
      ids.push_back(static_cast<unsigned char>(c));
    }
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids, bool) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      text += token_bytes(id);
    }
    return text;
  }

  std::string token_bytes(std::int32_t id) const override {
    return tokens_[static_cast<std::size_t>(id)];
  }

  bool is_special(std::int32_t id) const override { return id + 1 == vocab_size(); }

  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(tokens_.size()); }

  std::optional<std::int32_t> token_id(std::string_view) const override { return std::nullopt; }

  std::optional<std::int32_t> bos_id() const override { return std::nullopt; }

  std::span<const std::int32_t> end_ids() const override { return {}; }

 private:
  std::vector<std::string> tokens_;
};

const ByteTokenizer& tokenizer() {
  static const ByteTokenizer shared(
      {"\"",       "\":",       "\": ",     "\",",
       "\", \"",   "{\"",       "\"}",      "\"}}",
       "[{\"",     "}]",        "],",       "true",
       "false",    "null",      "name",     "a\"b",
       "ab",       "abc",       "  ",       "    ",
       "\n  ",     "12",        "-1",       "0.5",
       "1e5",      "\\n",       "\\u00",    "\\\"",
       "d83d",     "\xC3\xA9",  "\xE6\x97", "\xE6\x97\xA5\xE6\x9C\xAC",
       "\x80\x80", "x\xF0\x9F", "2026-",    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
       "age",      "<tool",     "_call>",   "tag\":1",
       "a\\",      "zz"});
  return shared;
}

std::shared_ptr<const TokenTrie> trie() {
  static const std::shared_ptr<const TokenTrie> shared = TokenTrie::build(tokenizer());
  return shared;
}

Result<GrammarMatcher> matcher_of(GrammarBuilder& builder, Result<GrammarBuilder::Expr> root) {
  GENESIS_TRY(const GrammarBuilder::Expr expr, std::move(root));
  GENESIS_TRY(auto grammar, builder.build(expr));
  return GrammarMatcher::create(std::move(grammar), trie());
}

Result<GrammarMatcher> schema(std::string_view text, const JsonSchemaOptions& options = {}) {
  GrammarBuilder builder;
  return matcher_of(builder, builder.json_schema(text, options));
}

Result<GrammarMatcher> regex(std::string_view text) {
  GrammarBuilder builder;
  return matcher_of(builder, builder.regex(text));
}

Result<GrammarMatcher> gbnf(std::string_view text) {
  GrammarBuilder builder;
  return matcher_of(builder, builder.gbnf(text));
}

bool holds(const Result<GrammarMatcher>& start, std::string_view text) {
  EXPECT_TRUE(start.has_value()) << start.error().message;
  GrammarMatcher at = *start;
  for (const char c : text) {
    if (!at.accept(static_cast<unsigned char>(c))) {
      return false;
    }
  }
  return at.can_end();
}

void expect_holds(const Result<GrammarMatcher>& start,
                  std::initializer_list<std::string_view> in,
                  std::initializer_list<std::string_view> out) {
  for (const std::string_view text : in) {
    EXPECT_TRUE(holds(start, text)) << text;
  }
  for (const std::string_view text : out) {
    EXPECT_FALSE(holds(start, text)) << text;
  }
}

// A schema of one value: cheaper to read than one matcher a line.
void expect_schema(std::string_view text,
                   std::initializer_list<std::string_view> in,
                   std::initializer_list<std::string_view> out) {
  SCOPED_TRACE(text);
  expect_holds(schema(text), in, out);
}

std::vector<std::int32_t> allowed(const GrammarMatcher& at,
                                  std::int64_t left = GrammarMatcher::kNoLimit) {
  std::vector<std::uint64_t> bits(mask_words(static_cast<std::size_t>(tokenizer().vocab_size())));
  EXPECT_TRUE(at.mask(bits, left).has_value());
  std::vector<std::int32_t> tokens;
  for (std::int32_t id = 0; id < tokenizer().vocab_size(); ++id) {
    if ((bits[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0) {
      tokens.push_back(id);
    }
  }
  return tokens;
}

std::vector<std::int32_t> accepted(const GrammarMatcher& at) {
  std::vector<std::int32_t> tokens;
  for (std::int32_t id = 0; id < tokenizer().vocab_size(); ++id) {
    GrammarMatcher copy = at;
    if (copy.accept(id)) {
      tokens.push_back(id);
    }
  }
  return tokens;
}

constexpr std::array<std::string_view, 16> kSchemas = {
    R"({"type":"object"})",
    R"({"type":"string"})",
    R"({"type":"string","maxLength":5})",
    R"({"type":"string","minLength":3,"maxLength":40})",
    R"({"type":"string","pattern":"^a?b*[^c]{2}"})",
    R"({"type":"string","format":"date-time"})",
    R"({"type":"number","minimum":-2.25,"exclusiveMaximum":14.5})",
    R"({"type":"integer","minimum":-37,"maximum":1204})",
    R"({"type":"object","properties":{"name":{"type":"string"},"na":{"type":"null"}}})",
    R"({"type":"object","properties":{"age":{"type":"integer"},"tag":{"enum":[1,"tagged"]}},
        "required":["tag"],"additionalProperties":{"type":"string","maxLength":3}})",
    R"({"type":"array","items":{"type":"array","items":{"type":"boolean"}},"minItems":1})",
    R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"string"},"c":{"type":"array",
        "items":{"$ref":"#/$defs/n"}}},"required":["v"]}},"$ref":"#/$defs/n"})",
    R"({"anyOf":[{"type":"string"},{"type":"array","items":{"$ref":"#"}}]})",
    R"({"type":"object","patternProperties":{"^a":{"type":"integer"},"b$":{"type":"number"}},
        "additionalProperties":{"type":"null"}})",
    R"({"type":"object","minProperties":2,"maxProperties":3,"properties":{"a":{},"ab":{}}})",
    R"({"enum":["ab","abc",12,1.5,null,{"name":[true]}]})"};

TEST(Grammar, MasksAreWhatEveryTokenSays) {
  for (std::size_t i = 0; i < kSchemas.size(); ++i) {
    SCOPED_TRACE(kSchemas[i]);
    const auto start = schema(kSchemas[i]);
    ASSERT_TRUE(start.has_value()) << start.error().message;
    std::mt19937_64 random(i);
    for (int walk = 0; walk < 8; ++walk) {
      GrammarMatcher at = *start;
      for (int step = 0; step < 25; ++step) {
        const std::vector<std::int32_t> tokens = allowed(at);
        ASSERT_EQ(tokens, accepted(at)) << "walk " << walk << " step " << step;
        if (tokens.empty()) {
          ASSERT_TRUE(at.must_end());
          break;
        }
        ASSERT_TRUE(at.accept(tokens[random() % tokens.size()]));
      }
    }
  }
}

// After the first quote almost everything is as inside the string, but the string may not end yet.
TEST(Grammar, PlacesLikeAStringAreNotOne) {
  const auto start = gbnf(
      "root ::= \"x\" e \",1\" | \"y\" e \",2\"\n"
      "e ::= \"\\\"\" (\"a\" [^\\x22]+ | [^a\\x22] [^\\x22]*) \"\\\"\"");
  ASSERT_TRUE(start.has_value()) << start.error().message;
  for (const std::string_view text : {"x\"", "y\"", "x\"a", "y\"b", "x\"ab", "x\"ab\""}) {
    GrammarMatcher at = *start;
    for (const char c : text) {
      ASSERT_TRUE(at.accept(c)) << text;
    }
    EXPECT_EQ(allowed(at), accepted(at)) << text;
  }
}

TEST(Grammar, AnswersAreFinishedWithinTheLimit) {
  for (std::size_t i = 0; i < kSchemas.size(); ++i) {
    SCOPED_TRACE(kSchemas[i]);
    const auto start = schema(kSchemas[i]);
    ASSERT_TRUE(start.has_value());
    std::mt19937_64 random(i);
    bool possible = false;
    for (std::int64_t limit = 1; limit < 60; ++limit) {
      GrammarMatcher at = *start;
      std::int64_t left = limit;
      for (; left > 0; --left) {
        const std::vector<std::int32_t> tokens = allowed(at, left);
        if (tokens.empty()) {
          break;
        }
        ASSERT_TRUE(at.accept(tokens[random() % tokens.size()]));
      }
      // Once a limit is enough, every larger one is.
      ASSERT_TRUE(at.can_end() || !possible) << limit;
      possible = possible || limit >= 40;
    }
  }
}

TEST(Grammar, SmallCachesChangeNothing) {
  GrammarBuilder builder(GrammarLimits{.cache_bytes = 20'000});
  const auto start = matcher_of(builder, builder.json_schema(kSchemas[8]));
  const auto same = schema(kSchemas[8]);
  ASSERT_TRUE(start && same);
  std::mt19937_64 random(7);
  GrammarMatcher a = *start;
  GrammarMatcher b = *same;
  for (int step = 0; step < 300; ++step) {
    const std::vector<std::int32_t> tokens = allowed(a);
    ASSERT_EQ(tokens, allowed(b));
    if (tokens.empty()) {
      break;
    }
    const std::int32_t token = tokens[random() % tokens.size()];
    ASSERT_TRUE(a.accept(token) && b.accept(token));
  }
}

TEST(Grammar, ThreadsShareAGrammar) {
  const auto start = schema(kSchemas[0]);
  ASSERT_TRUE(start.has_value());
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int walk = 0; walk < 10; ++walk) {
        GrammarMatcher at = *start;
        for (int step = 0; step < 40; ++step) {
          const std::vector<std::int32_t> tokens = allowed(at);
          if (tokens.empty()) {
            break;
          }
          wrong[t] += at.accept(tokens[random() % tokens.size()]) ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Grammar, SpecialTokensAreNotTheirText) {
  GrammarBuilder builder;
  const std::array parts = {
      builder.text_without("<|call|>"), builder.special_token("<|call|>"), builder.literal("{}")};
  auto made = matcher_of(builder, builder.sequence(parts));
  ASSERT_TRUE(made.has_value());
  GrammarMatcher at = *made;
  const std::int32_t special = tokenizer().vocab_size() - 1;
  EXPECT_THAT(allowed(at), testing::Contains(special));
  for (const char c : std::string_view("<|call|")) {
    ASSERT_TRUE(at.accept(c));
  }
  EXPECT_FALSE(at.accept('>'));
  ASSERT_TRUE(at.accept(special));
  EXPECT_EQ(at.forced(10), "{}");
  EXPECT_FALSE(at.accept(special));

  const auto missing = matcher_of(builder, builder.special_token("<none>"));
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(missing.error().message, testing::HasSubstr("<none>"));
}

TEST(Grammar, TextWithoutAMarker) {
  GrammarBuilder builder;
  const auto at = matcher_of(builder, builder.text_without("abab"));
  expect_holds(
      at, {"", "aba", "abaab", "\xE6\x97\xA5", "ab"}, {"abab", "xababx", "\xE6\x97", "\xFF"});
  EXPECT_EQ(allowed(*at), accepted(*at));
}

TEST(Grammar, ForcedBytesAreWholeCharacters) {
  const auto at = schema(R"({"const":"\u00e9\u65e5"})");
  ASSERT_TRUE(at.has_value());
  EXPECT_EQ(at->forced(100), "\"\xC3\xA9\xE6\x97\xA5\"");
  EXPECT_EQ(at->forced(5), "\"\xC3\xA9");
  EXPECT_FALSE(at->can_end());
  GrammarMatcher end = *at;
  for (const char c : at->forced(100)) {
    ASSERT_TRUE(end.accept(static_cast<unsigned char>(c)));
  }
  EXPECT_TRUE(end.must_end());
  EXPECT_EQ(end.forced(100), "");
}

TEST(JsonSchema, Types) {
  expect_schema(R"({"type":"null"})", {"null"}, {"nul", "0", ""});
  expect_schema(R"({"type":"boolean"})", {"true", "false"}, {"True", "1"});
  expect_schema(
      R"({"type":"integer"})", {"0", "-7", "1234567890"}, {"1.5", "01", "+1", "1e3", "-"});
  expect_schema(
      R"({"type":"number"})", {"0", "-7.25", "6.02e23", "1E-5"}, {"1.", ".5", "1e", "00"});
  expect_schema(R"({"type":"string"})",
                {R"("")", R"("a\n\"\\\/")", R"("\u00e9\ud83d\ude00")", "\"\xF4\x8F\xBF\xBF\""},
                {R"("a)", "\"\n\"", R"("\x")", R"("\ud83d")", "\"\xED\xA0\x80\"", "\"\xFF\""});
  expect_schema(R"({"type":["string","null"]})", {"null", R"("x")"}, {"1"});
  expect_schema(R"({"type":"string","nullable":true})", {"null", R"("x")"}, {"1"});
  expect_schema("true", {"1", "{}", R"([null,{"a":"b"}])"}, {"", "[,]", "{1:2}"});
  expect_schema("{}", {"1", "[]"}, {"x"});
}

TEST(JsonSchema, Strings) {
  expect_schema(R"({"type":"string","minLength":2,"maxLength":3})",
                {R"("ab")", R"("\u00e9\n\ud83d\ude00")", "\"\xE6\x97\xA5\xE6\x9C\xAC\""},
                {R"("a")", R"("abcd")"});
  expect_schema(R"({"type":"string","pattern":"^[a-c]+$"})", {R"("abc")"}, {R"("")", R"("abd")"});
  expect_schema(R"({"type":"string","pattern":"b"})", {R"("abc")", R"("\nb")"}, {R"("ac")"});
  expect_schema(R"({"type":"string","pattern":"^\"\\\\\\n$"})", {R"("\"\\\n")"}, {"\"\"\\\n\""});
  expect_schema(
      R"({"type":"string","pattern":"^a","maxLength":2})", {R"("ab")"}, {R"("abb")", R"("b")"});
  expect_schema(R"({"type":"string","format":"date"})",
                {R"("2024-02-29")", R"("2023-12-31")"},
                {R"("2023-02-29")", R"("2023-13-01")", R"("2023-04-31")"});
  expect_schema(R"({"type":"string","format":"uuid"})",
                {R"("123e4567-e89b-12d3-a456-426614174000")"},
                {R"("123e4567")"});
  expect_schema(
      R"({"type":"string","format":"ipv6"})", {R"("2001:db8::1")", R"("::")"}, {R"("1:2")"});
  expect_schema(
      R"({"type":"string","format":"email"})", {R"("a.b@c.de")"}, {R"("a@b")", R"("@c.de")"});
}

TEST(JsonSchema, Numbers) {
  const auto within = schema(R"({"type":"integer","minimum":-25,"exclusiveMaximum":113})");
  for (int i = -200; i < 1300; ++i) {
    EXPECT_EQ(holds(within, std::to_string(i)), i >= -25 && i < 113) << i;
  }
  expect_schema(R"({"type":"number","minimum":0.5,"maximum":10.25})",
                {"0.5", "0.50", "0.75", "3", "10.25", "10.250", "9.999"},
                {"0.49", "0", "10.251", "10.3", "11", "-1", "0.4999"});
  expect_schema(R"({"type":"number","exclusiveMinimum":-1,"exclusiveMaximum":0.05})",
                {"0", "-0.999", "0.049", "-0.5"},
                {"-1", "0.05", "0.050", "-1.0", "1", "0.06"});
  expect_schema(R"({"type":"number","minimum":2,"maximum":2})", {"2", "2.0"}, {"2.1", "1.9", "3"});
  expect_schema(
      R"({"type":"integer","multipleOf":7,"minimum":0})", {"0", "7", "700"}, {"1", "-7", "70.0"});
  expect_schema(
      R"({"type":"number","multipleOf":0.25})", {"0.25", "-1.5", "3", "2.00"}, {"0.3", "0.125"});
  expect_schema(R"({"type":"integer","minimum":9007199254740993})",
                {"9007199254740993"},
                {"9007199254740992"});
}

TEST(JsonSchema, Arrays) {
  expect_schema(R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":2})",
                {"[1]", "[1,2]", "[ 1, 2 ]", "[\n  1,\n  2\n]"},
                {"[]", "[1,2,3]", "[1,]", "[1 2]"});
  expect_schema(
      R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"null"}],"items":false})",
      {"[]", "[1]", "[1,null]"},
      {"[null]", "[1,null,1]"});
  expect_schema(
      R"({"items":[{"type":"null"}],"additionalItems":{"type":"integer"},"type":"array"})",
      {"[null,1,2]", "[]"},
      {"[1]", "[null,null]"});
  expect_schema(R"({"type":"array","uniqueItems":true,"maxItems":1})", {"[]", "[1]"}, {"[1,2]"});
}

TEST(JsonSchema, Objects) {
  constexpr std::string_view kOpen =
      R"({"type":"object","properties":{"a":{"type":"integer"},"ab":{"type":"null"}},
           "required":["ab"]})";
  expect_schema(
      kOpen,
      {R"({"a":1,"ab":null})", R"({"ab":null})", R"({"ab":null,"x":[1],"abc":"y"})"},
      {R"({"ab":null,"a":1})", R"({"a":1})", R"({"ab":null,"ab":null})", R"({"a":"x","ab":null})"});
  expect_holds(
      schema(kOpen, {.closed_objects = true}), {R"({"a":1,"ab":null})"}, {R"({"ab":null,"x":1})"});
  expect_schema(R"({"type":"object","additionalProperties":{"type":"integer"},"maxProperties":2})",
                {"{}", R"({"x":1})", R"({"x":1,"y":2})"},
                {R"({"x":"1"})", R"({"x":1,"y":2,"z":3})"});
  expect_schema(
      R"({"type":"object","patternProperties":{"^i_":{"type":"integer"}},
          "additionalProperties":false})",
      {"{}", R"({"i_a":1})"},
      {R"({"i_a":"1"})", R"({"j":1})"});
  expect_schema(
      R"({"type":"object","propertyNames":{"maxLength":2}})", {R"({"ab":1})"}, {R"({"abc":1})"});
  expect_schema(
      R"({"type":"object","properties":{"q\"":{"type":"null"}},"additionalProperties":false})",
      {R"({"q\"":null})"},
      {R"({"q":null})"});
  // The same name in another spelling would be a second member of that name.
  expect_schema(kOpen, {}, {R"({"ab":null,"\u0061":"x"})"});
}

TEST(JsonSchema, Combinations) {
  expect_schema(R"({"anyOf":[{"type":"integer"},{"const":"x"}]})", {"1", R"("x")"}, {R"("y")"});
  expect_schema(R"({"oneOf":[{"type":"integer","maximum":3},{"type":"integer","minimum":5}]})",
                {"3", "5"},
                {"4"});
  expect_schema(
      R"({"allOf":[{"type":"integer","minimum":3},{"maximum":5}]})", {"3", "5"}, {"2", "6"});
  expect_schema(
      R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}}},
          {"properties":{"a":{"minimum":5},"b":{"type":"null"}},"required":["b"]}],
          "unevaluatedProperties":false})",
      {R"({"a":5,"b":null})", R"({"b":null})"},
      {R"({"a":4,"b":null})", R"({"b":null,"c":1})"});
  expect_schema(R"({"$ref":"#/$defs/a~1b","$defs":{"a/b":{"type":"null"}}})", {"null"}, {"1"});
  expect_schema(
      R"({"$defs":{"l":{"type":"array","items":{"$ref":"#/$defs/l"}}},"$ref":"#/$defs/l"})",
      {"[]", "[[],[[]]]"},
      {"[1]", "[[]"});
  expect_schema(R"({"enum":["a",1,null,{"k":[1,2]}],"type":["string","object"]})",
                {R"("a")", R"({"k":[1,2]})", R"({ "k": [1, 2] })"},
                {"1", "null"});
  expect_schema(R"({"type":"integer","enum":[1,2,3],"minimum":2})", {"2", "3"}, {"1"});
}

TEST(JsonSchema, WhiteSpaceIsBounded) {
  const auto one = schema(R"({"type":"array","items":{"type":"null"}})", {.most_whitespace = 1});
  expect_holds(one, {"[ null]", "[\n null]"}, {"[  null]", "[\n\nnull]"});
  const auto none = schema(R"({"type":"object","properties":{"a":{"type":"null"}},"required":["a"],
                              "additionalProperties":false})",
                           {.most_whitespace = 0});
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(none->forced(100), R"({"a":null})");
}

TEST(JsonSchema, UnsupportedKeywordsAreNamed) {
  const auto expect_named =
      [](std::string_view text, std::string_view keyword, std::string_view at) {
        const auto made = schema(text);
        ASSERT_FALSE(made.has_value()) << text;
        EXPECT_EQ(made.error().code, ErrorCode::kUnsupported) << text;
        EXPECT_THAT(made.error().message, testing::HasSubstr(keyword));
        EXPECT_EQ(made.error().param, at);
      };
  expect_named(R"({"properties":{"a":{"not":{}}}})", "not", "/properties/a/not");
  expect_named(R"({"type":"array","uniqueItems":true})", "uniqueItems", "/uniqueItems");
  expect_named(R"({"if":{}})", "if", "/if");
  expect_named(R"({"type":"string","format":"colour"})", "colour", "/format");
  expect_named(R"({"$ref":"other.json"})", "$ref", "/$ref");
  expect_named(R"x({"type":"string","pattern":"(?=a)"})x", "lookahead", "/pattern");
  expect_named(R"({"oneOf":[{"type":"number"},{"type":"integer"}]})", "oneOf", "/oneOf");
}

TEST(JsonSchema, ImpossibleSchemasAreRefused) {
  for (const std::string_view text :
       {R"(false)",
        R"({"type":"integer","minimum":2,"maximum":1})",
        R"({"$ref":"#"})",
        R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})",
        R"({"type":"string","pattern":"^a$","minLength":3})",
        R"({"type":"array","items":false,"minItems":1})",
        R"({"const":1,"type":"string"})",
        R"({"type":"elephant"})",
        R"({"type":)",
        R"([1])",
        R"({"minLength":-1})",
        R"({"$ref":"#/nowhere"})"}) {
    const auto made = schema(text);
    ASSERT_FALSE(made.has_value()) << text;
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument) << text;
    EXPECT_FALSE(made.error().message.empty());
  }
}

TEST(Regex, Languages) {
  expect_holds(regex("a|bc*"), {"a", "b", "bccc"}, {"", "ab", "abc"});
  expect_holds(regex("^(?:x{2,3}?|y+)$"), {"xx", "xxx", "y", "yyy"}, {"x", "xxxx", "xy"});
  expect_holds(regex(R"(\d{3}-\w\s\.)"), {"123-a .", "000-_\t."}, {"123-a x"});
  expect_holds(regex("[^a-c\\d]"), {"d", "\xC3\xA9", "\xF0\x9F\x98\x80"}, {"a", "5", "\xC3", ""});
  expect_holds(regex("."), {"a", "\xE6\x97\xA5"}, {"\n", "\x80"});
  expect_holds(regex("(?s)."), {"\n"}, {""});
  expect_holds(regex("(?i)straSSe"), {"Strasse", "STRASSE"}, {"strase"});
  expect_holds(regex(R"(\p{Lu}\p{Ll}+)"), {"\xC3\x89\x74\xC3\xA9", "Ab"}, {"ab", "A"});
  expect_holds(regex(R"([\u00e9-\u00ff\]]\x41)"),
               {"\xC3\xA9"
                "A",
                "]A"},
               {"eA"});
  expect_holds(regex("a{,2}b{1}c{"), {"bc{", "aabc{"}, {"aaabc{"});
  expect_holds(regex(""), {""}, {"a"});
  expect_holds(regex("(a*)*b"), {"b", "aaab"}, {"a"});
}

TEST(Regex, RefusalsNameTheConstruct) {
  const auto expect_refused = [](std::string_view text, std::string_view what, ErrorCode code) {
    const auto made = regex(text);
    ASSERT_FALSE(made.has_value()) << text;
    EXPECT_EQ(made.error().code, code) << text;
    EXPECT_THAT(made.error().message, testing::HasSubstr(what));
  };
  expect_refused("a(?!b)", "lookahead", ErrorCode::kUnsupported);
  expect_refused("(?<=b)", "lookbehind", ErrorCode::kUnsupported);
  expect_refused(R"((a)\1)", "backreference", ErrorCode::kUnsupported);
  expect_refused(R"(\bword)", "word border", ErrorCode::kUnsupported);
  expect_refused("a^b", "'^'", ErrorCode::kUnsupported);
  expect_refused("a++", "possessive", ErrorCode::kUnsupported);
  expect_refused("(a", "'('", ErrorCode::kInvalidArgument);
  expect_refused("a)", "')'", ErrorCode::kInvalidArgument);
  expect_refused("*a", "repeat", ErrorCode::kInvalidArgument);
  expect_refused("[a", "'['", ErrorCode::kInvalidArgument);
  expect_refused("a{3,1}", "below", ErrorCode::kInvalidArgument);
  expect_refused("[b-a]", "range", ErrorCode::kInvalidArgument);
  expect_refused("\xFF", "UTF-8", ErrorCode::kInvalidArgument);
}

TEST(Gbnf, Languages) {
  expect_holds(gbnf("root ::= \"a\" b? [x-z]+ # end\nb ::= \"\\x41\" | \"\\u00e9\"\n"),
               {"ax", "aAzz", "a\xC3\xA9y"},
               {"a", "aBx"});
  expect_holds(gbnf("root ::= (\n  \"a\" |\n  \"b\"\n) c{2,3}\nc ::= [^\\n]"),
               {"a..", "b..."},
               {"a.", "a.\n"});
  expect_holds(gbnf("root ::= \"(\" root \")\" |\n \"\""), {"", "((()))"}, {"(()"});
  expect_holds(gbnf("root ::= e (\"+\" e)*\ne ::= [0-9]+ | \"(\" root \")\""), {"1+(2+3)"}, {"1+"});
}

TEST(Gbnf, RefusalsSayWhere) {
  const auto expect_refused = [](std::string_view text, std::string_view what) {
    const auto made = gbnf(text);
    ASSERT_FALSE(made.has_value()) << text;
    EXPECT_THAT(made.error().message, testing::HasSubstr(what));
  };
  expect_refused("root ::= root \"a\" | \"b\"", "left recursion");
  expect_refused("root ::= a? root \"x\" | \"b\"\na ::= \"y\"", "left recursion");
  expect_refused("root ::= other", "'other'");
  expect_refused("x ::= \"a\"", "'root'");
  expect_refused("root ::= \"a", "line 1");
  expect_refused("root ::= \"a\"\nroot ::= \"b\"", "twice");
  expect_refused("root ::= root", "no text");
}

TEST(Grammar, HostileSourcesEndSoon) {
  const auto begin = std::chrono::steady_clock::now();
  const auto deep = [](std::string_view open, std::string_view close, std::size_t times) {
    std::string text;
    for (std::size_t i = 0; i < times; ++i) {
      text += open;
    }
    text += "{}";
    for (std::size_t i = 0; i < times; ++i) {
      text += close;
    }
    return text;
  };
  std::string names = R"({"type":"object","properties":{)";
  for (int i = 0; i < 20'000; ++i) {
    names += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + R"(":{"type":"string"})";
  }
  names += "}}";
  std::string unions = R"({"allOf":[)";
  for (int i = 0; i < 30; ++i) {
    unions += std::string(i == 0 ? "" : ",") + R"({"anyOf":[{"minLength":1},{"maxLength":5}]})";
  }
  unions += "]}";
  for (const std::string& text :
       {deep(R"({"items":)", "}", 100),
        deep(R"({"anyOf":[)", "]}", 60),
        deep(R"({"items":)", "}", 5000),
        std::string(R"({"type":"string","maxLength":1000000000000})"),
        std::string(R"({"type":"array","minItems":1000000000})"),
        std::string(R"({"type":"string","pattern":"(a|b){0,5000}c{0,5000}","maxLength":70000})"),
        std::string(R"({"type":"string","pattern":"(.*a){20}","minLength":2})"),
        std::string(R"({"type":"string","pattern":"(a|b)*a(a|b){18}","minLength":2})"),
        std::string(R"({"type":"object","maxProperties":100000,"properties":{"a":{},"b":{}}})"),
        std::string(R"({"type":"integer","multipleOf":999999937})"),
        std::string(R"({"minimum":1e308,"maximum":-1e308})"),
        unions,
        names}) {
    const auto made = schema(text);
    if (made) {
      EXPECT_EQ(allowed(*made), accepted(*made));
    } else {
      EXPECT_FALSE(made.error().message.empty());
    }
  }
  for (const std::string_view text : {"(((a{0,1000000}){0,1000000}){0,1000000})",
                                      "((a?){1000}){1000}",
                                      "((a*)*)*b",
                                      "(a|a|a|a|a|aa|aaa)*b",
                                      "(x+x+)+y"}) {
    const auto made = regex(text);
    EXPECT_TRUE(made.has_value() || !made.error().message.empty());
  }
  EXPECT_FALSE(regex(std::string(500'000, '(')).has_value());
  EXPECT_FALSE(regex(std::string(600'000, 'a')).has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(Grammar, AmbiguityIsBounded) {
  const auto start = gbnf(
      "root ::= \"a\" root x | \"a\" root y | \"a\"\nx ::= \"b\" | \"c\"\ny ::= \"b\" | \"d\"");
  ASSERT_TRUE(start.has_value());
  GrammarMatcher at = *start;
  std::vector<std::uint64_t> bits(mask_words(static_cast<std::size_t>(tokenizer().vocab_size())));
  for (int i = 0; i < 200; ++i) {
    if (!at.mask(bits) || !at.accept('a')) {
      break;
    }
  }
  EXPECT_EQ(allowed(*start), accepted(*start));
}

}  // namespace

}  // namespace genesis::text
