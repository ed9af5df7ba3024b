// Cutting text into words: the hand-written splitters against the regular expressions they replace,
// split behaviours, and which patterns are let through.
#include "base/random.h"
#include "text/gpt_split.h"
#include "text/pattern.h"
#include "text/split_behavior.h"
#include "text/unicode.h"

#include <gtest/gtest.h>

namespace genesis::text {
namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view text, const std::vector<Match>& matches) {
  Words out;
  for (const Match& match : matches) {
    out.emplace_back(text.substr(match.begin, match.end - match.begin));
  }
  return out;
}

std::string random_text(Random& random) {
  constexpr auto kParts = std::to_array<std::string_view>({"a",
                                                           "Z",
                                                           "\xC3\xBC",
                                                           "\xE4\xB8\x96",
                                                           "1",
                                                           "23",
                                                           "\xC2\xBD",
                                                           " ",
                                                           "  ",
                                                           "\n",
                                                           "\r\n",
                                                           "\t",
                                                           "\xC2\xA0",
                                                           "\xE2\x80\xA8",
                                                           "'s",
                                                           "'LL",
                                                           "'",
                                                           "\xC5\xBF",
                                                           "'\xC5\xBF",
                                                           "!",
                                                           "?!",
                                                           "\xCC\x81",
                                                           "_",
                                                           "\xF0\x9F\x98\x80",
                                                           "'Re",
                                                           "'d",
                                                           "\xE1\xA0\x8E",
                                                           "\xF0\x91\xB7\xA0",
                                                           "word"});
  std::string out;
  for (std::uint64_t i = random.below(12); i > 0; --i) {
    out += kParts[random.below(kParts.size())];
  }
  return out;
}

class GptSplitTest : public testing::TestWithParam<std::string_view> {};

TEST_P(GptSplitTest, EqualsItsPattern) {
  constexpr std::uint64_t kSeed = 7;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const auto fast = GptSplit::for_pattern(GetParam(), std::make_shared<const CharTable>());
  const auto slow = Regex::compile(GetParam());
  ASSERT_TRUE(fast && slow);
  Random random(kSeed);
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = random_text(random);
    std::vector<Match> quick;
    std::vector<Match> reference;
    fast->find_all(text, quick);
    ASSERT_TRUE(slow->find_all(text, reference));
    ASSERT_EQ(words_of(text, quick), words_of(text, reference)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Patterns,
                         GptSplitTest,
                         testing::Values(kGpt2Pattern, kLlama3Pattern, kQwen2Pattern));

TEST(GptSplit, KnownWords) {
  const auto split = GptSplit::for_pattern(kGpt2Pattern, std::make_shared<const CharTable>());
  const std::string_view text = "It's  2024,\n ok?  ";
  std::vector<Match> matches;
  split->find_all(text, matches);
  EXPECT_EQ(words_of(text, matches),
            (Words{"It", "'s", " ", " 2024", ",", "\n", " ok", "?", "  "}));
  EXPECT_FALSE(GptSplit::for_pattern("a+", std::make_shared<const CharTable>()));
}

TEST(Cut, Behaviours) {
  const auto parts = [](SplitBehavior behavior, bool invert) {
    std::vector<Piece> out;
    cut({"a--b-c"}, {{1, 2}, {2, 3}, {4, 5}}, {behavior, invert}, out);
    Words words;
    for (const Piece& piece : out) {
      words.emplace_back(piece.text);
    }
    return words;
  };
  EXPECT_EQ(parts(SplitBehavior::kIsolated, false), (Words{"a", "-", "-", "b", "-", "c"}));
  EXPECT_EQ(parts(SplitBehavior::kRemoved, false), (Words{"a", "b", "c"}));
  EXPECT_EQ(parts(SplitBehavior::kRemoved, true), (Words{"-", "-", "-"}));
  EXPECT_EQ(parts(SplitBehavior::kMergedWithPrevious, false), (Words{"a-", "-", "b-", "c"}));
  EXPECT_EQ(parts(SplitBehavior::kMergedWithNext, false), (Words{"a", "-", "-b", "-c"}));
  EXPECT_EQ(parts(SplitBehavior::kContiguous, false), (Words{"a", "--", "b", "-", "c"}));
}

TEST(Pattern, RefusesWhatItCannotPromise) {
  for (const std::string_view pattern : {"[a[b]]",
                                         "[a&&b]",
                                         "\\p{Han}",
                                         "\\bword",
                                         "(?i:stress)",
                                         "(?<name>x)",
                                         "\\1",
                                         "a{2}+",
                                         "[\\W]",
                                         "a**",
                                         "(*COMMIT)",
                                         "\\x{110000}",
                                         "[a",
                                         "\\"}) {
    const auto translated = translate_pattern(pattern);
    ASSERT_FALSE(translated) << pattern;
    EXPECT_EQ(translated.error().code, ErrorCode::kUnsupported);
  }
  EXPECT_TRUE(translate_pattern("[^\\s\\p{L}]+?|\\d{,3}|(?i:'ll)|(?<!a)b"));
}

TEST(Regex, WhiteSpaceIsThatOfOniguruma) {
  const auto space = Regex::compile("\\s");
  ASSERT_TRUE(space);
  const auto matches = [&](std::string_view text) {
    std::vector<Match> out;
    space->find_all(text, out);
    return !out.empty();
  };
  EXPECT_TRUE(matches("\xC2\x85"));       // next line
  EXPECT_FALSE(matches("\xE1\xA0\x8E"));  // Mongolian vowel separator
}

TEST(Regex, GivesUpOnExponentialPatterns) {
  const auto hostile = Regex::compile("(a+)+$");
  ASSERT_TRUE(hostile);
  std::vector<Match> out;
  EXPECT_FALSE(hostile->find_all(std::string(60, 'a') + "b", out));
}

TEST(Utf8, ReplacesMaximalSubparts) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(to_valid_utf8("a\xF0\x9F\x98z"), "a" + r + "z");
  EXPECT_EQ(to_valid_utf8("\xE0\x80\x80"), r + r + r);
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(to_valid_utf8("\xC3"), r);
  std::vector<PlainSpan> moved;
  const std::vector<PlainSpan> spans{{0, 1}, {1, 3}};
  to_valid_utf8(
      "\xFF\xFF"
      "ab",
      spans,
      moved);
  EXPECT_EQ(moved[0].end, 3U);
  EXPECT_EQ(moved[1].begin, 3U);
  EXPECT_EQ(moved[1].end, 7U);
}

}  // namespace
}  // namespace genesis::text
