// What the AVX-512 and the AMX files of the linear layers share. In an unnamed namespace, since
// each of them is compiled for another processor and must share no inline code with the others.
#pragma once

#include "kernel/kernels.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

namespace genesis::kernel {
namespace {

inline __m512 load_halves(const std::uint16_t* p) {
  __m256i raw;
  std::memcpy(&raw, p, sizeof(raw));
  return _mm512_cvtph_ps(raw);
}

// The sums of R rows from `row` on of one panel; outputs past the matrix are not written.
template <std::size_t R>
void store_rows(const LinearCall& call, int panel, int row, const __m512 (&acc)[R]) {
  const int n = panel * kPanelOutputs;
  const int left = call.weights.outputs - n;
  const int valid = left < kPanelOutputs ? left : kPanelOutputs;
  const auto lanes = static_cast<__mmask16>((1U << static_cast<unsigned>(valid)) - 1U);
  for (std::size_t r = 0; r < R; ++r) {
    float* out = call.out + (static_cast<std::size_t>(row) + r) * call.out_stride +
                 static_cast<std::size_t>(n - call.panel_begin * kPanelOutputs);
    const __m512 before = call.add ? _mm512_maskz_loadu_ps(lanes, out) : _mm512_setzero_ps();
    _mm512_mask_storeu_ps(out, lanes, call.add ? _mm512_add_ps(before, acc[r]) : acc[r]);
  }
}

}  // namespace
}  // namespace genesis::kernel
