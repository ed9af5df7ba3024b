// Linear layers, AVX2 tier (AVX2 + FMA + F16C). Only intrinsics and this room's headers in here:
// code of this file may run only after cpu.h said so, and an inline function of the standard
// library compiled here could be picked by the linker for the whole program.
#include "kernel/tier_tables.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

// A block of R rows by H vectors of eight outputs of one panel, `half` being the first of the two
// vectors. Chosen so that the accumulators fit the 16 registers.
struct Block {
  const std::uint8_t* codes;    // of the panel, at the first vector
  const std::uint16_t* scales;  // likewise
  const std::uint16_t* mins;
  const float* values;
  const std::int8_t* x_codes;  // of the first row
  const float* x_scales;
  const float* x_sums;
  const float* x_values;
  std::size_t groups;
  bool far;  // the weights are not in a cache yet
};

// With so few rows weights come from memory, and are asked for so many bytes ahead; with more they
// are in the caches for all blocks of rows but the first.
constexpr int kFewRows = 32;
constexpr std::size_t kPrefetch = 3072;

inline void prefetch(const std::uint8_t* codes, std::size_t bytes) {
  for (std::size_t line = 0; line < bytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(codes + kPrefetch + line), _MM_HINT_T0);
  }
}

inline __m256 load_halves(const std::uint16_t* p) {
  __m128i raw;
  std::memcpy(&raw, p, sizeof(raw));
  return _mm256_cvtph_ps(raw);
}

inline __m256i load_bytes(const std::uint8_t* p) {
  __m256i raw;
  std::memcpy(&raw, p, sizeof(raw));
  return raw;
}

inline __m256i broadcast_quad(const std::int8_t* p) {
  std::int32_t raw = 0;
  std::memcpy(&raw, p, sizeof(raw));
  return _mm256_set1_epi32(raw);
}

// The activations' part of one group, after the integer dots are known.
template <int R, int H>
inline void add_group(
    const Block& b, std::size_t g, const __m256i (&dot)[R][H], bool with_min, __m256 (&acc)[R][H]) {
  for (int h = 0; h < H; ++h) {
    const __m256 scale = load_halves(b.scales + g * kPanelOutputs + 8 * h);
    for (int r = 0; r < R; ++r) {
      const std::size_t at = static_cast<std::size_t>(r) * b.groups + g;
      const __m256 factor = _mm256_mul_ps(scale, _mm256_broadcast_ss(b.x_scales + at));
      acc[r][h] = _mm256_fmadd_ps(factor, _mm256_cvtepi32_ps(dot[r][h]), acc[r][h]);
    }
    if (with_min) {
      const __m256 min = load_halves(b.mins + g * kPanelOutputs + 8 * h);
      for (int r = 0; r < R; ++r) {
        const std::size_t at = static_cast<std::size_t>(r) * b.groups + g;
        acc[r][h] = _mm256_fmadd_ps(min, _mm256_broadcast_ss(b.x_sums + at), acc[r][h]);
      }
    }
  }
}

// Unsigned 4-bit codes times signed activations: a pair is at most 2 * 15 * 128 = 3840 in
// magnitude, so the eight quads of a group sum up in int16 (30720) without saturation.
template <int R, int H>
// NOLINTNEXTLINE(readability-function-cognitive-complexity): unrolled loops over registers
void block_q4(const Block& b, __m256 (&acc)[R][H]) {
  const __m256i low_mask = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_set1_epi16(1);
  const std::size_t x_stride = b.groups * kGroup;
  for (std::size_t g = 0; g < b.groups; ++g) {
    const std::uint8_t* codes = b.codes + g * kQ4GroupBytes;
    const std::int8_t* x = b.x_codes + g * kGroup;
    if (b.far) {
      prefetch(codes, kQ4GroupBytes);
    }
    __m256i sum[R][H];
    for (int r = 0; r < R; ++r) {
      for (int h = 0; h < H; ++h) {
        sum[r][h] = _mm256_setzero_si256();
      }
    }
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; ++j) {
      __m256i low[H];
      __m256i high[H];
      for (int h = 0; h < H; ++h) {
        const __m256i both = load_bytes(codes + 64 * j + 32 * h);
        low[h] = _mm256_and_si256(both, low_mask);
        high[h] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low_mask);
      }
      for (int r = 0; r < R; ++r) {
        const std::int8_t* row = x + static_cast<std::size_t>(r) * x_stride + 8 * j;
        const __m256i first = broadcast_quad(row);
        const __m256i second = broadcast_quad(row + 4);
        for (int h = 0; h < H; ++h) {
          sum[r][h] = _mm256_add_epi16(sum[r][h], _mm256_maddubs_epi16(low[h], first));
          sum[r][h] = _mm256_add_epi16(sum[r][h], _mm256_maddubs_epi16(high[h], second));
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int h = 0; h < H; ++h) {
        sum[r][h] = _mm256_madd_epi16(sum[r][h], ones);
      }
    }
    add_group<R, H>(b, g, sum, true, acc);
  }
}

