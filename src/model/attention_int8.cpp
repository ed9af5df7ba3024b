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
  for (const Block& whole : plan_.blocks(piece.tile, piece.split)) {
    const Block block = visible_part(piece, whole);
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
    const Seen seen = this->seen(piece, row);
    if (seen.begin >= seen.end) {
      if (piece.window > 0) {  // its block may gather for others
        std::fill_n(scratch.weights.begin() + std::ptrdiff_t{row} * group_ * kSplitTokens,
                    size(group_) * kSplitTokens,
                    std::int16_t{0});
      }
      continue;
    }
    const std::int32_t* pages =
        plan_.rows(piece.tile)[size(row)].pages + std::ptrdiff_t{piece.split} * kSplitPages;
    const std::int32_t first = seen.page / kPageTokens;
    for (std::int32_t slot = first; slot * kPageTokens < seen.end; ++slot) {
      scratch.value_scales[size(slot)] =
          piece.kv.value_scales(pages[slot], piece.layer, piece.kv_head);
    }
    for (std::int32_t g = 0; g < group_; ++g) {
      const std::size_t q = size(row * group_ + g);
      float* scores = scratch.scores.data() + q * kSplitTokens;
      std::int16_t* weights = scratch.weights.data() + q * kSplitTokens;
      std::fill(weights, weights + seen.page, std::int16_t{0});
      cap_and_hide(seen, 1.0F, scores);
      const kernel::WeighResult part =
          kernels_.attention.weigh({.scores = scores + seen.page,
                                    .count = seen.end - seen.page,
                                    .value_scales = scratch.value_scales.data() + first,
                                    .weights = weights + seen.page});
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
  if (piece.window > 0) {
    // A row's first page may not be its block's first: sums of all start at zero.
    std::fill_n(scratch.sums.begin(), size(piece.tile.rows * group_) * dims, 0);
  }
  for (const Block& whole : plan_.blocks(piece.tile, piece.split)) {
    const Block block = visible_part(piece, whole);
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
                               .keep = block.slot_begin > 0 || piece.window > 0});
  }
  for (std::int32_t row = 0; row < piece.tile.rows; ++row) {
    const Seen seen = this->seen(piece, row);
    if (seen.begin >= seen.end) {
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
