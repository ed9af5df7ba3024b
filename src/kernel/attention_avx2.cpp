// Attention over int8 pages, AVX2 tier. Same restriction on includes as linear_avx2.cpp.
#include "kernel/exp_avx2.h"
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

inline float float_of(std::int32_t bits) {
  float value = 0.0F;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline std::int32_t bits_of(float value) {
  std::int32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

std::int32_t largest_bits(const float* x, int count) {
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < count; i += 8) {
    const __m256i v = _mm256_castps_si256(_mm256_loadu_ps(x + i));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(v, _mm256_set1_epi32(0x7FFFFFFF)));
  }
  return _mm_cvtsi128_si32(_mm256_castsi256_si128(max_lanes(largest)));
}

inline bool has_no_codes(std::int32_t largest) {
  return largest >= kInfinityBits || float_of(largest) < kTinyMagnitude;
}

inline float scale_without_codes(std::int32_t largest) {
  return largest >= kInfinityBits ? __builtin_nanf("") : 0.0F;
}

// Butterflies within a vector: `swapped` has each lane's partner, `upper` marks the lanes that
// subtract.
inline __m256 butterfly(__m256 v, __m256 swapped, __m256 upper) {
  return _mm256_add_ps(swapped, _mm256_xor_ps(v, upper));
}

void spread(float* x, int count, int block) {
  const __m256 minus = _mm256_set1_ps(-0.0F);
  const __m256 upper4 = _mm256_blend_ps(_mm256_setzero_ps(), minus, 0xF0);
  const __m256 upper2 = _mm256_blend_ps(_mm256_setzero_ps(), minus, 0xCC);
  const __m256 upper1 = _mm256_blend_ps(_mm256_setzero_ps(), minus, 0xAA);
  for (float* part = x; part < x + count; part += block) {
    for (int distance = block / 2; distance >= 8; distance /= 2) {
      for (int i = 0; i < block; i += 2 * distance) {
        for (int j = i; j < i + distance; j += 8) {
          const __m256 a = _mm256_loadu_ps(part + j);
          const __m256 b = _mm256_loadu_ps(part + j + distance);
          _mm256_storeu_ps(part + j, _mm256_add_ps(a, b));
          _mm256_storeu_ps(part + j + distance, _mm256_sub_ps(a, b));
        }
      }
    }
    for (int i = 0; i < block; i += 8) {
      __m256 v = _mm256_loadu_ps(part + i);
      v = butterfly(v, _mm256_permute2f128_ps(v, v, 1), upper4);
      v = butterfly(v, _mm256_permute_ps(v, 0x4E), upper2);
      v = butterfly(v, _mm256_permute_ps(v, 0xB1), upper1);
      _mm256_storeu_ps(part + i, v);
    }
  }
}

// Sixteen int32 to int16, in order.
inline __m256i narrow_pair(__m256i low, __m256i high) {
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
}

float encode_query(const float* x, int count, int limit, std::int16_t* codes) {
  const std::int32_t largest = largest_bits(x, count);
  if (has_no_codes(largest)) {
    std::memset(codes, 0, index(count) * sizeof(*codes));
    return scale_without_codes(largest);
  }
  const auto top = static_cast<float>(limit);
  const __m256 inverse = _mm256_set1_ps(top / float_of(largest));
  for (int i = 0; i < count; i += 16) {
    const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse));
    const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i + 8), inverse));
    const __m256i narrow = narrow_pair(low, high);
    std::memcpy(codes + i, &narrow, sizeof(narrow));
  }
  return float_of(largest) / top;
}

