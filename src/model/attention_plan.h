// Which query rows of a step attend together and which pages they read: numbers only, made once a
// step and the same for every layer and head.
//
// Rows are put into tiles of a bounded number. Within a tile and a split of 256 tokens, rows whose
// page is the same one form a block with it: its keys and values are read once for all of them.
// That is so for the rows of a prompt, and for rows of sequences that share a prefix: sequences are
// ordered by their pages, so that those with a common beginning meet in a tile.
#pragma once

#include "model/kv_pool.h"

#include <cstdint>
#include <span>
#include <vector>

namespace genesis::model {

inline constexpr std::int32_t kSplitTokens = 256;
inline constexpr std::int32_t kSplitPages = kSplitTokens / kPageTokens;

// Consecutive rows of one sequence in a step.
struct RowRun {
  std::int32_t first_row = 0;
  std::int32_t rows = 0;
  std::int32_t start = 0;  // position of the first row
  std::span<const std::int32_t> pages;
};

// Not thread-safe while build() runs.
class AttentionPlan {
 public:
  struct Row {
    std::int32_t row;       // in the step
    std::int32_t position;  // of its token: it sees this one and all before
    const std::int32_t* pages;
  };

  // Rows [row_begin, row_end) of a tile read the same pages in slots [slot_begin, slot_end) of a
  // split: the pages that `pages` of row_begin names.
  struct Block {
    std::int32_t row_begin;
    std::int32_t row_end;
    std::int32_t slot_begin;
    std::int32_t slot_end;
  };

  struct Tile {
    std::int32_t first_slot;  // of its rows in rows()
    std::int32_t rows;
    std::int32_t splits;       // up to its last row's position
    std::int32_t first_split;  // in split_blocks_
  };

  // The spans in `runs` must live until the step ends. Tiles get at most `tile_rows` rows.
  void build(std::span<const RowRun> runs, std::int32_t total_rows, std::int32_t tile_rows);

  std::span<const Tile> tiles() const { return tiles_; }

  std::span<const Row> rows(const Tile& tile) const {
    return std::span(rows_).subspan(static_cast<std::size_t>(tile.first_slot),
                                    static_cast<std::size_t>(tile.rows));
  }

  // In an order in which each row meets its pages rising.
  std::span<const Block> blocks(const Tile& tile, std::int32_t split) const {
    const auto at = static_cast<std::size_t>(tile.first_split + split);
    return std::span(blocks_).subspan(block_begin_[at], block_begin_[at + 1] - block_begin_[at]);
  }

  // Where a row of the step stands in the order of tiles.
  std::int32_t slot_of(std::int32_t row) const { return slots_[static_cast<std::size_t>(row)]; }

 private:
  void sort_runs(std::span<const RowRun> runs);
  void add_rows(const RowRun& run, bool shares, std::int32_t tile_rows);
  void add_blocks(const Tile& tile, std::int32_t split);

  std::vector<std::int32_t> order_;
  std::vector<Row> rows_;
  std::vector<std::int32_t> slots_;
  std::vector<Tile> tiles_;
  std::vector<Block> blocks_;
  std::vector<std::size_t> block_begin_;  // per tile and split, and the end
};

}  // namespace genesis::model
