// The scheduling rules one by one, and random schedules against their invariants.
#include "engine/scheduler.h"

#include "base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>

namespace genesis::engine {

namespace {

using testing::ElementsAre;

Scheduler make_scheduler(std::int32_t max_batch, std::int32_t chunk, std::int32_t pages) {
  return Scheduler(
      {.max_batch = max_batch, .prefill_chunk = chunk, .page_tokens = 4, .num_pages = pages});
}

constexpr std::int32_t kNoLimit = 1'000;

// A sequence that shares nothing with any other.
void add(Scheduler& scheduler, SequenceId id, std::int32_t tokens, std::int32_t chunk_limit) {
  scheduler.add({.id = id,
                 .tokens = tokens,
                 .chunk_limit = chunk_limit,
                 .namer = BlockNamer("model", std::to_string(id), "", 0),
                 .names = {}});
}

// As add(), for one of those who share.
void add_for(Scheduler& scheduler,
             SequenceId id,
             const std::string& flow,
             Priority priority = Priority::kNormal) {
  scheduler.add({.id = id,
                 .tokens = 4,
                 .chunk_limit = kNoLimit,
                 .namer = BlockNamer("model", std::to_string(id), "", 0),
                 .names = {},
                 .flow = flow,
                 .priority = priority});
}

// The prompt of a sequence of a family begins like those of its siblings.
void add_sibling(Scheduler& scheduler, SequenceId id, std::span<const std::int32_t> prompt) {
  const BlockNamer namer("model", "family", "", 0);
  scheduler.add({.id = id,
                 .tokens = static_cast<std::int32_t>(prompt.size()),
                 .chunk_limit = kNoLimit,
                 .namer = namer,
                 .names = namer.name_all(prompt, 4)});
}

std::vector<std::int32_t> numbers(std::size_t count, std::int32_t first = 0) {
  std::vector<std::int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// Carries out a part. A sequence's tokens are 0, 1, 2, ... here.
void advance(Scheduler& scheduler, const StepPart& part, std::int32_t known) {
  scheduler.advance(part.id, part.count, numbers(static_cast<std::size_t>(known)));
}

// id, start, count, completes
using Row = std::tuple<SequenceId, std::int32_t, std::int32_t, bool>;

// Plans a step and carries it out: what completes gets one more token.
std::vector<Row> step(Scheduler& scheduler) {
  std::vector<Row> rows;
  for (const StepPart& part : scheduler.plan()) {
    rows.emplace_back(part.id, part.start, part.count, part.completes);
    advance(scheduler, part, scheduler.known(part.id));
    if (part.completes) {
      scheduler.append(part.id);
    }
  }
  scheduler.check_invariants();
  return rows;
}

TEST(Scheduler, NothingToDoIsAnEmptyPlan) {
  Scheduler scheduler = make_scheduler(4, 8, 16);
  EXPECT_TRUE(scheduler.plan().empty());
}

TEST(Scheduler, DecodesComeFirstAndPromptsShareTheChunk) {
  Scheduler scheduler = make_scheduler(4, 8, 32);
  add(scheduler, 1, 3, kNoLimit);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 3, true}));
  add(scheduler, 2, 12, kNoLimit);
  add(scheduler, 3, 6, kNoLimit);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 3, 1, true}, Row{2, 0, 8, false}));
  EXPECT_THAT(step(scheduler),
              ElementsAre(Row{1, 4, 1, true}, Row{2, 8, 4, true}, Row{3, 0, 4, false}));
  EXPECT_THAT(step(scheduler),
              ElementsAre(Row{1, 5, 1, true}, Row{2, 12, 1, true}, Row{3, 4, 2, true}));
}

TEST(Scheduler, AChunkLimitHoldsForItsSequenceOnly) {
  Scheduler scheduler = make_scheduler(4, 16, 32);
  add(scheduler, 1, 9, 4);
  add(scheduler, 2, 9, kNoLimit);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 4, false}, Row{2, 0, 9, true}));
}

TEST(Scheduler, BatchIsLimitedAndTheQueueIsInOrder) {
  Scheduler scheduler = make_scheduler(2, 100, 32);
  for (SequenceId id = 1; id <= 4; ++id) {
    add(scheduler, id, 2, kNoLimit);
  }
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 2, true}, Row{2, 0, 2, true}));
  EXPECT_EQ(scheduler.waiting(), 2);
  scheduler.remove(1);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 2, 1, true}, Row{3, 0, 2, true}));
}

