// Everything but the linear layers, AVX2 tier. Same restriction on includes as linear_avx2.cpp.
#include "kernel/exp_avx2.h"
#include "kernel/tier_tables.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

void quantize_group(
    const float* x, std::int8_t* codes, float* scale, std::int32_t* total, float* sum) {
  const __m256i magnitude_mask = _mm256_set1_epi32(0x7FFFFFFF);
  __m256 v[4];
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    largest =
        _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude_mask));
  }
  const std::int32_t bits = _mm_cvtsi128_si32(_mm256_castsi256_si128(max_lanes(largest)));
  float amax = 0.0F;
  std::memcpy(&amax, &bits, sizeof(amax));
  if (bits >= 0x7F800000 || amax < kTinyMagnitude) {
    std::memset(codes, 0, kGroup);
    *scale = amax < kTinyMagnitude ? 0.0F : __builtin_nanf("");
    *sum = *scale;
    *total = 0;
    return;
  }
  const __m256 inverse = _mm256_set1_ps(127.0F / amax);
  __m256i whole[4];
  __m256i codes_sum = _mm256_setzero_si256();
  __m256 fit = _mm256_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    const __m256 y = _mm256_mul_ps(v[i], inverse);
    whole[i] = _mm256_cvtps_epi32(y);
    codes_sum = _mm256_add_epi32(codes_sum, whole[i]);
    fit = _mm256_fmadd_ps(y, _mm256_cvtepi32_ps(whole[i]), fit);
  }
  const __m256i first = _mm256_packs_epi32(whole[0], whole[1]);
  const __m256i second = _mm256_packs_epi32(whole[2], whole[3]);
  const __m256i squares =
      _mm256_add_epi32(_mm256_madd_epi16(first, first), _mm256_madd_epi16(second, second));
  const __m256i bytes = _mm256_packs_epi16(first, second);
  // The packs interleave the 128-bit halves; this puts the quads back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i sorted = _mm256_permutevar8x32_epi32(bytes, order);
  std::memcpy(codes, &sorted, sizeof(sorted));
  *scale = (amax / 127.0F) * (sum_lanes(fit) / static_cast<float>(sum_lanes_int(squares)));
  *total = sum_lanes_int(codes_sum);
  *sum = *scale * static_cast<float>(*total);
}

void rms_norm(const float* x, const float* weight, float eps, int count, float* out) {
  __m256 squares = _mm256_setzero_ps();
  for (int i = 0; i < count; i += 8) {
    const __m256 v = _mm256_loadu_ps(x + i);
    squares = _mm256_fmadd_ps(v, v, squares);
  }
  const float mean = sum_lanes(squares) / static_cast<float>(count);
  const float root = _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean + eps)));
  const __m256 inverse = _mm256_set1_ps(1.0F / root);
  for (int i = 0; i < count; i += 8) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), inverse);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
  }
}

void rotate(float* x, const float* cos, const float* sin, int half) {
  for (int i = 0; i < half; i += 8) {
    const __m256 a = _mm256_loadu_ps(x + i);
    const __m256 b = _mm256_loadu_ps(x + i + half);
    const __m256 c = _mm256_loadu_ps(cos + i);
    const __m256 s = _mm256_loadu_ps(sin + i);
    _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
    _mm256_storeu_ps(x + i + half, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
  }
}

void silu_mul(const float* gate, const float* up, int count, float* out) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  const __m256 one = _mm256_set1_ps(1.0F);
  for (int i = 0; i < count; i += 8) {
    const __m256 g = _mm256_loadu_ps(gate + i);
    const __m256 below = _mm256_add_ps(one, exp_eight(_mm256_xor_ps(g, sign)));
    const __m256 silu = _mm256_div_ps(g, below);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(silu, _mm256_loadu_ps(up + i)));
  }
}