// Signed by signed with maddubs: |w| times x with w's sign. 2 * 128 * 127 = 32512 fits int16.
template <int R, int H>
void block_q8(const Block& b, __m256 (&acc)[R][H]) {
  const __m256i ones = _mm256_set1_epi16(1);
  const std::size_t x_stride = b.groups * kGroup;
  for (std::size_t g = 0; g < b.groups; ++g) {
    const std::uint8_t* codes = b.codes + g * kQ8GroupBytes;
    const std::int8_t* x = b.x_codes + g * kGroup;
    if (b.far) {
      prefetch(codes, kQ8GroupBytes);
    }
    __m256i sum[R][H];
    for (int r = 0; r < R; ++r) {
      for (int h = 0; h < H; ++h) {
        sum[r][h] = _mm256_setzero_si256();
      }
    }
    for (int quad = 0; quad < 8; ++quad) {
      __m256i w[H];
      __m256i magnitude[H];
      for (int h = 0; h < H; ++h) {
        w[h] = load_bytes(codes + 64 * quad + 32 * h);
        magnitude[h] = _mm256_abs_epi8(w[h]);
      }
      for (int r = 0; r < R; ++r) {
        const __m256i quad_x =
            broadcast_quad(x + static_cast<std::size_t>(r) * x_stride + 4 * quad);
        for (int h = 0; h < H; ++h) {
          const __m256i pairs = _mm256_maddubs_epi16(magnitude[h], _mm256_sign_epi8(quad_x, w[h]));
          sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(pairs, ones));
        }
      }
    }
    add_group<R, H>(b, g, sum, false, acc);
  }
}

template <int R, int H>
void block_f32(const Block& b, __m256 (&acc)[R][H]) {
  const std::size_t x_stride = b.groups * kGroup;
  for (std::size_t g = 0; g < b.groups; ++g) {
    __m256 sum[R][H];
    for (int r = 0; r < R; ++r) {
      for (int h = 0; h < H; ++h) {
        sum[r][h] = _mm256_setzero_ps();
      }
    }
    for (std::size_t k = g * kGroup; k < (g + 1) * kGroup; ++k) {
      for (int h = 0; h < H; ++h) {
        const __m256 w = _mm256_loadu_ps(b.values + k * kPanelOutputs + 8 * h);
        for (int r = 0; r < R; ++r) {
          const float* x = b.x_values + static_cast<std::size_t>(r) * x_stride + k;
          sum[r][h] = _mm256_fmadd_ps(_mm256_broadcast_ss(x), w, sum[r][h]);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int h = 0; h < H; ++h) {
        acc[r][h] = _mm256_add_ps(acc[r][h], sum[r][h]);
      }
    }
  }
}

// Writes `valid` (1..8) of eight outputs.
inline void store(float* out, __m256 y, int valid, bool add) {
  if (valid == 8) {
    _mm256_storeu_ps(out, add ? _mm256_add_ps(_mm256_loadu_ps(out), y) : y);
    return;
  }
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, y);
  for (int i = 0; i < valid; ++i) {
    out[i] = add ? out[i] + lanes[i] : lanes[i];
  }
}

template <int R, int H>
void run_block(const LinearCall& call, int panel, int row, int half) {
  const Panels& w = call.weights;
  const auto groups = static_cast<std::size_t>(w.groups());
  const std::size_t first = static_cast<std::size_t>(panel) * groups;
  const std::size_t x_first = static_cast<std::size_t>(row) * groups;
  const auto lane = static_cast<std::size_t>(8 * half);
  const std::size_t group_bytes = w.format == Format::kQ4 ? kQ4GroupBytes : kQ8GroupBytes;
  Block b{};
  b.groups = groups;
  // The second half of a panel lies in the same lines as the first, the next rows read them again.
  b.far = call.rows <= kFewRows && row == 0 && half == 0;
  __m256 acc[R][H];
  for (int r = 0; r < R; ++r) {
    for (int h = 0; h < H; ++h) {
      acc[r][h] = _mm256_setzero_ps();
    }
  }
  if (w.format == Format::kF32) {
    b.values = w.values + first * kGroup * kPanelOutputs + lane;
    b.x_values = call.x.values + x_first * kGroup;
    block_f32<R, H>(b, acc);
  } else {
    b.codes = w.codes + first * group_bytes + 4 * lane;
    b.scales = w.scales + first * kPanelOutputs + lane;
    b.x_codes = call.x.codes + x_first * kGroup;
    b.x_scales = call.x.scales + x_first;
    if (w.format == Format::kQ4) {
      b.mins = w.mins + first * kPanelOutputs + lane;
      b.x_sums = call.x.sums + x_first;
      block_q4<R, H>(b, acc);
    } else {
      block_q8<R, H>(b, acc);
    }
  }
  for (int h = 0; h < H; ++h) {
    const int n = panel * kPanelOutputs + 8 * (half + h);
    const int valid = w.outputs - n < 8 ? w.outputs - n : 8;
    for (int r = 0; r < R && valid > 0; ++r) {
      float* out = call.out + static_cast<std::size_t>(row + r) * call.out_stride +
                   static_cast<std::size_t>(n - call.panel_begin * kPanelOutputs);
      store(out, acc[r][h], valid, call.add);
    }
  }
}

// Two or more rows: one vector of outputs at a time, so that up to five rows fit the registers.
template <int R>
void run_rows(const LinearCall& call, int panel, int row) {
  run_block<R, 1>(call, panel, row, 0);
  run_block<R, 1>(call, panel, row, 1);
}

// Rows of the next block: fives, and the rest in parts of at least two where that is possible.
int next_block(int rows) {
  if (rows == 6) {
    return 3;
  }
  return rows == 7 || rows == 8 || rows < 5 ? (rows < 4 ? rows : 4) : 5;
}

}  // namespace

void linear_avx2(const LinearCall& call) {
  for (int panel = call.panel_begin; panel < call.panel_end; ++panel) {
    for (int row = 0; row < call.rows;) {
      const int block = next_block(call.rows - row);
      switch (block) {
        case 5:
          run_rows<5>(call, panel, row);
          break;
        case 4:
          run_rows<4>(call, panel, row);
          break;
        case 3:
          run_rows<3>(call, panel, row);
          break;
        case 2:
          run_rows<2>(call, panel, row);
          break;
        default:
          run_block<1, 2>(call, panel, row, 0);
          break;
      }
      row += block;
    }
  }
}

}  // namespace genesis::kernel
