// Kernels of low-rank adapters: y += B (scale * (A x)) for rows that share an adapter. `shrink`
// gives scale * (A x), `expand` adds B times that to the outputs of the linear layer.
//
// Both matrices lie in blocks of 16 outputs, each [inner][16] values, binary16 or float, so that a
// vector of outputs is one load and no sum crosses lanes: the sequences below are the same in every
// tier, and no row's result depends on the other rows of a call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace genesis::kernel {

inline constexpr int kAdapterBlock = 16;

// out[r][j] = ((c0 + c1) + (c2 + c3)) * scale for j < ranks, where ci is an fma chain over the
// inputs k = i mod 4 in rising order, from +0. `a` is [ranks / 16][inputs][16]; ranks is a multiple
// of 16, inputs of 4. Row r of x starts at r * inputs.
struct ShrinkCall {
  const float* x = nullptr;
  int rows = 0;
  int inputs = 0;
  const void* a = nullptr;
  bool half = false;
  int ranks = 0;
  float scale = 0.0F;
  float* const* out = nullptr;  // one pointer for each row
};

// y[r][n] = an fma chain over d < rank of low[r][d] * b[n][d], from y[r][n], for the outputs of
// panels [panel_begin, panel_end); outputs past the matrix are neither read nor written. Row i of
// the call is row rows[i] of the step: its low values start at low + rows[i] * low_stride, its
// outputs at out + (rows[i] - first_row) * out_stride.
struct ExpandCall {
  const float* low = nullptr;
  std::size_t low_stride = 0;
  const std::int32_t* rows = nullptr;
  int count = 0;
  std::int32_t first_row = 0;
  const void* b = nullptr;  // [panels of 16 outputs][rank][16]
  bool half = false;
  int rank = 0;
  int outputs = 0;
  int panel_begin = 0;
  int panel_end = 0;
  float* out = nullptr;
  std::size_t out_stride = 0;
};

// x[i] = scales[i / 32] * float(codes[i]), with `add` x[i] + that. `count` is a multiple of 32.
struct DecodeCall {
  const std::int8_t* codes = nullptr;
  const float* scales = nullptr;
  int count = 0;
  float* x = nullptr;
  bool add = false;
};

struct AdapterKernels {
  void (*shrink)(const ShrinkCall& call);
  void (*expand)(const ExpandCall& call);
  void (*decode)(const DecodeCall& call);
};

}  // namespace genesis::kernel
