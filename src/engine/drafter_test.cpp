// The small model's guesses: right when it is the large one, cheap to go on with, and never a
// reason to fail.
#include "engine/drafter.h"

#include "engine/fake_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace genesis::engine {

namespace {

struct Rig {
  explicit Rig(const FakeShape& of = {})
      : shape(of), drafter(std::make_unique<FakeRunner>(of, control)) {}

  std::vector<std::int32_t> draft(SequenceId id, std::int32_t most = 4) {
    const Drafter::Ask ask{.id = id, .tokens = known[id], .most = most};
    return drafter.draft(std::span(&ask, 1)).front();
  }

  // What the model says after `tokens`, token by token.
  std::vector<std::int32_t> truth(std::span<const std::int32_t> tokens, std::int32_t count) const {
    std::vector<std::int32_t> said;
    std::uint64_t state = 0;
    for (const std::int32_t token : tokens) {
      state = fake_state(state, token);
    }
    std::vector<float> row(static_cast<std::size_t>(shape.vocab_size));
    for (std::int32_t i = 0; i < count; ++i) {
      fake_logits(state, row);
      said.push_back(static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin()));
      state = fake_state(state, said.back());
    }
    return said;
  }

  FakeShape shape;
  std::shared_ptr<FakeControl> control = std::make_shared<FakeControl>();
  Drafter drafter;
  std::unordered_map<SequenceId, std::vector<std::int32_t>> known;
};

TEST(Drafter, SaysWhatItsModelSays) {
  Rig rig;
  rig.known[1] = {3, 1, 4, 1, 5};
  const auto guesses = rig.draft(1);
  EXPECT_EQ(guesses, rig.truth(rig.known[1], 4));
}

TEST(Drafter, ReadsOnlyWhatIsNew) {
  Rig rig;
  rig.known[1] = {3, 1, 4, 1, 5, 9, 2, 6};
  const auto guesses = rig.draft(1);
  EXPECT_EQ(rig.control->tokens, 8U + 3U);
  // Two guesses were right, then came another token.
  rig.known[1].push_back(guesses[0]);
  rig.known[1].push_back(guesses[1]);
  rig.known[1].push_back((guesses[2] + 1) % rig.shape.vocab_size);
  rig.control->tokens = 0;
  EXPECT_EQ(rig.draft(1), rig.truth(rig.known[1], 4));
  EXPECT_EQ(rig.control->tokens, 1U + 3U);
}

TEST(Drafter, ALongPromptIsReadInParts) {
  FakeShape shape;
  shape.max_context = 1'000;
  shape.num_pages = 250;
  Rig rig(shape);
  rig.known[1].assign(600, 7);
  rig.known[2] = {1, 2, 3};
  EXPECT_TRUE(rig.draft(1).empty());
  EXPECT_TRUE(rig.draft(1).empty());
  EXPECT_FALSE(rig.draft(2).empty()) << "others need not wait";
  EXPECT_EQ(rig.draft(1), rig.truth(rig.known[1], 4));
}

TEST(Drafter, WhoWasNotWantedForLongestMakesRoom) {
  FakeShape shape;
  shape.num_pages = 6;  // 24 tokens
  Rig rig(shape);
  for (const SequenceId id : {1U, 2U, 3U}) {
    rig.known[id] = {1, 2, 3, 4, 5, static_cast<std::int32_t>(id)};
    EXPECT_EQ(rig.draft(id, 2), rig.truth(rig.known[id], 2)) << id;
  }
  EXPECT_EQ(rig.drafter.free_pages(), 0);
  rig.known[4] = {9, 9, 9};
  EXPECT_EQ(rig.draft(4, 2), rig.truth(rig.known[4], 2));
  EXPECT_EQ(rig.draft(1, 2), rig.truth(rig.known[1], 2)) << "reads again what had to go";
  for (const SequenceId id : {1U, 2U, 3U, 4U}) {
    rig.drafter.forget(id);
  }
  EXPECT_EQ(rig.drafter.free_pages(), 6);
}

TEST(Drafter, NoGuessesWhereItHasNoRoomOrNoWord) {
  FakeShape shape;
  shape.num_pages = 3;
  Rig rig(shape);
  rig.known[1].assign(13, 1);
  EXPECT_TRUE(rig.draft(1).empty()) << "more than its pages hold";
  EXPECT_EQ(rig.drafter.free_pages(), 3);
  rig.known[2] = {1, shape.vocab_size};
  EXPECT_TRUE(rig.draft(2).empty()) << "a token that only the large model has";
  rig.known[3] = {1, 2};
  EXPECT_EQ(rig.draft(3, 2), rig.truth(rig.known[3], 2));
}

TEST(Drafter, AFailureIsItsLast) {
  Rig rig;
  rig.known[1] = {1, 2, 3};
  rig.control->no_memory = 1;
  EXPECT_TRUE(rig.draft(1).empty());
  EXPECT_TRUE(rig.drafter.broken());
  EXPECT_TRUE(rig.draft(1).empty());
}

}  // namespace

}  // namespace genesis::engine