float encode(const float* x, int count, std::int8_t* codes) {
  const std::int32_t largest = largest_bits(x, count);
  if (has_no_codes(largest)) {
    std::memset(codes, 0, index(count));
    return scale_without_codes(largest);
  }
  const float amax = float_of(largest);
  const __m256 inverse = _mm256_set1_ps(127.0F / amax);
  __m256i squares = _mm256_setzero_si256();
  __m256 fit = _mm256_setzero_ps();
  for (int i = 0; i < count; i += 16) {
    __m256i whole[2];
    for (int v = 0; v < 2; ++v) {
      const __m256 y = _mm256_mul_ps(_mm256_loadu_ps(x + i + 8 * v), inverse);
      whole[v] = _mm256_cvtps_epi32(y);
      fit = _mm256_fmadd_ps(y, _mm256_cvtepi32_ps(whole[v]), fit);
    }
    const __m256i words = narrow_pair(whole[0], whole[1]);
    squares = _mm256_add_epi32(squares, _mm256_madd_epi16(words, words));
    const __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    std::memcpy(codes + i, &bytes, sizeof(bytes));
  }
  return (amax / 127.0F) * (sum_lanes(fit) / static_cast<float>(sum_lanes_int(squares)));
}

// acc[r][v] += a[r] * b, pair by pair: `b` holds pairs of 16 columns, b_stride bytes apart.
template <int R>
inline void accumulate(__m256i (&acc)[R][2],
                       const std::int16_t* a,
                       std::size_t a_stride,
                       const std::int8_t* b,
                       std::size_t b_stride,
                       int pairs) {
  for (int p = 0; p < pairs; ++p, b += b_stride, a += 2) {
    __m128i raw[2];
    std::memcpy(raw, b, sizeof(raw));
    const __m256i low = _mm256_cvtepi8_epi16(raw[0]);
    const __m256i high = _mm256_cvtepi8_epi16(raw[1]);
    for (int r = 0; r < R; ++r) {
      std::int32_t pair = 0;
      std::memcpy(&pair, a + index(r) * a_stride, sizeof(pair));
      const __m256i x = _mm256_set1_epi32(pair);
      acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(x, low));
      acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(x, high));
    }
  }
}

template <int R>
void score_rows(const ScoreCall& call, std::size_t row) {
  const std::size_t dims = index(call.dims);
  for (std::size_t t = 0; t < kPageTokens; t += 16) {
    __m256i acc[R][2] = {};
    accumulate<R>(
        acc, call.queries + row * dims, dims, call.keys + 2 * t, 2 * kPageTokens, call.dims / 2);
    for (std::size_t r = 0; r < R; ++r) {
      const __m256 scale = _mm256_set1_ps(call.query_scales[row + r]);
      float* out = call.out + (row + r) * call.out_stride + t;
      for (std::size_t v = 0; v < 2; ++v) {
        const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r][v]), scale);
        const __m256 keys = _mm256_loadu_ps(call.key_scales + t + 8 * v);
        _mm256_storeu_ps(out + 8 * v, _mm256_mul_ps(scaled, keys));
      }
    }
  }
}

