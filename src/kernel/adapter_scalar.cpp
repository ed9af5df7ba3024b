// Low-rank adapters, reference tier: the definition of the result.
#include "kernel/half.h"
#include "kernel/layout.h"
#include "kernel/tier_tables.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace genesis::kernel {
namespace {

float value_at(const void* matrix, bool half, std::size_t at) {
  return half ? half_to_float(static_cast<const std::uint16_t*>(matrix)[at])
              : static_cast<const float*>(matrix)[at];
}

std::size_t index(int i) {
  return static_cast<std::size_t>(i);
}

void shrink(const ShrinkCall& call) {
  const std::size_t inputs = index(call.inputs);
  for (std::size_t r = 0; r < index(call.rows); ++r) {
    const float* x = call.x + r * inputs;
    for (std::size_t j = 0; j < index(call.ranks); ++j) {
      const std::size_t block = j / kAdapterBlock * inputs * kAdapterBlock + j % kAdapterBlock;
      float chain[4] = {};
      for (std::size_t k = 0; k < inputs; ++k) {
        const float a = value_at(call.a, call.half, block + k * kAdapterBlock);
        chain[k % 4] = std::fma(x[k], a, chain[k % 4]);
      }
      call.out[r][j] = ((chain[0] + chain[1]) + (chain[2] + chain[3])) * call.scale;
    }
  }
}

void expand(const ExpandCall& call) {
  const std::size_t rank = index(call.rank);
  const int begin = call.panel_begin * kAdapterBlock;
  const int end = std::min(call.panel_end * kAdapterBlock, call.outputs);
  for (int i = 0; i < call.count; ++i) {
    const std::int32_t row = call.rows[i];
    const float* low = call.low + index(row) * call.low_stride;
    float* out = call.out + index(row - call.first_row) * call.out_stride;
    for (int n = begin; n < end; ++n) {
      const std::size_t block =
          index(n / kAdapterBlock) * rank * kAdapterBlock + index(n % kAdapterBlock);
      float y = out[n - begin];
      for (std::size_t d = 0; d < rank; ++d) {
        y = std::fma(low[d], value_at(call.b, call.half, block + d * kAdapterBlock), y);
      }
      out[n - begin] = y;
    }
  }
}

void decode(const DecodeCall& call) {
  for (int i = 0; i < call.count; ++i) {
    const float value = call.scales[i / kGroup] * static_cast<float>(call.codes[i]);
    call.x[i] = call.add ? call.x[i] + value : value;
  }
}

}  // namespace

void fill_adapter_scalar(AdapterKernels& table) {
  table = {.shrink = shrink, .expand = expand, .decode = decode};
}

}  // namespace genesis::kernel
