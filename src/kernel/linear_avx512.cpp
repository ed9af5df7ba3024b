// Linear layers, AVX-512-VNNI tier: 4- and 8-bit weights. One panel of sixteen outputs is one
// vector, and one dpbusd takes a quad of inputs, so a group of 32 inputs is eight of them a row.
// Same restriction on includes as linear_avx2.cpp.
#include "kernel/linear_avx512.h"

#include "kernel/tier_tables.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

// The accumulators of eight rows, as integers and as floats, and what multiplies them fit the 32
// registers. (Twelve rows just do, and were slower: bench/linear_speed.)
constexpr int kMaxRows = 8;
// With so few rows weights come from memory, and are asked for so many bytes ahead; with more they
// are in the caches for all blocks of rows but the first.
constexpr int kFewRows = 32;
constexpr std::size_t kPrefetch = 3072;

// A block of R rows of one panel.
struct Block {
  const std::uint8_t* codes;
  const std::uint16_t* scales;
  const std::uint16_t* mins;     // kQ4
  const std::int8_t* x_codes;    // of the first row
  const float* x_scales;         // likewise
  const float* x_sums;           // kQ4
  const std::int32_t* x_totals;  // kQ8
  std::size_t groups;
};

inline __m512i load_bytes(const std::uint8_t* p) {
  __m512i raw;
  std::memcpy(&raw, p, sizeof(raw));
  return raw;
}

inline __m512i broadcast_quad(const std::int8_t* p) {
  std::int32_t raw = 0;
  std::memcpy(&raw, p, sizeof(raw));
  return _mm512_set1_epi32(raw);
}

template <bool kFar>
inline void prefetch(const std::uint8_t* codes, std::size_t bytes) {
  if constexpr (kFar) {
    for (std::size_t line = 0; line < bytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(codes + kPrefetch + line), _MM_HINT_T0);
    }
  }
}

// acc = fma(w_scale * x_scale, dot, acc) for each row.
template <int R>
inline void add_dots(const Block& b, std::size_t g, const __m512i (&dot)[R], __m512 (&acc)[R]) {
  const __m512 scale = load_halves(b.scales + g * kPanelOutputs);
  for (std::size_t r = 0; r < R; ++r) {
    const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(b.x_scales[r * b.groups + g]));
    acc[r] = _mm512_fmadd_ps(factor, _mm512_cvtepi32_ps(dot[r]), acc[r]);
  }
}

template <int R, bool kFar>
void block_q4(const Block& b, __m512 (&acc)[R]) {
  const __m512i low_mask = _mm512_set1_epi8(15);
  const std::size_t stride = b.groups * kGroup;
  for (std::size_t g = 0; g < b.groups; ++g) {
    const std::uint8_t* codes = b.codes + g * kQ4GroupBytes;
    prefetch<kFar>(codes, kQ4GroupBytes);
    const std::int8_t* x = b.x_codes + g * kGroup;
    __m512i dot[R] = {};
#pragma clang loop unroll(full)
    for (std::size_t j = 0; j < 4; ++j) {
      const __m512i both = load_bytes(codes + 64 * j);
      const __m512i low = _mm512_and_si512(both, low_mask);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_mask);
#pragma clang loop unroll(full)
      for (std::size_t r = 0; r < R; ++r) {
        const std::int8_t* row = x + r * stride + 8 * j;
        dot[r] = _mm512_dpbusd_epi32(dot[r], low, broadcast_quad(row));
        dot[r] = _mm512_dpbusd_epi32(dot[r], high, broadcast_quad(row + 4));
      }
    }
    add_dots<R>(b, g, dot, acc);
    const __m512 min = load_halves(b.mins + g * kPanelOutputs);
    for (std::size_t r = 0; r < R; ++r) {
      acc[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(b.x_sums[r * b.groups + g]), acc[r]);
    }
  }
}

