// Attention over int8 pages, AVX-512-VNNI tier: products and softmax; the rest is the AVX2 tier's.
// Same restriction on includes as linear_avx2.cpp.
#include "kernel/exp_avx512.h"
#include "kernel/tier_tables.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

constexpr std::int32_t kInfinityBits = 0x7F800000;
constexpr float kLargestWeight = 32767.0F;

inline std::size_t index(int i) {
  return static_cast<std::size_t>(i);
}

// Sixteen lanes by halves, as the scalar tier adds them.
inline float sum_lanes(__m512 v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// acc += products of the int16 pairs. Written out because clang 19 splits the intrinsic into
// vpmaddwd and vpaddd where it is not told that the processor is quick at it.
inline void add_products(__m512i& acc, __m512i x, __m512i y) {
  __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(y));
}

// acc[r][v] += a[r] * b over pairs [0, pairs): `b` holds pairs of V * 16 columns, b_stride bytes
// apart.
template <int R, int V>
inline void accumulate(__m512i (&acc)[R][V],
                       const std::int16_t* a,
                       std::size_t a_stride,
                       const std::int8_t* b,
                       std::size_t b_stride,
                       int pairs) {
  for (int p = 0; p < pairs; ++p, b += b_stride, a += 2) {
    __m512i wide[V];
    for (std::size_t v = 0; v < V; ++v) {
      __m256i raw;
      std::memcpy(&raw, b + 32 * v, sizeof(raw));
      wide[v] = _mm512_cvtepi8_epi16(raw);
    }
    for (int r = 0; r < R; ++r) {
      std::int32_t pair = 0;
      std::memcpy(&pair, a + index(r) * a_stride, sizeof(pair));
      const __m512i x = _mm512_set1_epi32(pair);
      for (int v = 0; v < V; ++v) {
        add_products(acc[r][v], x, wide[v]);
      }
    }
  }
}

template <int R>
void score_rows(const ScoreCall& call, std::size_t row) {
  const std::size_t dims = index(call.dims);
  const std::int16_t* queries = call.queries + row * dims;
  __m512i acc[R][2] = {};
  // Few rows are few chains of dependent sums: the two halves of the head make twice as many.
  constexpr bool kHalves = R <= 4;
  const int pairs = call.dims / 2 / (kHalves ? 2 : 1);
  if constexpr (kHalves) {
    __m512i more[R][2] = {};
    for (int p = 0; p < pairs; ++p) {
      const std::int8_t* keys = call.keys + index(p) * 2 * kPageTokens;
      accumulate<R, 2>(acc, queries + 2 * p, dims, keys, 0, 1);
      accumulate<R, 2>(
          more, queries + 2 * (p + pairs), dims, keys + index(pairs) * 2 * kPageTokens, 0, 1);
    }
    for (int r = 0; r < R; ++r) {
      acc[r][0] = _mm512_add_epi32(acc[r][0], more[r][0]);
      acc[r][1] = _mm512_add_epi32(acc[r][1], more[r][1]);
    }
  } else {
    accumulate<R, 2>(acc, queries, dims, call.keys, 2 * kPageTokens, pairs);
  }
  for (std::size_t r = 0; r < R; ++r) {
    const __m512 scale = _mm512_set1_ps(call.query_scales[row + r]);
    float* out = call.out + (row + r) * call.out_stride;
    for (std::size_t v = 0; v < 2; ++v) {
      const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[r][v]), scale);
      _mm512_storeu_ps(out + 16 * v,
                       _mm512_mul_ps(scaled, _mm512_loadu_ps(call.key_scales + 16 * v)));
    }
  }
}

template <int R, int V>
void gather_columns(const GatherCall& call, std::size_t row, std::size_t d) {
  const std::size_t dims = index(call.dims);
  const std::int16_t* weights = call.weights + row * call.weight_stride;
  __m512i acc[R][V] = {};
  std::int32_t* sums = call.sums + row * dims + d;
  for (std::size_t r = 0; call.keep && r < R; ++r) {
    std::memcpy(acc[r], sums + r * dims, sizeof(acc[r]));
  }
  for (int page = 0; page < call.pages; ++page) {
    accumulate<R, V>(acc,
                     weights + page * kPageTokens,
                     call.weight_stride,
                     call.values[page] + 2 * d,
                     2 * dims,
                     kPageTokens / 2);
  }
  for (std::size_t r = 0; r < R; ++r) {
    std::memcpy(sums + r * dims, acc[r], sizeof(acc[r]));
  }
}

