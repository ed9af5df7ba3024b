// The cursor against the parser: whatever it accepts, the parser accepts with the same content.
#include "base/json_cursor.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace genesis {
namespace {

bool accepts(std::string_view text) {
  JsonCursor json(text);
  return json.skip() && json.at_end();
}

TEST(JsonCursor, WalksAnObject) {
  JsonCursor json(R"( {"a" : 1, "b":[1,{"c":null},"x"], "d" :"t\u00e9\n", "e":null,"f":-7} )");
  std::vector<std::string> seen;
  ASSERT_TRUE(json.begin_object());
  while (const auto name = json.next_member()) {
    seen.emplace_back(*name);
    if (*name == "d") {
      EXPECT_EQ(unescape_json(json.string().value_or("")), "t\xC3\xA9\n");
    } else if (*name == "e") {
      EXPECT_TRUE(json.take_null());
    } else if (*name == "f") {
      EXPECT_EQ(json.integer(), -7);
    } else {
      EXPECT_TRUE(json.skip());
    }
  }
  EXPECT_TRUE(json.at_end());
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "b", "d", "e", "f"}));
}

TEST(JsonCursor, RefusesWhatIsNotJson) {
  for (const std::string_view text : {"",
                                      "{",
                                      "}",
                                      "{]",
                                      "[}",
                                      "{,}",
                                      "[1,]",
                                      R"({"a":1,})",
                                      R"({"a" 1})",
                                      R"({"a":})",
                                      R"({a:1})",
                                      "[1 2]",
                                      "01",
                                      "-",
                                      "1.",
                                      ".5",
                                      "nul",
                                      "truth",
                                      "\"a",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      R"("\ud800")",
                                      R"("\udc00\ud800")",
                                      "\"\x01\"",
                                      "\"\xFF\"",
                                      "\"\xE2\x82\"",
                                      "\"\xED\xA0\x80\"",
                                      "{} {}",
                                      "1 1"}) {
    EXPECT_FALSE(accepts(text)) << text;
    EXPECT_FALSE(parse_json(text)) << text;
  }
  EXPECT_FALSE(accepts(std::string(1000, '[')));
  JsonCursor wrong("[1]");
  EXPECT_FALSE(wrong.begin_object());
  EXPECT_TRUE(wrong.failed());
  EXPECT_FALSE(wrong.at_end());
  EXPECT_FALSE(wrong.next_member());
}

TEST(JsonCursor, ResolvesEscapesAsTheParserDoes) {
  for (const std::string_view text : {R"("plain")",
                                      R"("\"\\\/\b\f\n\r\t")",
                                      R"("\u0000\u0041\u00e9\u20ac\ud83d\ude80x")",
                                      "\"\xF0\x9F\x9A\x80\""}) {
    JsonCursor json(text);
    const auto raw = json.string();
    ASSERT_TRUE(raw) << text;
    EXPECT_EQ(unescape_json(*raw), std::string(parse_json(text)->get_string())) << text;
  }
}

// Random damage to valid texts: acceptance must imply the parser's.
TEST(JsonCursor, NeverAcceptsMoreThanTheParser) {
  const std::vector<std::string> seeds = {
      R"({"id":"x","choices":[{"index":0,"delta":{"content":"h\u00e9 \ud83d\ude80"}}],"u":null})",
      R"([1,-2.5,true,false,null,{"a":{"b":[]}},"\\\"\/"])",
      "{\"k\":\"\xE2\x82\xAC\",\"n\":12345678901234567}"};
  constexpr std::string_view kAlphabet = "{}[]\",:\\u0019dD8cCeE.-+ntrfals \n\x80\xE2\xFF\x01";
  const unsigned seed = 20261125;
  std::mt19937 random(seed);
  std::size_t accepted = 0;
  for (int round = 0; round < 30'000; ++round) {
    std::string text = seeds[random() % seeds.size()];
    for (unsigned hits = random() % 3; hits > 0; --hits) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = kAlphabet[random() % kAlphabet.size()];
          break;
        case 1:
          text.insert(at, 1, kAlphabet[random() % kAlphabet.size()]);
          break;
        default:
          text.erase(at, 1);
          break;
      }
    }
    if (accepts(text)) {
      ++accepted;
      ASSERT_TRUE(parse_json(text)) << "seed " << seed << ", round " << round << ": " << text;
    }
  }
  EXPECT_GT(accepted, 1000U);
}

}  // namespace
}  // namespace genesis
