// Plans of attention: every row meets each of its pages once, in rising order, and pages that rows
// have in common are met together.
#include "model/attention_plan.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace genesis::model {
namespace {

std::vector<std::int32_t> pages_from(std::int32_t first, std::int32_t count) {
  std::vector<std::int32_t> pages;
  for (std::int32_t i = 0; i < count; ++i) {
    pages.push_back(first + i);
  }
  return pages;
}

std::vector<std::int32_t> joined(std::vector<std::int32_t> a, const std::vector<std::int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Checks what must hold for any batch, and counts how often pages are read.
std::int32_t checked_page_reads(const AttentionPlan& plan, std::span<const RowRun> runs) {
  std::map<std::int32_t, std::vector<std::int32_t>> met;  // by row of the step
  std::int32_t reads = 0;
  for (const AttentionPlan::Tile& tile : plan.tiles()) {
    const auto rows = plan.rows(tile);
    for (std::int32_t split = 0; split < tile.splits; ++split) {
      for (const AttentionPlan::Block& block : plan.blocks(tile, split)) {
        EXPECT_LT(block.row_begin, block.row_end);
        EXPECT_LT(block.slot_begin, block.slot_end);
        EXPECT_LE(block.row_end, tile.rows);
        reads += block.slot_end - block.slot_begin;
        for (std::int32_t row = block.row_begin; row < block.row_end; ++row) {
          for (std::int32_t slot = block.slot_begin; slot < block.slot_end; ++slot) {
            const std::int32_t at = split * kSplitPages + slot;
            met[rows[static_cast<std::size_t>(row)].row].push_back(
                rows[static_cast<std::size_t>(block.row_begin)].pages[at]);
          }
        }
      }
    }
  }
  for (const RowRun& run : runs) {
    for (std::int32_t i = 0; i < run.rows; ++i) {
      const auto count = static_cast<std::size_t>((run.start + i) / kPageTokens + 1);
      const std::vector<std::int32_t> own(run.pages.begin(),
                                          run.pages.begin() + static_cast<std::ptrdiff_t>(count));
      EXPECT_EQ(met[run.first_row + i], own) << "row " << run.first_row + i;
    }
  }
  return reads;
}

TEST(AttentionPlan, AgentsWithOneSystemPromptReadItOnce) {
  std::vector<std::vector<std::int32_t>> pages;
  std::vector<RowRun> runs;
  for (std::int32_t i = 0; i < 15; ++i) {
    // 46 common pages end within the sixth split; then one to fifteen of their own.
    pages.push_back(joined(pages_from(0, 46), pages_from(100 + 20 * i, 1 + i)));
  }
  for (std::int32_t i = 0; i < 15; ++i) {
    const auto& own = pages[static_cast<std::size_t>(i)];
    runs.push_back({i, 1, static_cast<std::int32_t>(own.size()) * kPageTokens - 5, own});
  }
  AttentionPlan plan;
  plan.build(runs, 15, 16);
  ASSERT_EQ(plan.tiles().size(), 1U);
  EXPECT_EQ(checked_page_reads(plan, runs), 46 + 15 * 16 / 2);
}

TEST(AttentionPlan, StrangersGetTilesOfTheirOwn) {
  const auto a = pages_from(0, 9);
  const auto b = pages_from(50, 9);
  const auto c = joined(pages_from(0, 3), pages_from(90, 6));  // three pages: not worth it
  const std::vector<RowRun> runs{{0, 1, 280, b}, {1, 1, 270, a}, {2, 1, 260, c}};
  AttentionPlan plan;
  plan.build(runs, 3, 16);
  EXPECT_EQ(plan.tiles().size(), 3U);
  EXPECT_EQ(checked_page_reads(plan, runs), 27);
}

TEST(AttentionPlan, GroupsStayApartAndPromptsJoinDecodingRows) {
  const auto first = pages_from(0, 10);
  const auto second = pages_from(500, 10);
  std::vector<std::vector<std::int32_t>> pages;
  for (std::int32_t i = 0; i < 6; ++i) {
    pages.push_back(joined(i % 2 == 0 ? first : second, pages_from(1000 + 10 * i, 4)));
  }
  std::vector<RowRun> runs;
  std::int32_t rows = 0;
  for (std::int32_t i = 0; i < 6; ++i) {
    const std::int32_t count = i == 3 ? 40 : 1;  // one is in its prompt
    runs.push_back({rows, count, 330 + i, pages[static_cast<std::size_t>(i)]});
    rows += count;
  }
  AttentionPlan plan;
  plan.build(runs, rows, 16);
  checked_page_reads(plan, runs);
  // Three rows of the first group; of the second, 42 rows in tiles of at most 16.
  ASSERT_EQ(plan.tiles().size(), 4U);
  EXPECT_EQ(plan.tiles()[0].rows, 3);
  EXPECT_EQ(plan.tiles()[1].rows, 16);
  EXPECT_EQ(plan.tiles()[3].rows, 10);
}

TEST(AttentionPlan, AnyBatchIsCovered) {
  constexpr std::uint64_t kSeed = 5;
  Random random(kSeed);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::vector<std::int32_t>> pages;
    std::vector<RowRun> runs;
    std::int32_t rows = 0;
    const auto count = 1 + random.below(12);
    for (std::uint64_t i = 0; i < count; ++i) {
      // Pages drawn from few: also repeats and orders that no scheduler makes.
      std::vector<std::int32_t> own = pages_from(0, static_cast<std::int32_t>(random.below(20)));
      while (own.size() < 24) {
        own.push_back(static_cast<std::int32_t>(random.below(6)));
      }
      pages.push_back(std::move(own));
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto length = static_cast<std::int32_t>(1 + random.below(70));
      const auto start = static_cast<std::int32_t>(
          random.below(24 * kPageTokens - static_cast<std::uint64_t>(length)));
      runs.push_back({rows, length, start, pages[i]});
      rows += length;
    }
    AttentionPlan plan;
    plan.build(runs, rows, static_cast<std::int32_t>(1 + random.below(20)));
    checked_page_reads(plan, runs);
    for (std::int32_t row = 0; row < rows; ++row) {
      ASSERT_LT(plan.slot_of(row), rows);
    }
    ASSERT_FALSE(testing::Test::HasFailure()) << "round " << round << " of seed " << kSeed;
  }
}

}  // namespace
}  // namespace genesis::model
