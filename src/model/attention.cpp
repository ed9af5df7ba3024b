// Attention by tiles of rows, KV heads and fixed splits.
#include "model/attention.h"

#include <algorithm>
#include <cmath>

namespace genesis::model {
namespace {

// Queries stacked in a tile: four blocks of six rows, what the float product kernel likes best.
constexpr std::int32_t kTileQueries = 24;
// From here on converting a page to float once is cheaper than in every block of rows.
constexpr std::int32_t kWidenFrom = 6;
// Fewer whole-range items than this per thread: cut them at the splits, so that long contexts of
// few sequences still use all threads.
constexpr std::int32_t kItemsPerThread = 4;

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

Attention::Attention(const ModelSpec& spec, const kernel::Kernels& kernels, int threads)
    : spec_(spec),
      kernels_(kernels),
      threads_(threads),
      group_(spec.group()),
      tile_rows_(std::max(1, kTileQueries / spec.group())),
      scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.head_dim)))),
      scratch_(static_cast<std::size_t>(threads)) {
  for (Scratch& scratch : scratch_) {
    scratch.scores.resize(size(tile_rows_ * group_) * kSplitTokens);
    scratch.page.resize(size(kPageTokens * spec.head_dim));
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
  queries_.resize(size(total_rows) * size(spec_.query_size()));
  tiles_.clear();
  items_.clear();
  partials_used_ = 0;
  std::int32_t tiles = 0;
  for (const RowRun& run : runs) {
    tiles += (run.rows + tile_rows_ - 1) / tile_rows_;
  }
  const bool cut_splits = threads_ > 1 && tiles * spec_.kv_heads < kItemsPerThread * threads_;
  for (const RowRun& run : runs) {
    for (std::int32_t row = 0; row < run.rows; row += tile_rows_) {
      add_tile(
          {run.first_row + row, std::min(tile_rows_, run.rows - row), run.start + row, run.pages},
          cut_splits);
    }
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
      missing_[size(item.partial)].store(tiles_[size(item.tile)].splits, std::memory_order_relaxed);
    }
  }
}