void gelu_mul(const float* gate, const float* up, int count, float* out) {
  const __m256 one = _mm256_set1_ps(1.0F);
  for (int i = 0; i < count; i += 8) {
    const __m256 g = _mm256_loadu_ps(gate + i);
    const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(g, g), g);
    const __m256 inner = _mm256_fmadd_ps(_mm256_set1_ps(kGeluCubic), cube, g);
    const __m256 power = exp_eight(_mm256_mul_ps(_mm256_set1_ps(kGeluSlope), inner));
    const __m256 gelu = _mm256_div_ps(g, _mm256_add_ps(one, power));
    _mm256_storeu_ps(out + i, _mm256_mul_ps(gelu, _mm256_loadu_ps(up + i)));
  }
}

void softcap(float* x, int count, float scale, float cap) {
  const __m256 factor = _mm256_set1_ps(scale);
  const __m256 limit = _mm256_set1_ps(cap);
  const auto capped = [&](__m256 v) {
    return _mm256_mul_ps(tanh_eight(_mm256_div_ps(_mm256_mul_ps(v, factor), limit)), limit);
  };
  const int whole = count / 8 * 8;
  for (int i = 0; i < whole; i += 8) {
    _mm256_storeu_ps(x + i, capped(_mm256_loadu_ps(x + i)));
  }
  if (whole < count) {
    alignas(32) float rest[8] = {};
    const auto bytes = static_cast<std::size_t>(count - whole) * sizeof(float);
    std::memcpy(rest, x + whole, bytes);
    _mm256_store_ps(rest, capped(_mm256_load_ps(rest)));
    std::memcpy(x + whole, rest, bytes);
  }
}

template <bool kHalf>
inline __m256 load_b(const void* b, std::size_t at) {
  if constexpr (kHalf) {
    __m128i raw;
    std::memcpy(&raw, static_cast<const std::uint16_t*>(b) + at, sizeof(raw));
    return _mm256_cvtph_ps(raw);
  } else {
    return _mm256_loadu_ps(static_cast<const float*>(b) + at);
  }
}

// R rows by V vectors of eight columns of c, kept in registers over the whole depth.
template <int R, int V, bool kHalf>
void mix_block(const MixCall& call, std::size_t row, std::size_t column) {
  __m256 acc[R][V];
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t v = 0; v < V; ++v) {
      acc[r][v] = call.keep ? _mm256_loadu_ps(call.c + (row + r) * call.c_stride + column + 8 * v)
                            : _mm256_setzero_ps();
    }
  }
  const float* a = call.a + row * call.a_stride;
  for (std::size_t d = 0; d < static_cast<std::size_t>(call.depth); ++d) {
    __m256 b[V];
    for (std::size_t v = 0; v < V; ++v) {
      b[v] = load_b<kHalf>(call.b, d * call.b_stride + column + 8 * v);
    }
    for (std::size_t r = 0; r < R; ++r) {
      const __m256 x = _mm256_broadcast_ss(a + r * call.a_stride + d);
      for (std::size_t v = 0; v < V; ++v) {
        acc[r][v] = _mm256_fmadd_ps(x, b[v], acc[r][v]);
      }
    }
  }
  for (std::size_t r = 0; r < R; ++r) {
    for (std::size_t v = 0; v < V; ++v) {
      _mm256_storeu_ps(call.c + (row + r) * call.c_stride + column + 8 * v, acc[r][v]);
    }
  }
}

template <int V, bool kHalf>
void mix_columns(const MixCall& call, std::size_t column) {
  constexpr std::size_t kRows = V == 4 ? 3 : 6;
  const auto rows = static_cast<std::size_t>(call.rows);
  std::size_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
    mix_block<kRows, V, kHalf>(call, row, column);
  }
  for (; row + 2 <= rows; row += 2) {
    mix_block<2, V, kHalf>(call, row, column);
  }
  if (row < rows) {
    mix_block<1, V, kHalf>(call, row, column);
  }
}

