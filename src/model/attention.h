// Causal grouped-query attention over paged KV for the rows of one step.
//
// The keys of a row are cut at fixed positions, every 256 tokens, into splits. Each split gives a
// partial softmax (its maximum, its sum, its weighted values); partials are merged in rising order.
// Which rows share a tile or a page, which thread takes which split and who merges therefore
// changes no bit.
//
// In a layer with a sliding window, pages and splits that no row of a tile sees are left out; to
// rows that see less than their neighbours the rest has weight zero, which changes no bit either.
#pragma once

#include "kernel/kernels.h"
#include "model/activation_buffer.h"
#include "model/attention_plan.h"
#include "model/kv_pool.h"
#include "model/model_spec.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace genesis::model {

// Plans once per step, then runs once per layer. Not thread-safe but for set_query() of different
// queries and run_item() of different items.
class Attention {
 public:
  Attention(const ModelSpec& spec, const kernel::Kernels& kernels, int threads, KvFormat format);

  // Cuts the runs into tiles and items; the spans in `runs` must live until the step ends.
  void plan(std::span<const RowRun> runs, std::int32_t total_rows);

  int items() const { return static_cast<int>(items_.size()); }

  // Takes the query of a head, head_dim floats.
  void set_query(std::int32_t head, std::int32_t row, const float* query);

  // Computes one item of a layer and stores finished heads into `out`. Items may run at once.
  void run_item(int item, int thread, std::int32_t layer, const KvPool& kv, ActivationBuffer& out);

 private:
  using Tile = AttentionPlan::Tile;
  using Block = AttentionPlan::Block;

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
    std::vector<float> scores;          // [query][kSplitTokens]
    std::vector<float> page;            // keys or values of a page widened to float
    std::vector<std::int16_t> weights;  // [query][kSplitTokens]
    std::vector<float> weight_scales;   // per query
    std::vector<std::int32_t> sums;     // [query][head_dim]
    std::vector<const float*> value_scales;
    std::vector<const std::int8_t*> values;
    Partial part;
    Partial merged;
  };

  // One split of a tile and head in a layer.
  struct Piece {
    const Tile& tile;
    std::int32_t split;
    std::int32_t layer;
    std::int32_t kv_head;
    std::int32_t window;  // of the layer; 0 = none
    const KvPool& kv;
  };

  void add_items(std::int32_t tile, bool cut_splits);
  void size_partial(Partial& partial) const;
  void attend(const Piece& piece, Scratch& scratch, Partial& out) const;
  void score_int8(const Piece& piece, Scratch& scratch) const;
  void weigh_int8(const Piece& piece, Scratch& scratch, Partial& out) const;
  void gather_int8(const Piece& piece, Scratch& scratch, Partial& out) const;
  void score_float(const Piece& piece, Scratch& scratch) const;
  void weigh_float(const Piece& piece, Scratch& scratch, Partial& out) const;
  void gather_float(const Piece& piece, Scratch& scratch, Partial& out) const;
  void mix_values(const Piece& piece,
                  const Block& block,
                  std::int32_t slot,
                  Scratch& scratch,
                  Partial& out) const;
  const void* widened(const void* block, std::int32_t queries, Scratch& scratch) const;
  void merge_into(Partial& acc, const Partial& part, std::int32_t queries) const;
  void finish(const Tile& tile, std::int32_t kv_head, Partial& merged, ActivationBuffer& out) const;

  // Tokens [begin, end) of a split that a row sees, and `page`, the multiple of 32 at or before
  // begin; begin >= end: none.
  struct Seen {
    std::int32_t begin;
    std::int32_t end;
    std::int32_t page;
  };

  Seen seen(const Piece& piece, std::int32_t row) const;
  void cap_and_hide(const Seen& seen, float scale, float* scores) const;
  Block visible_part(const Piece& piece, Block block) const;
  std::int32_t first_split(const Tile& tile, std::int32_t window) const;
  std::size_t query_index(std::int32_t kv_head, std::int32_t slot) const;

  const ModelSpec& spec_;
  const kernel::Kernels& kernels_;
  int threads_;
  KvFormat format_;
  std::int32_t group_;
  std::int32_t tile_rows_;
  float scale_;
  std::int32_t total_rows_ = 0;
  AttentionPlan plan_;
  // [kv head][row in the order of tiles][query head of the group], head_dim each
  std::vector<float> queries_;       // kHalf, kFloat
  std::vector<std::int16_t> codes_;  // kInt8
  std::vector<float> query_scales_;  // kInt8: with the softmax scale in it
  std::vector<Item> items_;
  std::vector<Scratch> scratch_;   // per thread
  std::vector<Partial> partials_;  // of items that do one split each
  std::int32_t partials_used_ = 0;
  // Splits still missing, per first partial; whoever brings it to zero merges and resets it.
  std::unique_ptr<std::atomic<std::int32_t>[]> missing_;
  std::size_t missing_size_ = 0;
};

}  // namespace genesis::model