template <int R>
void gather_rows(const GatherCall& call, std::size_t row) {
  const std::size_t dims = index(call.dims);
  const std::int16_t* weights = call.weights + row * call.weight_stride;
  for (std::size_t d = 0; d < dims; d += 16) {
    __m256i acc[R][2] = {};
    std::int32_t* sums = call.sums + row * dims + d;
    for (std::size_t r = 0; call.keep && r < R; ++r) {
      std::memcpy(acc[r], sums + r * dims, sizeof(acc[r]));
    }
    for (int page = 0; page < call.pages; ++page) {
      accumulate<R>(acc,
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
}

// Blocks of six rows, then what is left as one block: accumulators fit the 16 registers.
void score(const ScoreCall& call) {
  const std::size_t rows = index(call.rows);
  std::size_t row = 0;
  for (; row + 6 <= rows; row += 6) {
    score_rows<6>(call, row);
  }
  switch (rows - row) {
    case 5:
      return score_rows<5>(call, row);
    case 4:
      return score_rows<4>(call, row);
    case 3:
      return score_rows<3>(call, row);
    case 2:
      return score_rows<2>(call, row);
    case 1:
      return score_rows<1>(call, row);
    default:
      return;
  }
}

void gather(const GatherCall& call) {
  const std::size_t rows = index(call.rows);
  std::size_t row = 0;
  for (; row + 6 <= rows; row += 6) {
    gather_rows<6>(call, row);
  }
  switch (rows - row) {
    case 5:
      return gather_rows<5>(call, row);
    case 4:
      return gather_rows<4>(call, row);
    case 3:
      return gather_rows<3>(call, row);
    case 2:
      return gather_rows<2>(call, row);
    case 1:
      return gather_rows<1>(call, row);
    default:
      return;
  }
}

struct Tops {
  float score;
  std::int32_t scale_bits;
};

// The largest score and value scale; pads the scores to a multiple of 16 with -infinity.
Tops tops_of(const WeighCall& call) {
  float* s = call.scores;
  const int padded = (call.count + 15) / 16 * 16;
  for (int t = call.count; t < padded; ++t) {
    s[t] = -__builtin_inff();
  }
  __m256 max = _mm256_set1_ps(-__builtin_inff());
  __m256i scale = _mm256_setzero_si256();
  const int whole = call.count / 8 * 8;
  for (int t = 0; t < whole; t += 8) {
    max = _mm256_max_ps(_mm256_loadu_ps(s + t), max);
    const float* scales = call.value_scales[t / kPageTokens] + t % kPageTokens;
    scale = _mm256_max_epi32(scale, _mm256_castps_si256(_mm256_loadu_ps(scales)));
  }
  alignas(32) float lanes[8];
  _mm256_store_ps(lanes, max);
  Tops tops{lanes[0], _mm_cvtsi128_si32(_mm256_castsi256_si128(max_lanes(scale)))};
  for (const float lane : lanes) {
    tops.score = lane > tops.score ? lane : tops.score;
  }
  for (int t = whole; t < call.count; ++t) {
    tops.score = s[t] > tops.score ? s[t] : tops.score;
    const std::int32_t bits = bits_of(call.value_scales[t / kPageTokens][t % kPageTokens]);
    tops.scale_bits = bits > tops.scale_bits ? bits : tops.scale_bits;
  }
  return tops;
}

WeighResult weigh(const WeighCall& call) {
  const Tops tops = tops_of(call);
  const bool none = has_no_codes(tops.scale_bits);
  const float largest = float_of(tops.scale_bits);
  const __m256 factor = _mm256_set1_ps(none ? 0.0F : kLargestWeight / largest);
  const __m256 useful = _mm256_castsi256_ps(_mm256_set1_epi32(none ? 0 : -1));
  const __m256 shift = _mm256_set1_ps(tops.score);
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  int t = 0;
  for (; t < call.count; t += 16) {
    const float* scales = call.value_scales[t / kPageTokens] + t % kPageTokens;
    __m256i whole[2];
    for (int v = 0; v < 2; ++v) {
      const __m256 e = exp_eight(_mm256_sub_ps(_mm256_loadu_ps(call.scores + t + 8 * v), shift));
      sum[v] = _mm256_add_ps(sum[v], e);
      const __m256 scaled =
          _mm256_mul_ps(_mm256_mul_ps(e, _mm256_loadu_ps(scales + 8 * v)), factor);
      // Slots beyond `count` hold anything, also NaN; there e is zero.
      const __m256 keep = _mm256_and_ps(_mm256_cmp_ps(e, _mm256_setzero_ps(), _CMP_GT_OQ), useful);
      whole[v] = _mm256_and_si256(_mm256_cvtps_epi32(scaled), _mm256_castps_si256(keep));
    }
    const __m256i narrow = narrow_pair(whole[0], whole[1]);
    std::memcpy(call.weights + t, &narrow, sizeof(narrow));
  }
  if (t % kPageTokens != 0) {
    std::memset(call.weights + t, 0, 16 * sizeof(*call.weights));
  }
  return {tops.score,
          sum_lanes(_mm256_add_ps(sum[0], sum[1])),
          none ? scale_without_codes(tops.scale_bits) : largest / kLargestWeight};
}

void settle(const std::int32_t* sums, float scale, int count, float* out) {
  const __m256 factor = _mm256_set1_ps(scale);
  for (int i = 0; i < count; i += 8) {
    __m256i raw;
    std::memcpy(&raw, sums + i, sizeof(raw));
    _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(raw), factor));
  }
}

}  // namespace

void fill_attention_avx2(AttentionKernels& table) {
  table = {.spread = spread,
           .encode_query = encode_query,
           .encode = encode,
           .score = score,
           .weigh = weigh,
           .gather = gather,
           .settle = settle};
}

}  // namespace genesis::kernel