TEST(Scheduler, AdmissionLeavesRoomForThoseAlreadyRunning) {
  Scheduler scheduler = make_scheduler(8, 100, 5);
  add(scheduler, 1, 8, kNoLimit);
  add(scheduler, 2, 8, kNoLimit);
  // Sequence 1 holds two pages and is about to need a third; 2 needs three to start.
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 8, true}));
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 8, 1, true}));
  scheduler.remove(1);
  EXPECT_EQ(scheduler.free_pages(), 5);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 0, 8, true}));
}

TEST(Scheduler, WhenPagesRunOutTheYoungestRecomputesLaterWithItsTokens) {
  Scheduler scheduler = make_scheduler(8, 100, 5);
  for (SequenceId id = 1; id <= 3; ++id) {
    add(scheduler, id, 4, kNoLimit);
  }
  step(scheduler);
  ASSERT_EQ(scheduler.running(), 2);  // a third would need pages that these two are about to need
  while (scheduler.preemptions() == 0) {
    step(scheduler);
  }
  EXPECT_EQ(scheduler.running(), 1);
  EXPECT_EQ(scheduler.waiting(), 2);
  scheduler.remove(1);
  // Four prompt tokens and five generated ones: what its kept blocks do not hold is computed again,
  // before 3 gets its turn.
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 8, 1, true}));
}

TEST(Scheduler, TheOldestPromptTakesPagesFromYoungerDecodes) {
  Scheduler scheduler = make_scheduler(8, 100, 5);
  add(scheduler, 1, 12, 1);
  add(scheduler, 2, 1, kNoLimit);
  for (std::int32_t i = 0; i < 8; ++i) {
    EXPECT_THAT(step(scheduler),
                testing::UnorderedElementsAre(Row{1, i, 1, false}, Row{2, i, 1, true}));
  }
  // Both need a third page and one is left: 2 takes it as a decode, and 1 takes all three from it.
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 8, 1, false}));
  EXPECT_EQ(scheduler.preemptions(), 1U);
  EXPECT_EQ(scheduler.free_pages(), 2);
}

// Random arrivals, ends and aborts, with and without a common beginning: invariants hold at each
// step, there is always one that moves on, and all of them finish.
TEST(Scheduler, RandomSchedulesKeepTheInvariantsAndFinish) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const auto pages = static_cast<std::int32_t>(4 + random.below(12));
    Scheduler scheduler = make_scheduler(static_cast<std::int32_t>(1 + random.below(6)),
                                         static_cast<std::int32_t>(1 + random.below(20)),
                                         pages);
    std::map<SequenceId, std::int32_t> left;  // tokens to generate
    std::map<SequenceId, std::int32_t> computed;
    SequenceId next = 1;
    for (int round = 0; round < 4'000 && (round < 200 || !left.empty()); ++round) {
      if (round < 200 && random.below(3) == 0) {
        const auto longest = static_cast<std::uint64_t>(pages) * 4;
        const auto prompt = 1 + random.below(longest - 1);
        if (random.below(2) == 0) {
          add_sibling(scheduler, next, numbers(prompt));
        } else {
          add(scheduler,
              next,
              static_cast<std::int32_t>(prompt),
              static_cast<std::int32_t>(1 + random.below(12)));
        }
        left[next++] = static_cast<std::int32_t>(1 + random.below(longest - prompt));
      }
      if (!left.empty() && random.below(10) == 0) {
        const auto victim =
            std::next(left.begin(), static_cast<std::ptrdiff_t>(random.below(left.size())));
        scheduler.remove(victim->first);
        left.erase(victim);
      }
      const std::uint64_t before = scheduler.preemptions();
      const std::vector<StepPart> parts = scheduler.plan();
      scheduler.check_invariants();
      ASSERT_EQ(parts.empty(), left.empty());
      for (const StepPart& part : parts) {
        // From the cache come whole pages.
        ASSERT_TRUE(part.start == computed[part.id] || part.start % 4 == 0);
        ASSERT_GE(scheduler.pages(part.id).size() * 4,
                  static_cast<std::size_t>(part.start + part.count));
        computed[part.id] = part.start + part.count;
        advance(scheduler, part, scheduler.known(part.id));
        if (part.completes && --left[part.id] == 0) {
          left.erase(part.id);
          scheduler.remove(part.id);
        } else if (part.completes) {
          scheduler.append(part.id);
        }
      }
      ASSERT_GE(scheduler.preemptions(), before);
    }
    ASSERT_TRUE(left.empty());
    ASSERT_EQ(scheduler.free_pages(), pages);
  }
}

