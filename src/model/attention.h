// Causal grouped-query attention over paged KV for the rows of one step.
//
// The keys of a row are cut at fixed positions, every 256 tokens, into splits. Each split gives a
// partial softmax (its maximum, its sum, its weighted values); partials are merged in rising order.
// Which rows share a tile, which thread takes which split and who merges therefore changes no bit.
// The seam for shared-prefix attention: rows of several sequences may share the splits of a common
// run of pages.
#pragma once

#include "kernel/kernels.h"
#include "model/activation_buffer.h"
#include "model/kv_pool.h"
#include "model/model_spec.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace genesis::model {

inline constexpr std::int32_t kSplitTokens = 256;

// Consecutive rows of one sequence in a step.
struct RowRun {
  std::int32_t first_row = 0;
  std::int32_t rows = 0;
  std::int32_t start = 0;  // position of the first row
  std::span<const std::int32_t> pages;
};

// Plans once per step, then runs once per layer. Not thread-safe but for run_item().
class Attention {
 public:
  Attention(const ModelSpec& spec, const kernel::Kernels& kernels, int threads);

  // Cuts the runs into tiles and items; the spans in `runs` must live until the step ends.
  void plan(std::span<const RowRun> runs, std::int32_t total_rows);

  int items() const { return static_cast<int>(items_.size()); }

  // Where the queries go: [kv head][row][query head of the group][head_dim].
  float* query(std::int32_t head, std::int32_t row);

  // Computes one item of a layer and stores finished heads into `out`. Items may run at once.
  void run_item(int item, int thread, std::int32_t layer, const KvPool& kv, ActivationBuffer& out);

 private:
  struct Tile {
    RowRun run;
    std::int32_t splits;
  };

  struct Item {
    std::int32_t tile;
    std::int32_t kv_head;
    std::int32_t split_begin;
    std::int32_t split_end;
    std::int32_t partial;  // first partial of the tile and head, or -1: the item does all splits
  };

  // Softmax state of a tile's queries, over one split or merged over several.
  struct Partial {
    std::vector<float> max;
    std::vector<float> sum;
    std::vector<float> values;  // [query][head_dim]
  };

  struct Scratch {
    std::vector<float> scores;  // [query][kSplitTokens]
    std::vector<float> page;    // keys or values of a page widened to float
    Partial part;
    Partial merged;
  };

  void add_tile(const RowRun& run, bool cut_splits);
  void size_partial(Partial& partial) const;
  void attend_split(const Tile& tile,
                    const Item& item,
                    std::int32_t split,
                    std::int32_t layer,
                    const KvPool& kv,
                    Scratch& scratch,
                    Partial& out);
  void weigh_values(const Tile& tile,
                    const Item& item,
                    std::int32_t split,
                    std::int32_t layer,
                    const KvPool& kv,
                    Scratch& scratch,
                    Partial& out) const;
  const void* widened(const void* block, bool half, std::int32_t queries, Scratch& scratch) const;
  void merge_into(Partial& acc, const Partial& part, std::int32_t queries) const;
  void finish(const Tile& tile, std::int32_t kv_head, Partial& merged, ActivationBuffer& out) const;

  const ModelSpec& spec_;
  const kernel::Kernels& kernels_;
  int threads_;
  std::int32_t group_;
  std::int32_t tile_rows_;
  float scale_;
  std::int32_t total_rows_ = 0;
  std::vector<float> queries_;
  std::vector<Tile> tiles_;
  std::vector<Item> items_;
  std::vector<Scratch> scratch_;   // per thread
  std::vector<Partial> partials_;  // of items that do one split each
  std::int32_t partials_used_ = 0;
  // Splits still missing, per first partial; whoever brings it to zero merges and resets it.
  std::unique_ptr<std::atomic<std::int32_t>[]> missing_;
  std::size_t missing_size_ = 0;
};

}  // namespace genesis::model