template <int R>
void gather_rows(const GatherCall& call, std::size_t row) {
  const std::size_t dims = index(call.dims);
  std::size_t d = 0;
  for (; d + 64 <= dims; d += 64) {
    gather_columns<R, 4>(call, row, d);
  }
  if (d < dims) {
    gather_columns<R, 2>(call, row, d);
  }
}

// Accumulators of a block and what multiplies them fit the 32 registers.
void score(const ScoreCall& call) {
  using Rows = void (*)(const ScoreCall&, std::size_t);
  static constexpr Rows kRows[] = {score_rows<12>,
                                   score_rows<1>,
                                   score_rows<2>,
                                   score_rows<3>,
                                   score_rows<4>,
                                   score_rows<5>,
                                   score_rows<6>,
                                   score_rows<7>,
                                   score_rows<8>,
                                   score_rows<9>,
                                   score_rows<10>,
                                   score_rows<11>};
  const std::size_t rows = index(call.rows);
  std::size_t row = 0;
  for (; row + 12 <= rows; row += 12) {
    kRows[0](call, row);
  }
  if (row < rows) {
    kRows[rows - row](call, row);
  }
}

void gather(const GatherCall& call) {
  using Rows = void (*)(const GatherCall&, std::size_t);
  static constexpr Rows kRows[] = {gather_rows<6>,
                                   gather_rows<1>,
                                   gather_rows<2>,
                                   gather_rows<3>,
                                   gather_rows<4>,
                                   gather_rows<5>};
  const std::size_t rows = index(call.rows);
  std::size_t row = 0;
  for (; row + 6 <= rows; row += 6) {
    kRows[0](call, row);
  }
  if (row < rows) {
    kRows[rows - row](call, row);
  }
}

// Lanes of the vector at token `t` that lie before `count`.
inline __mmask16 lanes_at(int t, int count) {
  return static_cast<__mmask16>(count - t >= 16 ? 0xFFFFU : (1U << (count - t)) - 1U);
}

WeighResult weigh(const WeighCall& call) {
  __m512 max = _mm512_set1_ps(-__builtin_inff());
  __m512i scale_bits = _mm512_setzero_si512();
  for (int t = 0; t < call.count; t += 16) {
    const __mmask16 lanes = lanes_at(t, call.count);
    const __m512 scores = _mm512_loadu_ps(call.scores + t);
    max = _mm512_mask_max_ps(max, lanes, scores, max);
    const __m512 scales = _mm512_loadu_ps(call.value_scales[t / kPageTokens] + t % kPageTokens);
    scale_bits = _mm512_mask_max_epi32(scale_bits, lanes, scale_bits, _mm512_castps_si512(scales));
  }
  const float top = _mm512_reduce_max_ps(max);
  const std::int32_t bits = _mm512_reduce_max_epi32(scale_bits);
  float largest = 0.0F;
  std::memcpy(&largest, &bits, sizeof(largest));
  const bool none = bits >= kInfinityBits || largest < kTinyMagnitude;
  const __m512 factor = _mm512_set1_ps(none ? 0.0F : kLargestWeight / largest);
  const __m512 shift = _mm512_set1_ps(top);
  __m512 sum = _mm512_setzero_ps();
  int t = 0;
  for (; t < call.count; t += 16) {
    const __mmask16 lanes = lanes_at(t, call.count);
    const __m512 scores = _mm512_loadu_ps(call.scores + t);
    const __m512 e = _mm512_maskz_mov_ps(lanes, exp_sixteen(_mm512_sub_ps(scores, shift)));
    sum = _mm512_add_ps(sum, e);
    const __m512 scales = _mm512_loadu_ps(call.value_scales[t / kPageTokens] + t % kPageTokens);
    const __m512 scaled = _mm512_mul_ps(_mm512_mul_ps(e, scales), factor);
    const __mmask16 useful = none ? __mmask16{0} : lanes;
    const __m256i narrow = _mm512_cvtsepi32_epi16(_mm512_maskz_cvtps_epi32(useful, scaled));
    std::memcpy(call.weights + t, &narrow, sizeof(narrow));
  }
  if (t % kPageTokens != 0) {
    std::memset(call.weights + t, 0, 16 * sizeof(*call.weights));
  }
  const float without = bits >= kInfinityBits ? __builtin_nanf("") : 0.0F;
  return {top, sum_lanes(sum), none ? without : largest / kLargestWeight};
}

}  // namespace

void fill_attention_avx512(AttentionKernels& table) {
  table.score = score;
  table.weigh = weigh;
  table.gather = gather;
}

}  // namespace genesis::kernel