// dpbusd wants one side unsigned: code + 128 is, and sum (w + 128) x = sum w x + 128 sum x.
template <int R, bool kFar>
void block_q8(const Block& b, __m512 (&acc)[R]) {
  const __m512i offset = _mm512_set1_epi8(-128);
  const std::size_t stride = b.groups * kGroup;
  for (std::size_t g = 0; g < b.groups; ++g) {
    const std::uint8_t* codes = b.codes + g * kQ8GroupBytes;
    prefetch<kFar>(codes, kQ8GroupBytes);
    const std::int8_t* x = b.x_codes + g * kGroup;
    __m512i dot[R];
    for (std::size_t r = 0; r < R; ++r) {
      dot[r] = _mm512_set1_epi32(-128 * b.x_totals[r * b.groups + g]);
    }
#pragma clang loop unroll(full)
    for (std::size_t j = 0; j < 8; ++j) {
      const __m512i w = _mm512_xor_si512(load_bytes(codes + 64 * j), offset);
#pragma clang loop unroll(full)
      for (std::size_t r = 0; r < R; ++r) {
        dot[r] = _mm512_dpbusd_epi32(dot[r], w, broadcast_quad(x + r * stride + 4 * j));
      }
    }
    add_dots<R>(b, g, dot, acc);
  }
}

template <int R, bool kFar>
void run_block(const LinearCall& call, int panel, int row) {
  const Panels& w = call.weights;
  const auto groups = static_cast<std::size_t>(w.groups());
  const std::size_t first = static_cast<std::size_t>(panel) * groups;
  const std::size_t x_first = static_cast<std::size_t>(row) * groups;
  const bool q4 = w.format == Format::kQ4;
  Block b{};
  b.groups = groups;
  b.codes = w.codes + first * (q4 ? kQ4GroupBytes : kQ8GroupBytes);
  b.scales = w.scales + first * kPanelOutputs;
  b.x_codes = call.x.codes + x_first * kGroup;
  b.x_scales = call.x.scales + x_first;
  __m512 acc[R] = {};
  if (q4) {
    b.mins = w.mins + first * kPanelOutputs;
    b.x_sums = call.x.sums + x_first;
    block_q4<R, kFar>(b, acc);
  } else {
    b.x_totals = call.x.totals + x_first;
    block_q8<R, kFar>(b, acc);
  }
  store_rows(call, panel, row, acc);
}

// The rest of a call's rows in blocks of nearly equal size.
int next_block(int rows) {
  const int blocks = (rows + kMaxRows - 1) / kMaxRows;
  return (rows + blocks - 1) / blocks;
}

}  // namespace

void linear_avx512(const LinearCall& call) {
  if (call.weights.format == Format::kF32) {
    linear_avx2(call);
    return;
  }
  using Rows = void (*)(const LinearCall&, int, int);
  static constexpr Rows kNear[kMaxRows] = {run_block<1, false>,
                                           run_block<2, false>,
                                           run_block<3, false>,
                                           run_block<4, false>,
                                           run_block<5, false>,
                                           run_block<6, false>,
                                           run_block<7, false>,
                                           run_block<8, false>};
  static constexpr Rows kFar[kMaxRows] = {run_block<1, true>,
                                          run_block<2, true>,
                                          run_block<3, true>,
                                          run_block<4, true>,
                                          run_block<5, true>,
                                          run_block<6, true>,
                                          run_block<7, true>,
                                          run_block<8, true>};
  const auto& blocks = call.rows <= kFewRows ? kFar : kNear;
  for (int panel = call.panel_begin; panel < call.panel_end; ++panel) {
    for (int row = 0; row < call.rows;) {
      const int block = next_block(call.rows - row);
      blocks[block - 1](call, panel, row);
      row += block;
    }
  }
}

void fill_linear_avx512(Kernels& table) {
  table.linear = linear_avx512;
}

}  // namespace genesis::kernel
