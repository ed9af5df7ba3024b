// Tiles of rows and the blocks of pages they share.
#include "model/attention_plan.h"

#include <algorithm>
#include <numeric>

namespace genesis::model {
namespace {

// Sequences with fewer pages in common go into tiles of their own: reading so little once more
// costs less than what threads lose when there are fewer tiles to take.
constexpr std::int32_t kSharedPages = 4;

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

// The pages that a run's rows read.
std::span<const std::int32_t> read_pages(const RowRun& run) {
  return run.pages.first(size((run.start + run.rows + kPageTokens - 1) / kPageTokens));
}

std::int32_t common_pages(const RowRun& a, const RowRun& b) {
  const auto left = read_pages(a);
  const auto right = read_pages(b);
  const auto [end, ignored] = std::ranges::mismatch(left, right);
  return static_cast<std::int32_t>(end - left.begin());
}

// The page a row reads at a slot of a split, or -1 when it ends before.
std::int32_t page_at(const AttentionPlan::Row& row, std::int32_t split, std::int32_t slot) {
  const std::int32_t page = split * kSplitPages + slot;
  return page * kPageTokens > row.position ? -1 : row.pages[page];
}

}  // namespace

void AttentionPlan::build(std::span<const RowRun> runs,
                          std::int32_t total_rows,
                          std::int32_t tile_rows) {
  rows_.clear();
  tiles_.clear();
  blocks_.clear();
  block_begin_.clear();
  slots_.resize(size(total_rows));
  sort_runs(runs);
  const RowRun* last = nullptr;
  for (const std::int32_t index : order_) {
    const RowRun& run = runs[size(index)];
    add_rows(run, last != nullptr && common_pages(*last, run) >= kSharedPages, tile_rows);
    last = &run;
  }
  std::int32_t splits = 0;
  for (Tile& tile : tiles_) {
    std::int32_t position = 0;
    for (const Row& row : rows(tile)) {
      position = std::max(position, row.position);
    }
    tile.splits = position / kSplitTokens + 1;
    tile.first_split = splits;
    splits += tile.splits;
    for (std::int32_t split = 0; split < tile.splits; ++split) {
      block_begin_.push_back(blocks_.size());
      add_blocks(tile, split);
    }
  }
  block_begin_.push_back(blocks_.size());
}

void AttentionPlan::sort_runs(std::span<const RowRun> runs) {
  order_.resize(runs.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::ranges::sort(order_, [&](std::int32_t a, std::int32_t b) {
    const auto left = read_pages(runs[size(a)]);
    const auto right = read_pages(runs[size(b)]);
    const auto order = std::lexicographical_compare_three_way(
        left.begin(), left.end(), right.begin(), right.end());
    return order == 0 ? a < b : order < 0;
  });
}

void AttentionPlan::add_rows(const RowRun& run, bool shares, std::int32_t tile_rows) {
  for (std::int32_t i = 0; i < run.rows; ++i) {
    const bool joins = i > 0 || shares;
    if (!joins || tiles_.empty() || tiles_.back().rows == tile_rows) {
      tiles_.push_back({static_cast<std::int32_t>(rows_.size()), 0, 0, 0});
    }
    ++tiles_.back().rows;
    slots_[size(run.first_row + i)] = static_cast<std::int32_t>(rows_.size());
    rows_.push_back({run.first_row + i, run.start + i, run.pages.data()});
  }
}

void AttentionPlan::add_blocks(const Tile& tile, std::int32_t split) {
  const std::span<const Row> members = rows(tile);
  const std::size_t first_block = blocks_.size();
  for (std::int32_t slot = 0; slot < kSplitPages; ++slot) {
    for (std::int32_t begin = 0; begin < tile.rows;) {
      const std::int32_t page = page_at(members[size(begin)], split, slot);
      std::int32_t end = begin + 1;
      while (end < tile.rows && page_at(members[size(end)], split, slot) == page) {
        ++end;
      }
      if (page >= 0) {
        // The same rows go on together: one block with more pages.
        const auto same =
            std::find_if(blocks_.begin() + static_cast<std::ptrdiff_t>(first_block),
                         blocks_.end(),
                         [&](const Block& b) {
                           return b.row_begin == begin && b.row_end == end && b.slot_end == slot;
                         });
        if (same != blocks_.end()) {
          ++same->slot_end;
        } else {
          blocks_.push_back({begin, end, slot, slot + 1});
        }
      }
      begin = end;
    }
  }
}

}  // namespace genesis::model