// The first sequences of a batch of one, in the order in which they came in.
std::vector<SequenceId> order_of(Scheduler& scheduler, std::size_t count) {
  std::vector<SequenceId> order;
  while (order.size() < count) {
    const SequenceId id = scheduler.plan().front().id;
    scheduler.advance(id, 4, numbers(4));
    scheduler.remove(id);
    scheduler.check_invariants();
    order.push_back(id);
  }
  return order;
}

TEST(Scheduler, WhoGotLeastIsNext) {
  Scheduler scheduler = make_scheduler(1, 100, 32);
  for (SequenceId id = 1; id <= 4; ++id) {
    add_for(scheduler, id, "builder");
  }
  EXPECT_THAT(order_of(scheduler, 1), ElementsAre(1));
  add_for(scheduler, 5, "qa");
  add_for(scheduler, 6, "qa");
  // The second agent does not stand behind all that the first asked before it, nor push it aside.
  EXPECT_THAT(order_of(scheduler, 5), ElementsAre(5, 2, 6, 3, 4));
}

TEST(Scheduler, BeingAwayIsNoClaim) {
  Scheduler scheduler = make_scheduler(1, 100, 32);
  for (SequenceId id = 1; id <= 8; ++id) {
    add_for(scheduler, id, "builder");
  }
  order_of(scheduler, 4);
  for (SequenceId id = 9; id <= 12; ++id) {
    add_for(scheduler, id, "qa");
  }
  EXPECT_THAT(order_of(scheduler, 4), ElementsAre(9, 5, 10, 6));
}

TEST(Scheduler, PriorityComesFirstAndWaitingLongEnoughRaises) {
  Scheduler scheduler = make_scheduler(1, 100, 32);
  add_for(scheduler, 1, "a", Priority::kLow);
  add_for(scheduler, 2, "b");
  add_for(scheduler, 3, "c", Priority::kHigh);
  EXPECT_THAT(order_of(scheduler, 2), ElementsAre(3, 2));
  SequenceId next = 4;
  bool served = false;
  for (int step = 0; step < 3'000 && !served; ++step) {
    add_for(scheduler, next++, "b", Priority::kHigh);
    served = order_of(scheduler, 1).front() == 1;
  }
  EXPECT_TRUE(served) << "low priority is late, not lost";
}

TEST(Scheduler, APromptThatBeginsAlikeTakesTheBlocksOfOneBefore) {
  Scheduler scheduler = make_scheduler(4, 100, 32);
  add_sibling(scheduler, 1, numbers(10));
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 10, true}));
  EXPECT_EQ(scheduler.cache_use(1).miss, CacheMiss::kNew);
  // Two whole blocks of four are kept and shared; the running owner does not have to end first.
  add_sibling(scheduler, 2, numbers(12));
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 10, 1, true}, Row{2, 8, 4, true}));
  EXPECT_EQ(scheduler.cache_use(2).cached, 8);
  EXPECT_EQ(scheduler.cache_use(2).miss, CacheMiss::kNone);
  EXPECT_EQ(scheduler.pages(1)[0], scheduler.pages(2)[0]);
  EXPECT_EQ(scheduler.pages(1)[1], scheduler.pages(2)[1]);
  EXPECT_NE(scheduler.pages(1)[2], scheduler.pages(2)[2]);
  scheduler.remove(1);
  scheduler.remove(2);
  scheduler.check_invariants();
  EXPECT_EQ(scheduler.free_pages(), 32);
  EXPECT_EQ(scheduler.kept_pages(), 3);  // 0..7 once, and 8..11 of the second
}

TEST(Scheduler, TheLastTokenIsComputedHoweverMuchIsKept) {
  Scheduler scheduler = make_scheduler(4, 100, 32);
  add_sibling(scheduler, 1, numbers(8));
  step(scheduler);
  scheduler.remove(1);
  add_sibling(scheduler, 2, numbers(8));
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 4, 4, true}));
  EXPECT_EQ(scheduler.cache_use(2).miss, CacheMiss::kNone);
}

TEST(Scheduler, GeneratedTokensAreKeptToo) {
  Scheduler scheduler = make_scheduler(4, 100, 32);
  add_sibling(scheduler, 1, numbers(6));
  for (int i = 0; i < 7; ++i) {
    step(scheduler);  // afterwards its tokens are 0 to 12, the last not computed
  }
  scheduler.remove(1);
  add_sibling(scheduler, 2, numbers(15));
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 12, 3, true}));
}

