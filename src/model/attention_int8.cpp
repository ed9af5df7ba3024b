// Attention's split over int8 pages: scores and weighted values as integer products.
#include "model/attention.h"

#include <algorithm>

namespace genesis::model {
namespace {

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

void Attention::score_int8(const Piece& piece, Scratch& scratch) const {
  const std::size_t first = query_index(piece.kv_head, piece.tile.first_slot);
  for (const Block& block : plan_.blocks(piece.tile, piece.split)) {
    const std::int32_t* pages = plan_.rows(piece.tile)[size(block.row_begin)].pages;
    const std::size_t q = size(block.row_begin * group_);
    kernel::ScoreCall call;
    call.queries = codes_.data() + (first + q) * size(spec_.head_dim);
    call.query_scales = query_scales_.data() + first + q;
    call.rows = (block.row_end - block.row_begin) * group_;
    call.dims = spec_.head_dim;
    call.out_stride = kSplitTokens;
    for (std::int32_t slot = block.slot_begin; slot < block.slot_end; ++slot) {
      const std::int32_t page = pages[piece.split * kSplitPages + slot];
      call.keys = static_cast<const std::int8_t*>(piece.kv.keys(page, piece.layer, piece.kv_head));
      call.key_scales = piece.kv.key_scales(page, piece.layer, piece.kv_head);
      call.out = scratch.scores.data() + q * kSplitTokens + size(slot * kPageTokens);
      kernels_.attention.score(call);
    }
  }
}

void Attention::weigh_int8(const Piece& piece, Scratch& scratch, Partial& out) const {
  for (std::int32_t row = 0; row < piece.tile.rows; ++row) {
    const std::int32_t count = visible(piece, row);
    if (count <= 0) {
      continue;
    }
    const std::int32_t* pages =
        plan_.rows(piece.tile)[size(row)].pages + std::ptrdiff_t{piece.split} * kSplitPages;
    for (std::int32_t slot = 0; slot * kPageTokens < count; ++slot) {
      scratch.value_scales[size(slot)] =
          piece.kv.value_scales(pages[slot], piece.layer, piece.kv_head);
    }
    for (std::int32_t g = 0; g < group_; ++g) {
      const std::size_t q = size(row * group_ + g);
      const kernel::WeighResult part =
          kernels_.attention.weigh({.scores = scratch.scores.data() + q * kSplitTokens,
                                    .count = count,
                                    .value_scales = scratch.value_scales.data(),
                                    .weights = scratch.weights.data() + q * kSplitTokens});
      out.max[q] = part.max;
      out.sum[q] = part.sum;
      scratch.weight_scales[q] = part.scale;
    }
  }
}

// Tokens that a row does not see have weight zero: whatever its page holds there, the product is
// zero.
void Attention::gather_int8(const Piece& piece, Scratch& scratch, Partial& out) const {
  const std::size_t dims = size(spec_.head_dim);
  for (const Block& block : plan_.blocks(piece.tile, piece.split)) {
    const std::int32_t* pages = plan_.rows(piece.tile)[size(block.row_begin)].pages +
                                std::ptrdiff_t{piece.split} * kSplitPages;
    for (std::int32_t slot = block.slot_begin; slot < block.slot_end; ++slot) {
      scratch.values[size(slot - block.slot_begin)] =
          static_cast<const std::int8_t*>(piece.kv.values(pages[slot], piece.layer, piece.kv_head));
    }
    const std::size_t q = size(block.row_begin * group_);
    kernels_.attention.gather({.weights = scratch.weights.data() + q * kSplitTokens +
                                          size(block.slot_begin * kPageTokens),
                               .weight_stride = kSplitTokens,
                               .rows = (block.row_end - block.row_begin) * group_,
                               .dims = spec_.head_dim,
                               .values = scratch.values.data(),
                               .pages = block.slot_end - block.slot_begin,
                               .sums = scratch.sums.data() + q * dims,
                               .keep = block.slot_begin > 0});
  }
  for (std::int32_t row = 0; row < piece.tile.rows; ++row) {
    if (visible(piece, row) <= 0) {
      continue;
    }
    for (std::size_t q = size(row * group_); q < size((row + 1) * group_); ++q) {
      kernels_.attention.settle(scratch.sums.data() + q * dims,
                                scratch.weight_scales[q],
                                spec_.head_dim,
                                out.values.data() + q * dims);
    }
  }
}

}  // namespace genesis::model
