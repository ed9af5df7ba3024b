// Low-rank adapters, AVX-512 tier; decoding is the AVX2 tier's. Same restriction on includes as
// linear_avx2.cpp.
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
inline __m512 load_sixteen(const void* matrix, std::size_t at) {
  if constexpr (kHalf) {
    __m256i raw;
    std::memcpy(&raw, static_cast<const std::uint16_t*>(matrix) + at, sizeof(raw));
    return _mm512_cvtph_ps(raw);
  } else {
    return _mm512_loadu_ps(static_cast<const float*>(matrix) + at);
  }
}

// A row alone streams its matrix from memory: the lines that are needed kAhead bytes later.
template <bool kHalf>
inline void prefetch(const void* matrix, std::size_t at) {
  constexpr std::size_t kAhead = 2048;
  const char* p = static_cast<const char*>(matrix) + at * (kHalf ? 2 : 4) + kAhead;
  constexpr std::size_t kBytes = 4 * kAdapterBlock * (kHalf ? 2 : 4);
  for (std::size_t line = 0; line < kBytes; line += 64) {
    _mm_prefetch(p + line, _MM_HINT_T0);
  }
}

// R rows and one block of sixteen ranks: four chains a row.
template <int R, bool kHalf>
void shrink_block(const ShrinkCall& call, std::size_t row, std::size_t j) {
  const std::size_t inputs = index(call.inputs);
  const std::size_t block = j * inputs;
  const float* x = call.x + row * inputs;
  __m512 acc[R][4];
  for (auto& chains : acc) {
    for (__m512& chain : chains) {
      chain = _mm512_setzero_ps();
    }
  }
  for (std::size_t k = 0; k < inputs; k += 4) {
    if constexpr (R == 1) {
      prefetch<kHalf>(call.a, block + k * kAdapterBlock);
    }
#pragma clang loop unroll(full)
    for (std::size_t i = 0; i < 4; ++i) {
      const __m512 a = load_sixteen<kHalf>(call.a, block + (k + i) * kAdapterBlock);
      for (std::size_t r = 0; r < R; ++r) {
        acc[r][i] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * inputs + k + i]), a, acc[r][i]);
      }
    }
  }
  const __m512 scale = _mm512_set1_ps(call.scale);
  for (std::size_t r = 0; r < R; ++r) {
    const __m512 sum =
        _mm512_add_ps(_mm512_add_ps(acc[r][0], acc[r][1]), _mm512_add_ps(acc[r][2], acc[r][3]));
    _mm512_storeu_ps(call.out[row + r] + j, _mm512_mul_ps(sum, scale));
  }
}

template <bool kHalf>
void shrink_all(const ShrinkCall& call) {
  const std::size_t rows = index(call.rows);
  for (std::size_t j = 0; j < index(call.ranks); j += kAdapterBlock) {
    std::size_t row = 0;
    for (; row + 4 <= rows; row += 4) {
      shrink_block<4, kHalf>(call, row, j);
    }
    for (; row < rows; ++row) {
      shrink_block<1, kHalf>(call, row, j);
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

// R rows by P neighbouring panels; `edge` keeps the outputs that exist.
template <int R, int P, bool kHalf>
inline void expand_block(const ExpandCall& call, int first, int panel, __mmask16 edge) {
  const std::size_t rank = index(call.rank);
  const std::size_t column = index(panel - call.panel_begin) * kAdapterBlock;
  const std::size_t matrix = index(panel) * rank * kAdapterBlock;
  const float* low[R];
  float* out[R];
  __m512 acc[R][P];
  for (int r = 0; r < R; ++r) {
    const std::int32_t row = call.rows[first + r];
    low[r] = call.low + index(row) * call.low_stride;
    out[r] = call.out + index(row - call.first_row) * call.out_stride + column;
    for (std::size_t p = 0; p < P; ++p) {
      acc[r][p] = _mm512_maskz_loadu_ps(edge, out[r] + p * kAdapterBlock);
    }
  }
  for (std::size_t d = 0; d < rank; ++d) {
    for (std::size_t p = 0; p < P; ++p) {
      const __m512 b = load_sixteen<kHalf>(call.b, matrix + (p * rank + d) * kAdapterBlock);
      for (int r = 0; r < R; ++r) {
        acc[r][p] = _mm512_fmadd_ps(_mm512_set1_ps(low[r][d]), b, acc[r][p]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (std::size_t p = 0; p < P; ++p) {
      _mm512_mask_storeu_ps(out[r] + p * kAdapterBlock, edge, acc[r][p]);
    }
  }
}

template <int R, bool kHalf>
void expand_rows(const ExpandCall& call, int first) {
  constexpr __mmask16 kAll = 0xFFFF;
  const int whole = call.outputs / kAdapterBlock;
  const int end = call.panel_end < whole ? call.panel_end : whole;
  int panel = call.panel_begin;
  for (; panel + 4 <= end; panel += 4) {
    expand_block<R, 4, kHalf>(call, first, panel, kAll);
  }
  for (; panel < end; ++panel) {
    expand_block<R, 1, kHalf>(call, first, panel, kAll);
  }
  if (panel < call.panel_end) {
    const auto edge = static_cast<__mmask16>((1U << (call.outputs % kAdapterBlock)) - 1U);
    expand_block<R, 1, kHalf>(call, first, panel, edge);
  }
}

template <bool kHalf>
void expand_all(const ExpandCall& call) {
  int first = 0;
  for (; first + 4 <= call.count; first += 4) {
    expand_rows<4, kHalf>(call, first);
  }
  for (; first < call.count; ++first) {
    expand_rows<1, kHalf>(call, first);
  }
}

void expand(const ExpandCall& call) {
  if (call.half) {
    expand_all<true>(call);
  } else {
    expand_all<false>(call);
  }
}

}  // namespace

void fill_adapter_avx512(AdapterKernels& table) {
  table.shrink = shrink;
  table.expand = expand;
}

}  // namespace genesis::kernel