template <bool kHalf>
void mix_any(const MixCall& call) {
  const auto columns = static_cast<std::size_t>(call.columns);
  std::size_t column = 0;
  if (call.rows < 6) {
    for (; column + 32 <= columns; column += 32) {
      mix_columns<4, kHalf>(call, column);
    }
  }
  for (; column + 16 <= columns; column += 16) {
    mix_columns<2, kHalf>(call, column);
  }
  if (column < columns) {
    mix_columns<1, kHalf>(call, column);
  }
}

void mix(const MixCall& call) {
  if (call.b_is_half) {
    mix_any<true>(call);
  } else {
    mix_any<false>(call);
  }
}

SoftmaxPart softmax(float* s, int count, float scale) {
  const __m256 lowest = _mm256_set1_ps(-__builtin_inff());
  const __m256 factor = _mm256_set1_ps(scale);
  const int padded = (count + 7) / 8 * 8;
  for (int i = count; i < padded; ++i) {
    s[i] = -__builtin_inff();
  }
  // A negative factor would turn the padding into +infinity; attention scales are positive.
  __m256 max = lowest;
  for (int i = 0; i < padded; i += 8) {
    const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(s + i), factor);
    _mm256_storeu_ps(s + i, v);
    max = _mm256_max_ps(v, max);
  }
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, max);
  float top = lanes[0];
  for (const float lane : lanes) {
    top = lane > top ? lane : top;
  }
  const __m256 shift = _mm256_set1_ps(top);
  __m256 sum = _mm256_setzero_ps();
  for (int i = 0; i < padded; i += 8) {
    const __m256 e = exp_eight(_mm256_sub_ps(_mm256_loadu_ps(s + i), shift));
    _mm256_storeu_ps(s + i, e);
    sum = _mm256_add_ps(sum, e);
  }
  return {top, sum_lanes(sum)};
}

void merge(float* acc, float keep, const float* part, float take, int count) {
  const __m256 k = _mm256_set1_ps(keep);
  const __m256 t = _mm256_set1_ps(take);
  for (int i = 0; i < count; i += 8) {
    const __m256 taken = _mm256_mul_ps(_mm256_loadu_ps(part + i), t);
    _mm256_storeu_ps(acc + i, _mm256_fmadd_ps(_mm256_loadu_ps(acc + i), k, taken));
  }
}

void scale(float* x, float by, int count) {
  const __m256 factor = _mm256_set1_ps(by);
  for (int i = 0; i < count; i += 8) {
    _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
  }
}

void exp(const float* x, int count, float* out) {
  for (int i = 0; i < count; i += 8) {
    _mm256_storeu_ps(out + i, exp_eight(_mm256_loadu_ps(x + i)));
  }
}

void narrow(const float* x, int count, std::uint16_t* halves) {
  for (int i = 0; i < count; i += 8) {
    const __m128i packed = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
    std::memcpy(halves + i, &packed, sizeof(packed));
  }
}

void widen(const std::uint16_t* halves, int count, float* x) {
  for (int i = 0; i < count; i += 8) {
    _mm256_storeu_ps(x + i, load_b<true>(halves, static_cast<std::size_t>(i)));
  }
}

}  // namespace

void quantize_avx2(const float* x, int count, const QuantizedRows& out) {
  for (int g = 0; g < count / kGroup; ++g) {
    quantize_group(
        x + g * kGroup, out.codes + g * kGroup, out.scales + g, out.totals + g, out.sums + g);
  }
}

void fill_rows_avx2(Kernels& table) {
  table.quantize = quantize_avx2;
  table.rms_norm = rms_norm;
  table.rotate = rotate;
  table.silu_mul = silu_mul;
  table.gelu_mul = gelu_mul;
  table.softcap = softcap;
  table.mix = mix;
  table.softmax = softmax;
  table.merge = merge;
  table.scale = scale;
  table.exp = exp;
  table.narrow = narrow;
  table.widen = widen;
}

}  // namespace genesis::kernel
