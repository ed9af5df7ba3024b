// exp() and lane folds of eight floats, for the AVX2 files only: `static`, so that no other
// file's code can be linked to what is compiled for AVX2. Private to this room.
#pragma once

#include "kernel/exp_constants.h"

#include <cstdint>
#include <immintrin.h>

namespace genesis::kernel {

static inline float sum_lanes(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline __m256 exp_eight(__m256 x) {
  const __m256 in_range = _mm256_cmp_ps(x, _mm256_set1_ps(kExpLowest), _CMP_GE_OQ);
  const __m256 clamped = _mm256_min_ps(x, _mm256_set1_ps(kExpHighest));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(clamped, _mm256_set1_ps(kLog2E)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2High), clamped);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2Low), r);
  __m256 p = _mm256_set1_ps(kExpP0);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpP1));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpP2));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpP3));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpP4));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpP5));
  p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0F));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_and_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(exponent)), in_range);
}

static inline __m256 tanh_eight(__m256 x) {
  const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0F));
  const __m256 size = _mm256_xor_ps(x, sign);
  const __m256 one = _mm256_set1_ps(1.0F);
  const __m256 below = _mm256_add_ps(exp_eight(_mm256_add_ps(size, size)), one);
  const __m256 large = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0F), below));
  const __m256 square = _mm256_mul_ps(x, x);
  __m256 p = _mm256_set1_ps(kTanhP0);
  p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(kTanhP1));
  p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(kTanhP2));
  p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(kTanhP3));
  p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(kTanhP4));
  const __m256 small = _mm256_fmadd_ps(_mm256_mul_ps(p, square), x, x);
  const __m256 is_large = _mm256_cmp_ps(size, _mm256_set1_ps(kTanhSmall), _CMP_GE_OQ);
  return _mm256_blendv_ps(small, _mm256_or_ps(large, sign), is_large);
}

static inline __m256i max_lanes(__m256i v) {
  v = _mm256_max_epi32(v, _mm256_permute2x128_si256(v, v, 1));
  v = _mm256_max_epi32(v, _mm256_shuffle_epi32(v, 0x4E));
  return _mm256_max_epi32(v, _mm256_shuffle_epi32(v, 0xB1));
}

static inline std::int32_t sum_lanes_int(__m256i v) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

}  // namespace genesis::kernel
