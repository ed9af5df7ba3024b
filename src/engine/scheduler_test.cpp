// The scheduling rules one by one, and random schedules against their invariants.
#include "engine/scheduler.h"

#include "base/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace genesis::engine {

namespace {

using testing::ElementsAre;

Scheduler make_scheduler(std::int32_t max_batch, std::int32_t chunk, std::int32_t pages) {
  return Scheduler(
      {.max_batch = max_batch, .prefill_chunk = chunk, .page_tokens = 4, .num_pages = pages});
}

constexpr std::int32_t kNoLimit = 1'000;

// id, start, count, completes
using Row = std::tuple<SequenceId, std::int32_t, std::int32_t, bool>;

// Plans a step and carries it out: what completes gets one more token.
std::vector<Row> step(Scheduler& scheduler) {
  std::vector<Row> rows;
  for (const StepPart& part : scheduler.plan()) {
    rows.emplace_back(part.id, part.start, part.count, part.completes);
    scheduler.advance(part.id, part.count);
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
  scheduler.add(1, 3, kNoLimit);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 3, true}));
  scheduler.add(2, 12, kNoLimit);
  scheduler.add(3, 6, kNoLimit);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 3, 1, true}, Row{2, 0, 8, false}));
  EXPECT_THAT(step(scheduler),
              ElementsAre(Row{1, 4, 1, true}, Row{2, 8, 4, true}, Row{3, 0, 4, false}));
  EXPECT_THAT(step(scheduler),
              ElementsAre(Row{1, 5, 1, true}, Row{2, 12, 1, true}, Row{3, 4, 2, true}));
}

TEST(Scheduler, AChunkLimitHoldsForItsSequenceOnly) {
  Scheduler scheduler = make_scheduler(4, 16, 32);
  scheduler.add(1, 9, 4);
  scheduler.add(2, 9, kNoLimit);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 4, false}, Row{2, 0, 9, true}));
}

TEST(Scheduler, BatchIsLimitedAndTheQueueIsInOrder) {
  Scheduler scheduler = make_scheduler(2, 100, 32);
  for (SequenceId id = 1; id <= 4; ++id) {
    scheduler.add(id, 2, kNoLimit);
  }
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 0, 2, true}, Row{2, 0, 2, true}));
  EXPECT_EQ(scheduler.waiting(), 2);
  scheduler.remove(1);
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 2, 1, true}, Row{3, 0, 2, true}));
}

TEST(Scheduler, AdmissionLeavesRoomForThoseAlreadyRunning) {
  Scheduler scheduler = make_scheduler(8, 100, 5);
  scheduler.add(1, 8, kNoLimit);
  scheduler.add(2, 8, kNoLimit);
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
    scheduler.add(id, 4, kNoLimit);
  }
  step(scheduler);
  ASSERT_EQ(scheduler.running(), 2);  // a third would need pages that these two are about to need
  while (scheduler.preemptions() == 0) {
    step(scheduler);
  }
  EXPECT_EQ(scheduler.running(), 1);
  EXPECT_EQ(scheduler.waiting(), 2);
  scheduler.remove(1);
  // Four prompt tokens and five generated ones are computed again, before 3 gets its turn.
  EXPECT_THAT(step(scheduler), ElementsAre(Row{2, 0, 9, true}));
}

TEST(Scheduler, TheOldestPromptTakesPagesFromYoungerDecodes) {
  Scheduler scheduler = make_scheduler(8, 100, 5);
  scheduler.add(1, 12, 1);
  scheduler.add(2, 1, kNoLimit);
  for (std::int32_t i = 0; i < 8; ++i) {
    EXPECT_THAT(step(scheduler),
                testing::UnorderedElementsAre(Row{1, i, 1, false}, Row{2, i, 1, true}));
  }
  // Both need a third page and one is left: 2 takes it as a decode, and 1 takes all three from it.
  EXPECT_THAT(step(scheduler), ElementsAre(Row{1, 8, 1, false}));
  EXPECT_EQ(scheduler.preemptions(), 1U);
  EXPECT_EQ(scheduler.free_pages(), 2);
}

// Random arrivals, ends and aborts: invariants hold at each step, every sequence computes each
// position once between preemptions, and all of them finish.
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
        scheduler.add(next,
                      static_cast<std::int32_t>(prompt),
                      static_cast<std::int32_t>(1 + random.below(12)));
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
        ASSERT_TRUE(part.start == computed[part.id] || part.start == 0);
        ASSERT_GE(scheduler.pages(part.id).size() * 4,
                  static_cast<std::size_t>(part.start + part.count));
        computed[part.id] = part.start + part.count;
        scheduler.advance(part.id, part.count);
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

TEST(BlockPool, GivesEachPageOnceAndTakesItBack) {
  BlockPool pool(3);
  EXPECT_EQ(pool.take(), 0);
  EXPECT_EQ(pool.take(), 1);
  EXPECT_EQ(pool.take(), 2);
  EXPECT_EQ(pool.take(), std::nullopt);
  pool.give_back(1);
  EXPECT_EQ(pool.free_pages(), 1);
  EXPECT_EQ(pool.take(), 1);
}

TEST(BlockPoolDeathTest, ReturningAPageTwiceStopsTheProcess) {
  BlockPool pool(2);
  const auto page = pool.take();
  pool.give_back(*page);
  EXPECT_DEATH(pool.give_back(*page), "held_");
}

}  // namespace

}  // namespace genesis::engine
