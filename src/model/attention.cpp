// Attention by tiles of rows, KV heads and fixed splits: planning, merging, and what the formats
// of pages share.
#include "model/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace genesis::model {
namespace {

// Queries stacked in a tile: rows of 15 agents times a group of three share a page in one go.
constexpr std::int32_t kTileQueries = 48;
// Fewer whole-range items than this per thread: cut them at the splits, so that long contexts of
// few sequences still use all threads.
constexpr std::int32_t kItemsPerThread = 4;
constexpr std::size_t kMaxHeadDim = 1024;  // as check_spec() bounds it

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

Attention::Attention(const ModelSpec& spec,
                     const kernel::Kernels& kernels,
                     int threads,
                     KvFormat format)
    : spec_(spec),
      kernels_(kernels),
      threads_(threads),
      format_(format),
      group_(spec.group()),
      tile_rows_(std::max(1, kTileQueries / spec.group())),
      scale_(spec.attention_scale > 0.0F
                 ? spec.attention_scale
                 : static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.head_dim)))),
      scratch_(static_cast<std::size_t>(threads)) {
  const std::size_t queries = size(tile_rows_ * group_);
  for (Scratch& scratch : scratch_) {
    scratch.scores.resize(queries * kSplitTokens);
    if (format == KvFormat::kInt8) {
      scratch.weights.resize(queries * kSplitTokens);
      scratch.weight_scales.resize(queries);
      scratch.sums.resize(queries * size(spec.head_dim));
      scratch.value_scales.resize(kSplitPages);
      scratch.values.resize(kSplitPages);
    } else {
      scratch.page.resize(size(kPageTokens * spec.head_dim));
    }
    size_partial(scratch.part);
    size_partial(scratch.merged);
  }
}

void Attention::size_partial(Partial& partial) const {
  const std::size_t queries = size(tile_rows_ * group_);
  partial.max.resize(queries);
  partial.sum.resize(queries);
  partial.values.resize(queries * size(spec_.head_dim));
}

void Attention::plan(std::span<const RowRun> runs, std::int32_t total_rows) {
  total_rows_ = total_rows;
  const std::size_t heads = size(total_rows) * size(spec_.heads);
  if (format_ == KvFormat::kInt8) {
    codes_.resize(heads * size(spec_.head_dim));
    query_scales_.resize(heads);
  } else {
    queries_.resize(heads * size(spec_.head_dim));
  }
  items_.clear();
  partials_used_ = 0;
  plan_.build(runs, total_rows, tile_rows_);
  const auto tiles = static_cast<std::int32_t>(plan_.tiles().size());
  const bool cut_splits = threads_ > 1 && tiles * spec_.kv_heads < kItemsPerThread * threads_;
  for (std::int32_t tile = 0; tile < tiles; ++tile) {
    add_items(tile, cut_splits);
  }
  while (std::ssize(partials_) < partials_used_) {
    size_partial(partials_.emplace_back());
  }
  if (missing_size_ < size(partials_used_)) {
    missing_size_ = size(partials_used_);
    missing_ = std::make_unique<std::atomic<std::int32_t>[]>(missing_size_);
  }
  for (const Item& item : items_) {
    if (item.partial >= 0) {
      missing_[size(item.partial)].store(plan_.tiles()[size(item.tile)].splits,
                                         std::memory_order_relaxed);
    }
  }
}

void Attention::add_items(std::int32_t tile, bool cut_splits) {
  const std::int32_t splits = plan_.tiles()[size(tile)].splits;
  for (std::int32_t head = 0; head < spec_.kv_heads; ++head) {
    if (!cut_splits || splits == 1) {
      items_.push_back({tile, head, 0, splits, -1});
      continue;
    }
    for (std::int32_t split = 0; split < splits; ++split) {
      items_.push_back({tile, head, split, split + 1, partials_used_});
    }
    partials_used_ += splits;
  }
}

std::size_t Attention::query_index(std::int32_t kv_head, std::int32_t slot) const {
  return (size(kv_head) * size(total_rows_) + size(slot)) * size(group_);
}

void Attention::set_query(std::int32_t head, std::int32_t row, const float* query) {
  const std::size_t dims = size(spec_.head_dim);
  const std::size_t at = query_index(head / group_, plan_.slot_of(row)) + size(head % group_);
  if (format_ != KvFormat::kInt8) {
    std::memcpy(queries_.data() + at * dims, query, dims * sizeof(float));
    return;
  }
  std::array<float, kMaxHeadDim> spread;
  std::memcpy(spread.data(), query, dims * sizeof(float));
  const std::int32_t block = spread_block(spec_.head_dim);
  kernels_.attention.spread(spread.data(), spec_.head_dim, block);
  const float scale = kernels_.attention.encode_query(spread.data(),
                                                      spec_.head_dim,
                                                      kernel::query_limit(spec_.head_dim),
                                                      codes_.data() + at * dims);
  // Spreading both sides has multiplied their product by `block`, a power of two.
  query_scales_[at] = scale * (scale_ / static_cast<float>(block));
}