TEST(Scheduler, TheNextTurnGoesOnInsideAPage) {
  Scheduler scheduler({.max_batch = 4, .prefill_chunk = 100, .page_tokens = 8, .num_pages = 32});
  const BlockNamer namer("model", "family", "", 0);
  const auto arrive = [&](SequenceId id, const std::vector<std::int32_t>& prompt) {
    scheduler.add({.id = id,
                   .tokens = static_cast<std::int32_t>(prompt.size()),
                   .chunk_limit = kNoLimit,
                   .namer = namer,
                   .names = namer.name_all(prompt, 8),
                   .prompt = std::make_shared<const std::vector<std::int32_t>>(prompt)});
  };
  arrive(1, numbers(6));
  for (int i = 0; i < 8; ++i) {
    step(scheduler);  // afterwards its tokens are 0 to 13, the last not computed
  }
  scheduler.remove(1, numbers(14));
  scheduler.check_invariants();
  EXPECT_EQ(scheduler.free_pages(), 32);
  arrive(2, numbers(30));
  arrive(3, numbers(30));
  // One whole page and five tokens of the next; the third waits for what the second computes.
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 13, 17, true}));
  EXPECT_EQ(scheduler.cache_use(2).cached, 13);
  EXPECT_EQ(scheduler.cache_use(2).miss, CacheMiss::kDiverged);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 30, 1, true}, Row{3, 24, 6, true}));
}

TEST(Scheduler, WhatAnOlderSequenceIsComputingIsAwaited) {
  Scheduler scheduler = make_scheduler(4, 8, 64);
  add_sibling(scheduler, 1, numbers(18));
  add_sibling(scheduler, 2, numbers(18));
  std::vector<std::int32_t> other = numbers(17);
  other.push_back(99);
  add_sibling(scheduler, 3, other);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 8, false}));
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 8, 8, false}));
  EXPECT_EQ(scheduler.running(), 1);  // the budget of a step is used up before others are looked at
  EXPECT_THAT(step(scheduler),
              ElementsAre(Row{1, 16, 2, true}, Row{2, 16, 2, true}, Row{3, 16, 2, true}));
  EXPECT_EQ(scheduler.cache_use(3).cached, 16);
}

TEST(Scheduler, TwoThatComeTogetherComputeOnce) {
  Scheduler scheduler = make_scheduler(4, 100, 64);
  add_sibling(scheduler, 1, numbers(18));
  add_sibling(scheduler, 2, numbers(18));
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 18, true}));
  EXPECT_EQ(scheduler.running(), 2);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 18, 1, true}, Row{2, 16, 2, true}));
}

TEST(Scheduler, WhoeverIsWaitedForMayGo) {
  Scheduler scheduler = make_scheduler(4, 8, 64);
  add_sibling(scheduler, 1, numbers(40));
  step(scheduler);
  add_sibling(scheduler, 2, numbers(40));
  scheduler.remove(1);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 8, 8, false}));
}

TEST(Scheduler, TheReasonOfAMissIsKnown) {
  Scheduler scheduler = make_scheduler(4, 100, 4);
  add_sibling(scheduler, 1, numbers(8));
  step(scheduler);
  scheduler.remove(1);
  std::vector<std::int32_t> other = numbers(9);
  other[5] = 77;
  add_sibling(scheduler, 2, other);
  step(scheduler);
  EXPECT_EQ(scheduler.cache_use(2).miss, CacheMiss::kDiverged);
  EXPECT_EQ(scheduler.cache_use(2).miss_at, 4);
  scheduler.remove(2);
  add(scheduler, 3, 15, kNoLimit);  // takes all four pages
  step(scheduler);
  scheduler.remove(3);
  add_sibling(scheduler, 4, numbers(8));
  step(scheduler);
  EXPECT_EQ(scheduler.cache_use(4).miss, CacheMiss::kEvicted);
  EXPECT_EQ(scheduler.cache_use(4).cached, 0);
}

TEST(Scheduler, NothingIsReusedWhereEveryLogitIsWanted) {
  Scheduler scheduler = make_scheduler(4, 100, 32);
  add_sibling(scheduler, 1, numbers(10));
  step(scheduler);
  const BlockNamer namer("model", "family", "", 0);
  scheduler.add({.id = 2,
                 .tokens = 10,
                 .chunk_limit = kNoLimit,
                 .namer = namer,
                 .names = namer.name_all(numbers(10), 4),
                 .reuse = false});
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 10, 1, true}, Row{2, 0, 10, true}));
  EXPECT_EQ(scheduler.cache_use(2).miss, CacheMiss::kPromptLogprobs);
  // It computed the same blocks again and goes on with those that were there.
  EXPECT_EQ(scheduler.pages(1)[1], scheduler.pages(2)[1]);
}

}  // namespace

}  // namespace genesis::engine
