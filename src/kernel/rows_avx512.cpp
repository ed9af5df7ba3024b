// Rows of activations, AVX-512 tier: what is worth it of rows_avx2.cpp. Same restriction on
// includes as linear_avx2.cpp. Sums over a group are defined in 8 lanes, so two groups share a
// vector.
#include "kernel/exp_avx512.h"
#include "kernel/tier_tables.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

constexpr std::int32_t kInfinityBits = 0x7F800000;

// Each half of eight lanes by halves, as the AVX2 tier folds its vectors; every lane of a half gets
// the result.
inline __m512 fold_sum(__m512 v) {
  v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0xB1));
  v = _mm512_add_ps(v, _mm512_permute_ps(v, 0x4E));
  return _mm512_add_ps(v, _mm512_permute_ps(v, 0xB1));
}

inline __m512i fold_sum(__m512i v) {
  v = _mm512_add_epi32(v, _mm512_shuffle_i32x4(v, v, 0xB1));
  v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, static_cast<_MM_PERM_ENUM>(0x4E)));
  return _mm512_add_epi32(v, _mm512_shuffle_epi32(v, static_cast<_MM_PERM_ENUM>(0xB1)));
}

inline __m512i fold_max(__m512i v) {
  v = _mm512_max_epi32(v, _mm512_shuffle_i32x4(v, v, 0xB1));
  v = _mm512_max_epi32(v, _mm512_shuffle_epi32(v, static_cast<_MM_PERM_ENUM>(0x4E)));
  return _mm512_max_epi32(v, _mm512_shuffle_epi32(v, static_cast<_MM_PERM_ENUM>(0xB1)));
}

// Lanes 0 and 8.
inline void store_two(float* out, __m512 v) {
  out[0] = _mm512_cvtss_f32(v);
  out[1] = _mm_cvtss_f32(_mm512_extractf32x4_ps(v, 2));
}

inline void store_two(std::int32_t* out, __m512i v) {
  out[0] = _mm_cvtsi128_si32(_mm512_castsi512_si128(v));
  out[1] = _mm_cvtsi128_si32(_mm512_extracti32x4_epi32(v, 2));
}

// Two neighbouring groups: the low half of each vector is the first one's.
void quantize_two(const float* x, std::size_t group, const QuantizedRows& out) {
  const float* first = x + group * kGroup;
  const __m512i magnitude_mask = _mm512_set1_epi32(0x7FFFFFFF);
  __m512 v[4];
  __m512i largest = _mm512_setzero_si512();
  for (std::size_t i = 0; i < 4; ++i) {
    v[i] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(first + 8 * i)),
                              _mm256_loadu_ps(first + kGroup + 8 * i),
                              1);
    largest =
        _mm512_max_epi32(largest, _mm512_and_si512(_mm512_castps_si512(v[i]), magnitude_mask));
  }
  largest = fold_max(largest);
  const __m512 amax = _mm512_castsi512_ps(largest);
  const __mmask16 odd = _mm512_cmpge_epi32_mask(largest, _mm512_set1_epi32(kInfinityBits));
  const __mmask16 tiny = _mm512_cmp_ps_mask(amax, _mm512_set1_ps(kTinyMagnitude), _CMP_LT_OQ);
  const auto usual = static_cast<__mmask16>(~(odd | tiny));
  const __m512 inverse = _mm512_maskz_div_ps(usual, _mm512_set1_ps(127.0F), amax);
  __m512i total = _mm512_setzero_si512();
  __m512i squares = _mm512_setzero_si512();
  __m512 fit = _mm512_setzero_ps();
  for (std::size_t i = 0; i < 4; ++i) {
    const __m512 y = _mm512_maskz_mul_ps(usual, v[i], inverse);
    const __m512i whole = _mm512_cvtps_epi32(y);
    total = _mm512_add_epi32(total, whole);
    squares = _mm512_add_epi32(squares, _mm512_mullo_epi32(whole, whole));
    fit = _mm512_fmadd_ps(y, _mm512_cvtepi32_ps(whole), fit);
    const __m128i bytes = _mm512_cvtepi32_epi8(whole);
    std::int8_t* codes = out.codes + group * kGroup + 8 * i;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(codes), bytes);
    _mm_storeh_pd(reinterpret_cast<double*>(codes + kGroup), _mm_castsi128_pd(bytes));
  }
  const __m512 ratio =
      _mm512_maskz_div_ps(usual, fold_sum(fit), _mm512_cvtepi32_ps(fold_sum(squares)));
  const __m512 step = _mm512_div_ps(amax, _mm512_set1_ps(127.0F));
  __m512 scale = _mm512_maskz_mul_ps(usual, step, ratio);
  scale = _mm512_mask_mov_ps(scale, odd, _mm512_set1_ps(__builtin_nanf("")));
  total = fold_sum(total);
  store_two(out.scales + group, scale);
  store_two(out.totals + group, total);
  store_two(out.sums + group, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(total)));
}

void quantize(const float* x, int count, const QuantizedRows& out) {
  const auto groups = static_cast<std::size_t>(count / kGroup);
  std::size_t group = 0;
  for (; group + 2 <= groups; group += 2) {
    quantize_two(x, group, out);
  }
  if (group < groups) {
    const std::size_t at = group * kGroup;
    quantize_avx2(x + at,
                  kGroup,
                  {.codes = out.codes + at,
                   .scales = out.scales + group,
                   .totals = out.totals + group,
                   .sums = out.sums + group});
  }
}

void silu_mul(const float* gate, const float* up, int count, float* out) {
  const __m512 sign = _mm512_set1_ps(-0.0F);
  const __m512 one = _mm512_set1_ps(1.0F);
  for (int i = 0; i < count; i += 16) {
    // `count` is a multiple of 8.
    const auto lanes = static_cast<__mmask16>(count - i >= 16 ? 0xFFFF : 0xFF);
    const __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i);
    const __m512 below = _mm512_add_ps(one, exp_sixteen(_mm512_xor_ps(g, sign)));
    const __m512 silu = _mm512_div_ps(g, below);
    _mm512_mask_storeu_ps(
        out + i, lanes, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(lanes, up + i)));
  }
}

void gelu_mul(const float* gate, const float* up, int count, float* out) {
  const __m512 one = _mm512_set1_ps(1.0F);
  for (int i = 0; i < count; i += 16) {
    const auto lanes = static_cast<__mmask16>(count - i >= 16 ? 0xFFFF : 0xFF);
    const __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i);
    const __m512 cube = _mm512_mul_ps(_mm512_mul_ps(g, g), g);
    const __m512 inner = _mm512_fmadd_ps(_mm512_set1_ps(kGeluCubic), cube, g);
    const __m512 power = exp_sixteen(_mm512_mul_ps(_mm512_set1_ps(kGeluSlope), inner));
    const __m512 gelu = _mm512_div_ps(g, _mm512_add_ps(one, power));
    _mm512_mask_storeu_ps(
        out + i, lanes, _mm512_mul_ps(gelu, _mm512_maskz_loadu_ps(lanes, up + i)));
  }
}

}  // namespace

void fill_rows_avx512(Kernels& table) {
  table.quantize = quantize;
  table.silu_mul = silu_mul;
  table.gelu_mul = gelu_mul;
}

}  // namespace genesis::kernel
