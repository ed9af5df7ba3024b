// Attention's split over binary16 and float pages.
#include "model/attention.h"

#include <algorithm>

namespace genesis::model {
namespace {

// From here on converting a page to float once is cheaper than in every block of rows.
constexpr std::int32_t kWidenFrom = 6;

std::size_t size(std::int32_t n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

const void* Attention::widened(const void* block, std::int32_t queries, Scratch& scratch) const {
  if (format_ != KvFormat::kHalf || queries < kWidenFrom) {
    return block;
  }
  kernels_.widen(
      static_cast<const std::uint16_t*>(block), kPageTokens * spec_.head_dim, scratch.page.data());
  return scratch.page.data();
}

void Attention::score_float(const Piece& piece, Scratch& scratch) const {
  const std::size_t first = query_index(piece.kv_head, piece.tile.first_slot);
  for (const Block& whole : plan_.blocks(piece.tile, piece.split)) {
    const Block block = visible_part(piece, whole);
    const std::int32_t* pages = plan_.rows(piece.tile)[size(block.row_begin)].pages;
    const std::size_t q = size(block.row_begin * group_);
    kernel::MixCall call;
    call.a = queries_.data() + (first + q) * size(spec_.head_dim);
    call.a_stride = size(spec_.head_dim);
    call.b_stride = kPageTokens;
    call.c_stride = kSplitTokens;
    call.rows = (block.row_end - block.row_begin) * group_;
    call.depth = spec_.head_dim;
    call.columns = kPageTokens;
    for (std::int32_t slot = block.slot_begin; slot < block.slot_end; ++slot) {
      const std::int32_t page = pages[piece.split * kSplitPages + slot];
      const void* keys = piece.kv.keys(page, piece.layer, piece.kv_head);
      call.b = widened(keys, call.rows, scratch);
      call.b_is_half = format_ == KvFormat::kHalf && call.b == keys;
      call.c = scratch.scores.data() + q * kSplitTokens + size(slot * kPageTokens);
      kernels_.mix(call);
    }
  }
}

void Attention::weigh_float(const Piece& piece, Scratch& scratch, Partial& out) const {
  // Soft-capping has applied the scale.
  const float scale = spec_.attention_softcap > 0.0F ? 1.0F : scale_;
  for (std::int32_t row = 0; row < piece.tile.rows; ++row) {
    const Seen seen = this->seen(piece, row);
    for (std::size_t q = size(row * group_); seen.begin < seen.end && q < size((row + 1) * group_);
         ++q) {
      float* scores = scratch.scores.data() + q * kSplitTokens;
      std::fill(scores, scores + seen.page, 0.0F);
      cap_and_hide(seen, scale_, scores);
      const kernel::SoftmaxPart part =
          kernels_.softmax(scores + seen.page, seen.end - seen.page, scale);
      out.max[q] = part.max;
      out.sum[q] = part.sum;
    }
  }
}

void Attention::gather_float(const Piece& piece, Scratch& scratch, Partial& out) const {
  if (piece.window > 0) {
    // A row's first page may not be its block's first: sums of all start at zero.
    std::fill_n(out.values.begin(), size(piece.tile.rows * group_ * spec_.head_dim), 0.0F);
  }
  for (const Block& whole : plan_.blocks(piece.tile, piece.split)) {
    const Block block = visible_part(piece, whole);
    for (std::int32_t slot = block.slot_begin; slot < block.slot_end; ++slot) {
      mix_values(piece, block, slot, scratch, out);
    }
  }
}

// One page's values into the rows of a block. Rows that see the whole page go together; others one
// by one, so that slots beyond a row, which may hold anything, are never touched.
void Attention::mix_values(const Piece& piece,
                           const Block& block,
                           std::int32_t slot,
                           Scratch& scratch,
                           Partial& out) const {
  const std::int32_t* pages = plan_.rows(piece.tile)[size(block.row_begin)].pages;
  const std::int32_t page = pages[piece.split * kSplitPages + slot];
  const void* values = piece.kv.values(page, piece.layer, piece.kv_head);
  kernel::MixCall call;
  call.a_stride = kSplitTokens;
  call.b = widened(values, (block.row_end - block.row_begin) * group_, scratch);
  call.b_is_half = format_ == KvFormat::kHalf && call.b == values;
  call.b_stride = size(spec_.head_dim);
  call.c_stride = size(spec_.head_dim);
  call.columns = spec_.head_dim;
  call.keep = slot > 0 || piece.window > 0;
  const auto depth_of = [&](std::int32_t row) {
    const Seen seen = this->seen(piece, row);
    return seen.begin < seen.end ? std::min(kPageTokens, seen.end - slot * kPageTokens) : 0;
  };
  for (std::int32_t row = block.row_begin; row < block.row_end;) {
    call.depth = depth_of(row);
    std::int32_t end = row + 1;
    while (end < block.row_end && depth_of(end) == call.depth) {
      ++end;
    }
    const std::size_t q = size(row * group_);
    call.a = scratch.scores.data() + q * kSplitTokens + size(slot * kPageTokens);
    call.c = out.values.data() + q * size(spec_.head_dim);
    call.rows = (end - row) * group_;
    kernels_.mix(call);
    row = end;
  }
}

}  // namespace genesis::model
