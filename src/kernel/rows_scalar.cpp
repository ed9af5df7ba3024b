// Everything but the linear layers, reference tier: the definition of the result.
#include "kernel/exp_scalar.h"
#include "kernel/half.h"
#include "kernel/tier_tables.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace genesis::kernel {
namespace {

void quantize_group(
    const float* x, std::int8_t* codes, float* scale, std::int32_t* total, float* sum) {
  // The bit patterns of non-negative floats order like the floats, with NaN on top.
  std::uint32_t largest = 0;
  for (int i = 0; i < kGroup; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFU;
    largest = bits > largest ? bits : largest;
  }
  const float amax = std::bit_cast<float>(largest);
  if (largest >= 0x7F800000U || amax < kTinyMagnitude) {
    for (int i = 0; i < kGroup; ++i) {
      codes[i] = 0;
    }
    *scale = amax < kTinyMagnitude ? 0.0F : std::numeric_limits<float>::quiet_NaN();
    *sum = *scale;
    *total = 0;
    return;
  }
  const float inverse = 127.0F / amax;
  *total = 0;
  std::int32_t squares = 0;
  float lane[8] = {};
  for (int i = 0; i < kGroup; ++i) {
    const float y = x[i] * inverse;
    const float rounded = std::nearbyint(y);
    const auto code = static_cast<std::int32_t>(rounded);
    codes[i] = static_cast<std::int8_t>(code);
    *total += code;
    squares += code * code;
    lane[i % 8] = std::fma(y, rounded, lane[i % 8]);
  }
  *scale = (amax / 127.0F) * (sum_lanes(lane) / static_cast<float>(squares));
  *sum = *scale * static_cast<float>(*total);
}

void quantize(const float* x, int count, const QuantizedRows& out) {
  for (int g = 0; g < count / kGroup; ++g) {
    quantize_group(
        x + g * kGroup, out.codes + g * kGroup, out.scales + g, out.totals + g, out.sums + g);
  }
}

void rms_norm(const float* x, const float* weight, float eps, int count, float* out) {
  float lane[8] = {};
  for (int i = 0; i < count; ++i) {
    lane[i % 8] = std::fma(x[i], x[i], lane[i % 8]);
  }
  const float mean = sum_lanes(lane) / static_cast<float>(count);
  const float inverse = 1.0F / std::sqrt(mean + eps);
  for (int i = 0; i < count; ++i) {
    out[i] = (x[i] * inverse) * weight[i];
  }
}

void rotate(float* x, const float* cos, const float* sin, int half) {
  for (int i = 0; i < half; ++i) {
    const float a = x[i];
    const float b = x[i + half];
    x[i] = std::fma(a, cos[i], -(b * sin[i]));
    x[i + half] = std::fma(b, cos[i], a * sin[i]);
  }
}

void silu_mul(const float* gate, const float* up, int count, float* out) {
  for (int i = 0; i < count; ++i) {
    out[i] = (gate[i] / (1.0F + exp_one(-gate[i]))) * up[i];
  }
}

void gelu_mul(const float* gate, const float* up, int count, float* out) {
  for (int i = 0; i < count; ++i) {
    const float g = gate[i];
    const float inner = std::fma(kGeluCubic, (g * g) * g, g);
    out[i] = (g / (1.0F + exp_one(kGeluSlope * inner))) * up[i];
  }
}

void softcap(float* x, int count, float scale, float cap) {
  for (int i = 0; i < count; ++i) {
    x[i] = tanh_one((x[i] * scale) / cap) * cap;
  }
}

void mix(const MixCall& call) {
  const auto* halves = static_cast<const std::uint16_t*>(call.b);
  const auto* floats = static_cast<const float*>(call.b);
  for (std::size_t r = 0; r < static_cast<std::size_t>(call.rows); ++r) {
    float* c = call.c + r * call.c_stride;
    for (std::size_t j = 0; j < static_cast<std::size_t>(call.columns); ++j) {
      float acc = call.keep ? c[j] : 0.0F;
      for (std::size_t d = 0; d < static_cast<std::size_t>(call.depth); ++d) {
        const std::size_t at = d * call.b_stride + j;
        const float b = call.b_is_half ? half_to_float(halves[at]) : floats[at];
        acc = std::fma(call.a[r * call.a_stride + d], b, acc);
      }
      c[j] = acc;
    }
  }
}

SoftmaxPart softmax(float* s, int count, float scale) {
  float max = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < count; ++i) {
    s[i] *= scale;
    max = s[i] > max ? s[i] : max;
  }
  float lane[8] = {};
  for (int i = 0; i < count; ++i) {
    s[i] = exp_one(s[i] - max);
    lane[i % 8] += s[i];
  }
  return {max, sum_lanes(lane)};
}

void merge(float* acc, float keep, const float* part, float take, int count) {
  for (int i = 0; i < count; ++i) {
    acc[i] = std::fma(acc[i], keep, part[i] * take);
  }
}

void scale(float* x, float by, int count) {
  for (int i = 0; i < count; ++i) {
    x[i] *= by;
  }
}

void exp(const float* x, int count, float* out) {
  for (int i = 0; i < count; ++i) {
    out[i] = exp_one(x[i]);
  }
}

void narrow(const float* x, int count, std::uint16_t* halves) {
  for (int i = 0; i < count; ++i) {
    halves[i] = float_to_half(x[i]);
  }
}

void widen(const std::uint16_t* halves, int count, float* x) {
  for (int i = 0; i < count; ++i) {
    x[i] = half_to_float(halves[i]);
  }
}

}  // namespace

void fill_rows_scalar(Kernels& table) {
  table.quantize = quantize;
  table.rms_norm = rms_norm;
  table.rotate = rotate;
  table.silu_mul = silu_mul;
  table.gelu_mul = gelu_mul;
  table.softcap = softcap;
  table.mix = mix;
  table.softmax = softmax;
  table.merge = merge;
  table.scale = scale;
  table.exp = exp;
  table.narrow = narrow;
  table.widen = widen;
}

}  // namespace genesis::kernel
