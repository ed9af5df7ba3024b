// Low-rank adapters, AVX2 tier. Same restriction on includes as linear_avx2.cpp.
#include "kernel/layout.h"
#include "kernel/tier_tables.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

inline std::size_t index(int i) {
  return static_cast<std::size_t>(i);
}

template <bool kHalf>
inline __m256 load_eight(const void* matrix, std::size_t at) {
  if constexpr (kHalf) {
    __m128i raw;
    std::memcpy(&raw, static_cast<const std::uint16_t*>(matrix) + at, sizeof(raw));
    return _mm256_cvtph_ps(raw);
  } else {
    return _mm256_loadu_ps(static_cast<const float*>(matrix) + at);
  }
}

// One row and one block of sixteen ranks: four chains of two vectors.
template <bool kHalf>
void shrink_block(const ShrinkCall& call, const float* x, std::size_t block, float* out) {
  __m256 acc[4][2];
  for (auto& chain : acc) {
    chain[0] = _mm256_setzero_ps();
    chain[1] = _mm256_setzero_ps();
  }
  for (std::size_t k = 0; k < index(call.inputs); k += 4) {
    // A row alone streams its matrix from memory.
    constexpr std::size_t kAhead = 2048;
    constexpr std::size_t kValue = kHalf ? 2 : 4;
    const char* next =
        static_cast<const char*>(call.a) + (block + k * kAdapterBlock) * kValue + kAhead;
    for (std::size_t line = 0; line < 4 * kAdapterBlock * kValue; line += 64) {
      _mm_prefetch(next + line, _MM_HINT_T0);
    }
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t at = block + (k + i) * kAdapterBlock;
      const __m256 value = _mm256_broadcast_ss(x + k + i);
      acc[i][0] = _mm256_fmadd_ps(value, load_eight<kHalf>(call.a, at), acc[i][0]);
      acc[i][1] = _mm256_fmadd_ps(value, load_eight<kHalf>(call.a, at + 8), acc[i][1]);
    }
  }
  const __m256 scale = _mm256_set1_ps(call.scale);
  for (int v = 0; v < 2; ++v) {
    const __m256 sum =
        _mm256_add_ps(_mm256_add_ps(acc[0][v], acc[1][v]), _mm256_add_ps(acc[2][v], acc[3][v]));
    _mm256_storeu_ps(out + 8 * v, _mm256_mul_ps(sum, scale));
  }
}

template <bool kHalf>
void shrink_all(const ShrinkCall& call) {
  for (std::size_t j = 0; j < index(call.ranks); j += kAdapterBlock) {
    const std::size_t block = j * index(call.inputs);
    for (std::size_t r = 0; r < index(call.rows); ++r) {
      shrink_block<kHalf>(call, call.x + r * index(call.inputs), block, call.out[r] + j);
    }
  }
}

void shrink(const ShrinkCall& call) {
  if (call.half) {
    shrink_all<true>(call);
  } else {
    shrink_all<false>(call);
  }
}

// P neighbouring panels of one row; each vector of eight outputs is a chain of its own.
template <int P, bool kHalf>
inline void expand_block(const void* b, std::size_t rank, const float* low, float* out) {
  __m256 acc[P][2];
  for (std::size_t p = 0; p < P; ++p) {
    acc[p][0] = _mm256_loadu_ps(out + p * kAdapterBlock);
    acc[p][1] = _mm256_loadu_ps(out + p * kAdapterBlock + 8);
  }
  for (std::size_t d = 0; d < rank; ++d) {
    const __m256 x = _mm256_broadcast_ss(low + d);
    for (std::size_t p = 0; p < P; ++p) {
      const std::size_t at = (p * rank + d) * kAdapterBlock;
      acc[p][0] = _mm256_fmadd_ps(x, load_eight<kHalf>(b, at), acc[p][0]);
      acc[p][1] = _mm256_fmadd_ps(x, load_eight<kHalf>(b, at + 8), acc[p][1]);
    }
  }
  for (std::size_t p = 0; p < P; ++p) {
    _mm256_storeu_ps(out + p * kAdapterBlock, acc[p][0]);
    _mm256_storeu_ps(out + p * kAdapterBlock + 8, acc[p][1]);
  }
}

template <bool kHalf>
inline const void* panel_at(const ExpandCall& call, int panel) {
  const std::size_t bytes = index(call.rank) * kAdapterBlock * (kHalf ? 2 : 4);
  return static_cast<const char*>(call.b) + index(panel) * bytes;
}

template <bool kHalf>
void expand_row(const ExpandCall& call, std::int32_t row) {
  const std::size_t rank = index(call.rank);
  const float* low = call.low + index(row) * call.low_stride;
  float* out = call.out + index(row - call.first_row) * call.out_stride;
  const int whole = call.outputs / kAdapterBlock;
  const int end = call.panel_end < whole ? call.panel_end : whole;
  int panel = call.panel_begin;
  for (; panel + 4 <= end; panel += 4, out += 4 * kAdapterBlock) {
    expand_block<4, kHalf>(panel_at<kHalf>(call, panel), rank, low, out);
  }
  for (; panel < end; ++panel, out += kAdapterBlock) {
    expand_block<1, kHalf>(panel_at<kHalf>(call, panel), rank, low, out);
  }
  if (panel < call.panel_end) {
    float edge[kAdapterBlock] = {};
    const std::size_t bytes = index(call.outputs % kAdapterBlock) * sizeof(float);
    std::memcpy(edge, out, bytes);
    expand_block<1, kHalf>(panel_at<kHalf>(call, panel), rank, low, edge);
    std::memcpy(out, edge, bytes);
  }
}

void expand(const ExpandCall& call) {
  for (int i = 0; i < call.count; ++i) {
    if (call.half) {
      expand_row<true>(call, call.rows[i]);
    } else {
      expand_row<false>(call, call.rows[i]);
    }
  }
}

void decode(const DecodeCall& call) {
  for (int i = 0; i < call.count; i += 8) {
    const __m256 scale = _mm256_broadcast_ss(call.scales + i / kGroup);
    std::int64_t raw = 0;
    std::memcpy(&raw, call.codes + i, sizeof(raw));
    const __m256i wide = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128(raw));
    const __m256 value = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(wide));
    float* x = call.x + i;
    _mm256_storeu_ps(x, call.add ? _mm256_add_ps(_mm256_loadu_ps(x), value) : value);
  }
}

}  // namespace

void fill_adapter_avx2(AdapterKernels& table) {
  table.shrink = shrink;
  table.expand = expand;
  table.decode = decode;
}

}  // namespace genesis::kernel