void Attention::add_tile(const RowRun& run, bool cut_splits) {
  const std::int32_t tokens = run.start + run.rows;
  const std::int32_t splits = (tokens + kSplitTokens - 1) / kSplitTokens;
  const auto tile = static_cast<std::int32_t>(tiles_.size());
  tiles_.push_back({run, splits});
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

float* Attention::query(std::int32_t head, std::int32_t row) {
  const std::size_t at =
      (size(head / group_) * size(total_rows_) + size(row)) * size(group_) + size(head % group_);
  return queries_.data() + at * size(spec_.head_dim);
}

void Attention::run_item(
    int index, int thread, std::int32_t layer, const KvPool& kv, ActivationBuffer& out) {
  const Item& item = items_[size(index)];
  const Tile& tile = tiles_[size(item.tile)];
  const std::int32_t queries = tile.run.rows * group_;
  Scratch& scratch = scratch_[size(thread)];
  if (item.partial < 0) {
    attend_split(tile, item, 0, layer, kv, scratch, scratch.merged);
    for (std::int32_t split = 1; split < item.split_end; ++split) {
      attend_split(tile, item, split, layer, kv, scratch, scratch.part);
      merge_into(scratch.merged, scratch.part, queries);
    }
    finish(tile, item.kv_head, scratch.merged, out);
    return;
  }
  attend_split(tile,
               item,
               item.split_begin,
               layer,
               kv,
               scratch,
               partials_[size(item.partial + item.split_begin)]);
  std::atomic<std::int32_t>& missing = missing_[size(item.partial)];
  if (missing.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  missing.store(tile.splits, std::memory_order_relaxed);  // ready for the next layer
  Partial& first = partials_[size(item.partial)];
  for (std::int32_t split = 1; split < tile.splits; ++split) {
    merge_into(first, partials_[size(item.partial + split)], queries);
  }
  finish(tile, item.kv_head, first, out);
}

const void* Attention::widened(const void* block,
                               bool half,
                               std::int32_t queries,
                               Scratch& scratch) const {
  if (!half || queries < kWidenFrom) {
    return block;
  }
  kernels_.widen(
      static_cast<const std::uint16_t*>(block), kPageTokens * spec_.head_dim, scratch.page.data());
  return scratch.page.data();
}

// Rows whose keys do not reach into the split keep max = -infinity, sum = 0: merging them is exact.
void Attention::attend_split(const Tile& tile,
                             const Item& item,
                             std::int32_t split,
                             std::int32_t layer,
                             const KvPool& kv,
                             Scratch& scratch,
                             Partial& out) {
  const std::int32_t begin = split * kSplitTokens;
  const std::int32_t end = std::min(begin + kSplitTokens, tile.run.start + tile.run.rows);
  const std::int32_t queries = tile.run.rows * group_;
  kernel::MixCall call;
  call.a = query(item.kv_head * group_, tile.run.first_row);
  call.a_stride = size(spec_.head_dim);
  call.b_stride = kPageTokens;
  call.c_stride = kSplitTokens;
  call.rows = queries;
  call.depth = spec_.head_dim;
  call.columns = kPageTokens;
  for (std::int32_t at = begin; at < end; at += kPageTokens) {
    const void* keys = kv.keys(tile.run.pages[size(at / kPageTokens)], layer, item.kv_head);
    call.b = widened(keys, kv.half(), queries, scratch);
    call.b_is_half = kv.half() && call.b == keys;
    call.c = scratch.scores.data() + (at - begin);
    kernels_.mix(call);
  }
  for (std::int32_t q = 0; q < queries; ++q) {
    const std::int32_t limit = tile.run.start + q / group_ + 1;
    const std::int32_t count = std::min(end, limit) - begin;
    kernel::SoftmaxPart part{-INFINITY, 0.0F};
    if (count > 0) {
      part = kernels_.softmax(scratch.scores.data() + size(q) * kSplitTokens, count, scale_);
    }
    out.max[size(q)] = part.max;
    out.sum[size(q)] = part.sum;
  }
  weigh_values(tile, item, split, layer, kv, scratch, out);
}

void Attention::weigh_values(const Tile& tile,
                             const Item& item,
                             std::int32_t split,
                             std::int32_t layer,
                             const KvPool& kv,
                             Scratch& scratch,
                             Partial& out) const {
  const std::int32_t begin = split * kSplitTokens;
  const std::int32_t end = std::min(begin + kSplitTokens, tile.run.start + tile.run.rows);
  kernel::MixCall call;
  call.a_stride = kSplitTokens;
  call.b_stride = size(spec_.head_dim);
  call.c_stride = size(spec_.head_dim);
  call.columns = spec_.head_dim;
  for (std::int32_t at = begin; at < end; at += kPageTokens) {
    const void* values = kv.values(tile.run.pages[size(at / kPageTokens)], layer, item.kv_head);
    call.b = widened(values, kv.half(), tile.run.rows * group_, scratch);
    call.b_is_half = kv.half() && call.b == values;
    call.keep = at != begin;
    const auto mix_rows = [&](std::int32_t row, std::int32_t rows, std::int32_t depth) {
      const std::size_t q = size(row * group_);
      call.a = scratch.scores.data() + q * kSplitTokens + size(at - begin);
      call.c = out.values.data() + q * size(spec_.head_dim);
      call.rows = rows * group_;
      call.depth = depth;
      kernels_.mix(call);
    };
    // Rows that see the whole page go together; the few on the diagonal one by one, so that slots
    // beyond a row, which may hold anything, are never touched.
    const std::int32_t whole = std::clamp(at + kPageTokens - 1 - tile.run.start, 0, tile.run.rows);
    for (std::int32_t row = 0; row < whole; ++row) {
      if (const std::int32_t depth = tile.run.start + row + 1 - at; depth > 0) {
        mix_rows(row, 1, depth);
      }
    }
    if (whole < tile.run.rows) {
      mix_rows(whole, tile.run.rows - whole, kPageTokens);
    }
  }
}

void Attention::merge_into(Partial& acc, const Partial& part, std::int32_t queries) const {
  for (std::size_t q = 0; q < size(queries); ++q) {
    if (part.sum[q] == 0.0F && part.max[q] == -INFINITY) {
      continue;  // the split lies beyond this row
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
  for (std::int32_t row = 0; row < tile.run.rows; ++row) {
    for (std::int32_t g = 0; g < group_; ++g) {
      const std::size_t q = size(row * group_ + g);
      float* values = merged.values.data() + q * size(spec_.head_dim);
      kernels_.scale(values, 1.0F / merged.sum[q], spec_.head_dim);
      const std::int32_t head = kv_head * group_ + g;
      out.store(kernels_, tile.run.first_row + row, head * spec_.head_dim, values, spec_.head_dim);
    }
  }
}

}  // namespace genesis::model
