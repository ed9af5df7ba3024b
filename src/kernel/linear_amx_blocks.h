// Linear layers on AMX tiles: blocks of sixteen rows by one panel, for whoever has the tile
// instructions (linear_amx.cpp) or imitates them (linear_amx_imitated.cpp, for tests). A group of
// 32 inputs is one product: rows [16][32] of activation codes times the panel's [8 quads][16][4]
// codes, which is the form that tiles want and the form in which they lie packed (layout.h).
//
// Everything is in an unnamed namespace, since each file that includes this is compiled for
// another processor and must share no inline code with the others. Needs AVX-512.
#pragma once

#include "kernel/linear_avx512.h"
#include "kernel/tier_tables.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

constexpr std::size_t kTileRows = 16;
constexpr std::size_t kQuads = kGroup / 4;
constexpr std::size_t kQuadBytes = 64;

// What ldtilecfg reads (Intel SDM volume 1, section 18.3): a palette, and rows and bytes a row of
// each tile.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

enum TileName : std::uint8_t { kSums = 0, kInputs = 1, kWeights = 2 };

inline TileShapes tile_shapes() {
  TileShapes shapes;
  shapes.rows[kSums] = kTileRows;
  shapes.row_bytes[kSums] = kPanelOutputs * sizeof(std::int32_t);
  shapes.rows[kInputs] = kTileRows;
  shapes.row_bytes[kInputs] = kGroup;
  shapes.rows[kWeights] = kQuads;
  shapes.row_bytes[kWeights] = kQuadBytes;
  return shapes;
}

// A group of kQ4 as bytes, quad by quad.
inline void unpack_group(const std::uint8_t* codes, std::uint8_t* quads) {
  const __m512i low_mask = _mm512_set1_epi8(15);
  for (std::size_t j = 0; j < kQuads / 2; ++j) {
    __m512i both;
    std::memcpy(&both, codes + kQuadBytes * j, sizeof(both));
    const __m512i low = _mm512_and_si512(both, low_mask);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_mask);
    _mm512_store_si512(quads + 2 * kQuadBytes * j, low);
    _mm512_store_si512(quads + 2 * kQuadBytes * j + kQuadBytes, high);
  }
}

// Sixteen rows from `row` on of one panel. The sums of a group are integers and exact; what
// follows is the sequence of kernels.h.
template <typename Tiles, bool kFourBits>
void tile_block(const LinearCall& call, int panel, int row) {
  const Panels& w = call.weights;
  const auto groups = static_cast<std::size_t>(w.groups());
  const std::size_t first = static_cast<std::size_t>(panel) * groups;
  const std::size_t x_first = static_cast<std::size_t>(row) * groups;
  const std::size_t stride = groups * kGroup;
  constexpr std::size_t kGroupBytes = kFourBits ? kQ4GroupBytes : kQ8GroupBytes;
  alignas(64) std::uint8_t quads[kQuads * kQuadBytes];
  alignas(64) std::int32_t sums[kTileRows * kPanelOutputs];
  __m512 acc[kTileRows] = {};
  for (std::size_t g = 0; g < groups; ++g) {
    const std::uint8_t* codes = w.codes + (first + g) * kGroupBytes;
    if constexpr (kFourBits) {
      unpack_group(codes, quads);
      codes = quads;
    }
    Tiles::template multiply<kFourBits>(
        call.x.codes + x_first * kGroup + g * kGroup, stride, codes, sums);
    const __m512 scale = load_halves(w.scales + (first + g) * kPanelOutputs);
    const __m512 min =
        kFourBits ? load_halves(w.mins + (first + g) * kPanelOutputs) : _mm512_setzero_ps();
#pragma clang loop unroll(full)
    for (std::size_t r = 0; r < kTileRows; ++r) {
      const std::size_t at = x_first + r * groups + g;
      const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(call.x.scales[at]));
      const __m512i dot = _mm512_load_si512(sums + r * kPanelOutputs);
      acc[r] = _mm512_fmadd_ps(factor, _mm512_cvtepi32_ps(dot), acc[r]);
      if constexpr (kFourBits) {
        acc[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(call.x.sums[at]), acc[r]);
      }
    }
  }
  store_rows(call, panel, row, acc);
}

// The rows from `row` on, which fill no tile.
LinearCall rest_of(const LinearCall& call, int row) {
  const Panels& w = call.weights;
  const auto rows = static_cast<std::size_t>(row);
  const std::size_t groups = rows * static_cast<std::size_t>(w.groups());
  LinearCall rest = call;
  rest.rows = call.rows - row;
  rest.out += rows * call.out_stride;
  rest.x.codes += groups * kGroup;
  rest.x.scales += groups;
  rest.x.totals += groups;
  rest.x.sums += groups;
  return rest;
}

template <typename Tiles>
void linear_on_tiles(const LinearCall& call) {
  const int whole = call.weights.format == Format::kF32
                        ? 0
                        : call.rows / static_cast<int>(kTileRows) * static_cast<int>(kTileRows);
  if (whole > 0) {
    [[maybe_unused]] const Tiles tiles;  // this thread has them until here
    const auto block =
        call.weights.format == Format::kQ4 ? tile_block<Tiles, true> : tile_block<Tiles, false>;
    for (int panel = call.panel_begin; panel < call.panel_end; ++panel) {
      for (int row = 0; row < whole; row += static_cast<int>(kTileRows)) {
        block(call, panel, row);
      }
    }
  }
  if (whole < call.rows) {
    linear_avx512(whole == 0 ? call : rest_of(call, whole));
  }
}

}  // namespace
}  // namespace genesis::kernel
