// Linear layers, reference tier: the definition of the result, written to be read.
#include "kernel/half.h"
#include "kernel/tier_tables.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace genesis::kernel {
namespace {

std::int32_t group_dot(Format format, const std::uint8_t* group, const std::int8_t* x, int c) {
  std::int32_t dot = 0;
  for (int k = 0; k < kGroup; ++k) {
    const std::int32_t code = format == Format::kQ4
                                  ? (group[q4_byte(c, k)] >> q4_shift(k)) & 15
                                  : static_cast<std::int8_t>(group[q8_byte(c, k)]);
    dot += code * x[k];
  }
  return dot;
}

float quantized_output(const LinearCall& call, int row, int panel, int c) {
  const Panels& w = call.weights;
  const bool q4 = w.format == Format::kQ4;
  const std::size_t group_bytes = q4 ? kQ4GroupBytes : kQ8GroupBytes;
  const auto groups = static_cast<std::size_t>(w.groups());
  const std::size_t first = static_cast<std::size_t>(panel) * groups;
  const std::size_t x_first = static_cast<std::size_t>(row) * groups;
  float acc = 0.0F;
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t at = (first + g) * kPanelOutputs + static_cast<std::size_t>(c);
    const std::int32_t dot = group_dot(
        w.format, w.codes + (first + g) * group_bytes, call.x.codes + (x_first + g) * kGroup, c);
    const float factor = half_to_float(w.scales[at]) * call.x.scales[x_first + g];
    acc = std::fma(factor, static_cast<float>(dot), acc);
    if (q4) {
      acc = std::fma(half_to_float(w.mins[at]), call.x.sums[x_first + g], acc);
    }
  }
  return acc;
}

float float_output(const LinearCall& call, int row, int panel, int c) {
  const auto inputs = static_cast<std::size_t>(call.weights.inputs);
  const float* w =
      call.weights.values + static_cast<std::size_t>(panel) * inputs * kPanelOutputs + c;
  const float* x = call.x.values + static_cast<std::size_t>(row) * inputs;
  float acc = 0.0F;
  for (std::size_t begin = 0; begin < inputs; begin += kGroup) {
    float group = 0.0F;
    for (std::size_t k = begin; k < begin + kGroup; ++k) {
      group = std::fma(x[k], w[k * kPanelOutputs], group);
    }
    acc += group;
  }
  return acc;
}

}  // namespace

void linear_scalar(const LinearCall& call) {
  const bool floats = call.weights.format == Format::kF32;
  for (int panel = call.panel_begin; panel < call.panel_end; ++panel) {
    for (int row = 0; row < call.rows; ++row) {
      for (int c = 0; c < kPanelOutputs; ++c) {
        const int n = panel * kPanelOutputs + c;
        if (n >= call.weights.outputs) {
          break;
        }
        const float y =
            floats ? float_output(call, row, panel, c) : quantized_output(call, row, panel, c);
        float& out = call.out[static_cast<std::size_t>(row) * call.out_stride +
                              static_cast<std::size_t>(n - call.panel_begin * kPanelOutputs)];
        out = call.add ? out + y : y;
      }
    }
  }
}

}  // namespace genesis::kernel
