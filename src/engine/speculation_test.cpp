// Guesses: taken from what was said before, given up when they do not pay, and never heard in the
// answer.
#include "engine/speculation.h"

#include "engine/collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace genesis::engine {

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::int32_t> guess(const std::vector<std::int32_t>& tokens, std::int32_t most = 4) {
  const auto found = look_up_drafts(tokens, most);
  return {found.begin(), found.end()};
}

TEST(PromptLookup, TakesWhatFollowedTheSameTokens) {
  EXPECT_THAT(guess({1, 2, 3, 4, 5, 6, 7, 1, 2, 3}), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(guess({1, 2, 3, 4, 5, 6, 7, 1, 2, 3}, 2), ElementsAre(4, 5));
  EXPECT_THAT(guess({9, 2, 3, 4, 5, 1, 2, 3}), ElementsAre(4, 5, 1, 2)) << "two tokens will do";
  EXPECT_THAT(guess({1, 2, 3, 4, 8, 1, 2, 3, 5, 8, 1, 2, 3}, 1), ElementsAre(5)) << "the latest";
  EXPECT_THAT(guess({7, 7, 7, 7}), ElementsAre(7)) << "the text may run into itself";
}

TEST(PromptLookup, HasNothingToSayAboutWhatIsNew) {
  EXPECT_THAT(guess({}), IsEmpty());
  EXPECT_THAT(guess({1}), IsEmpty());
  EXPECT_THAT(guess({1, 2}), IsEmpty());
  EXPECT_THAT(guess({1, 2, 3, 4, 5}), IsEmpty());
  EXPECT_THAT(guess({1, 2, 3, 1, 2, 3}, 0), IsEmpty());
}

TEST(Speculation, StopsWhenGuessesDoNotPayAndTriesAgain) {
  Speculation speculation;
  int guessed = 0;
  for (int step = 0; step < 1'000; ++step) {
    const std::int32_t drafts = speculation.drafts(0.2);
    guessed += drafts;
    speculation.note(drafts, 0);
  }
  EXPECT_GT(guessed, 10);
  EXPECT_LT(guessed, 60) << "of a thousand steps";
}

TEST(Speculation, GuessesMoreTheBetterItGoes) {
  Speculation speculation;
  EXPECT_LT(speculation.drafts(0.3), kMostDrafts);
  for (int step = 0; step < 20; ++step) {
    const std::int32_t drafts = speculation.drafts(0.3);
    speculation.note(drafts, drafts);
  }
  EXPECT_EQ(speculation.drafts(0.3), kMostDrafts);
  EXPECT_EQ(Speculation().drafts(0.9), 0) << "a batch that is full has no room for guesses";
}

}  // namespace

}  // namespace genesis::engine