void Attention::run_item(
    int index, int thread, std::int32_t layer, const KvPool& kv, ActivationBuffer& out) {
  const Item& item = items_[size(index)];
  const Tile& tile = plan_.tiles()[size(item.tile)];
  const std::int32_t queries = tile.rows * group_;
  Scratch& scratch = scratch_[size(thread)];
  const std::int32_t window = spec_.window_of(layer);
  const std::int32_t first_seen = first_split(tile, window);
  const auto piece = [&](std::int32_t split) {
    return Piece{tile, split, layer, item.kv_head, window, kv};
  };
  if (item.partial < 0) {
    attend(piece(first_seen), scratch, scratch.merged);
    for (std::int32_t split = first_seen + 1; split < item.split_end; ++split) {
      attend(piece(split), scratch, scratch.part);
      merge_into(scratch.merged, scratch.part, queries);
    }
    finish(tile, item.kv_head, scratch.merged, out);
    return;
  }
  if (item.split_begin >= first_seen) {
    attend(piece(item.split_begin), scratch, partials_[size(item.partial + item.split_begin)]);
  }
  std::atomic<std::int32_t>& missing = missing_[size(item.partial)];
  if (missing.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  missing.store(tile.splits, std::memory_order_relaxed);  // ready for the next layer
  Partial& first = partials_[size(item.partial + first_seen)];
  for (std::int32_t split = first_seen + 1; split < tile.splits; ++split) {
    merge_into(first, partials_[size(item.partial + split)], queries);
  }
  finish(tile, item.kv_head, first, out);
}

// Rows that see nothing of the split keep max = -infinity, sum = 0.
void Attention::attend(const Piece& piece, Scratch& scratch, Partial& out) const {
  std::fill_n(out.max.begin(), piece.tile.rows * group_, -INFINITY);
  std::fill_n(out.sum.begin(), piece.tile.rows * group_, 0.0F);
  if (format_ == KvFormat::kInt8) {
    score_int8(piece, scratch);
    weigh_int8(piece, scratch, out);
    gather_int8(piece, scratch, out);
  } else {
    score_float(piece, scratch);
    weigh_float(piece, scratch, out);
    gather_float(piece, scratch, out);
  }
}

Attention::Seen Attention::seen(const Piece& piece, std::int32_t row) const {
  const std::int32_t end =
      plan_.rows(piece.tile)[size(row)].position + 1 - piece.split * kSplitTokens;
  const std::int32_t begin = piece.window > 0 ? std::max(0, end - piece.window) : 0;
  return {begin, std::min(kSplitTokens, end), begin / kPageTokens * kPageTokens};
}

// The first split that a row of the tile sees in a layer.
std::int32_t Attention::first_split(const Tile& tile, std::int32_t window) const {
  if (window == 0) {
    return 0;
  }
  std::int32_t position = std::numeric_limits<std::int32_t>::max();
  for (const AttentionPlan::Row& row : plan_.rows(tile)) {
    position = std::min(position, row.position);
  }
  return std::max(0, position + 1 - window) / kSplitTokens;
}

// The block without the pages before what its rows see.
Attention::Block Attention::visible_part(const Piece& piece, Block block) const {
  if (piece.window == 0) {
    return block;
  }
  std::int32_t first = kSplitTokens;
  for (std::int32_t row = block.row_begin; row < block.row_end; ++row) {
    first = std::min(first, seen(piece, row).page);
  }
  block.slot_begin = std::min(std::max(block.slot_begin, first / kPageTokens), block.slot_end);
  return block;
}

// Prepares the scores of a query for its softmax, from the page on that it starts in: soft-capped,
// and -infinity before the window.
void Attention::cap_and_hide(const Seen& seen, float scale, float* scores) const {
  if (spec_.attention_softcap > 0.0F) {
    kernels_.softcap(scores + seen.page, seen.end - seen.page, scale, spec_.attention_softcap);
  }
  std::fill(scores + seen.page, scores + seen.begin, -INFINITY);
}

void Attention::merge_into(Partial& acc, const Partial& part, std::int32_t queries) const {
  for (std::size_t q = 0; q < size(queries); ++q) {
    if (part.sum[q] == 0.0F && part.max[q] == -INFINITY) {
      continue;  // the split lies beyond this row
    }
    if (acc.sum[q] == 0.0F && acc.max[q] == -INFINITY) {  // before its window
      acc.max[q] = part.max[q];
      acc.sum[q] = part.sum[q];
      std::copy_n(part.values.data() + q * size(spec_.head_dim),
                  size(spec_.head_dim),
                  acc.values.data() + q * size(spec_.head_dim));
      continue;
    }
    const float factors[8] = {acc.max[q] - std::max(acc.max[q], part.max[q]),
                              part.max[q] - std::max(acc.max[q], part.max[q])};
    float exps[8];
    kernels_.exp(factors, 8, exps);
    acc.max[q] = std::max(acc.max[q], part.max[q]);
    acc.sum[q] = std::fma(acc.sum[q], exps[0], part.sum[q] * exps[1]);
    kernels_.merge(acc.values.data() + q * size(spec_.head_dim),
                   exps[0],
                   part.values.data() + q * size(spec_.head_dim),
                   exps[1],
                   spec_.head_dim);
  }
}

void Attention::finish(const Tile& tile,
                       std::int32_t kv_head,
                       Partial& merged,
                       ActivationBuffer& out) const {
  const std::span<const AttentionPlan::Row> rows = plan_.rows(tile);
  for (std::int32_t row = 0; row < tile.rows; ++row) {
    for (std::int32_t g = 0; g < group_; ++g) {
      const std::size_t q = size(row * group_ + g);
      float* values = merged.values.data() + q * size(spec_.head_dim);
      kernels_.scale(values, 1.0F / merged.sum[q], spec_.head_dim);
      const std::int32_t head = kv_head * group_ + g;
      out.store(kernels_, rows[size(row)].row, head * spec_.head_dim, values, spec_.head_dim);
    }
  }
}

}  // namespace genesis::model
