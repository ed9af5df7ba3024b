// Attention over int8 pages, reference tier: the definition of the result.
#include "kernel/exp_scalar.h"
#include "kernel/tier_tables.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace genesis::kernel {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7F800000U;
constexpr float kLargestWeight = 32767.0F;

std::size_t index(int i) {
  return static_cast<std::size_t>(i);
}

// The bit patterns of non-negative floats order like the floats, with NaN on top.
std::uint32_t largest_bits(const float* x, int count) {
  std::uint32_t largest = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFU;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

// True when codes are of no use: all zero, with the scale then to be given.
bool has_no_codes(std::uint32_t largest) {
  return largest >= kInfinityBits || std::bit_cast<float>(largest) < kTinyMagnitude;
}

float scale_without_codes(std::uint32_t largest) {
  return largest >= kInfinityBits ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
}

void spread(float* x, int count, int block) {
  for (float* part = x; part < x + count; part += block) {
    for (int distance = block / 2; distance > 0; distance /= 2) {
      for (int i = 0; i < block; ++i) {
        if ((i & distance) == 0) {
          const float a = part[i];
          const float b = part[i + distance];
          part[i] = a + b;
          part[i + distance] = a - b;
        }
      }
    }
  }
}

float encode_query(const float* x, int count, int limit, std::int16_t* codes) {
  const std::uint32_t largest = largest_bits(x, count);
  if (has_no_codes(largest)) {
    for (int i = 0; i < count; ++i) {
      codes[i] = 0;
    }
    return scale_without_codes(largest);
  }
  const auto top = static_cast<float>(limit);
  const float inverse = top / std::bit_cast<float>(largest);
  for (int i = 0; i < count; ++i) {
    codes[i] = static_cast<std::int16_t>(std::nearbyint(x[i] * inverse));
  }
  return std::bit_cast<float>(largest) / top;
}

float encode(const float* x, int count, std::int8_t* codes) {
  const std::uint32_t largest = largest_bits(x, count);
  if (has_no_codes(largest)) {
    for (int i = 0; i < count; ++i) {
      codes[i] = 0;
    }
    return scale_without_codes(largest);
  }
  const float amax = std::bit_cast<float>(largest);
  const float inverse = 127.0F / amax;
  std::int32_t squares = 0;
  float lane[8] = {};
  for (int i = 0; i < count; ++i) {
    const float y = x[i] * inverse;
    const float rounded = std::nearbyint(y);
    const auto code = static_cast<std::int32_t>(rounded);
    codes[i] = static_cast<std::int8_t>(code);
    squares += code * code;
    lane[i % 8] = std::fma(y, rounded, lane[i % 8]);
  }
  return (amax / 127.0F) * (sum_lanes(lane) / static_cast<float>(squares));
}

void score(const ScoreCall& call) {
  for (int r = 0; r < call.rows; ++r) {
    const std::int16_t* query = call.queries + index(r) * index(call.dims);
    for (int t = 0; t < kPageTokens; ++t) {
      std::int32_t dot = 0;
      for (int d = 0; d < call.dims; ++d) {
        dot += query[d] * call.keys[(d / 2 * kPageTokens + t) * 2 + d % 2];
      }
      call.out[index(r) * call.out_stride + index(t)] =
          (static_cast<float>(dot) * call.query_scales[r]) * call.key_scales[t];
    }
  }
}

WeighResult weigh(const WeighCall& call) {
  float top = -std::numeric_limits<float>::infinity();
  std::uint32_t largest = 0;
  for (int t = 0; t < call.count; ++t) {
    top = call.scores[t] > top ? call.scores[t] : top;
    const std::uint32_t bits =
        largest_bits(&call.value_scales[t / kPageTokens][t % kPageTokens], 1);
    largest = bits > largest ? bits : largest;
  }
  const bool none = has_no_codes(largest);
  const float factor = none ? 0.0F : kLargestWeight / std::bit_cast<float>(largest);
  float lane[16] = {};
  for (int t = 0; t < (call.count + kPageTokens - 1) / kPageTokens * kPageTokens; ++t) {
    call.weights[t] = 0;
    if (t >= call.count) {
      continue;
    }
    const float e = exp_one(call.scores[t] - top);
    lane[t % 16] += e;
    if (!none) {
      const float scaled = e * call.value_scales[t / kPageTokens][t % kPageTokens];
      call.weights[t] = static_cast<std::int16_t>(std::nearbyint(scaled * factor));
    }
  }
  float half[8];
  for (int i = 0; i < 8; ++i) {
    half[i] = lane[i] + lane[i + 8];
  }
  return {top,
          sum_lanes(half),
          none ? scale_without_codes(largest) : std::bit_cast<float>(largest) / kLargestWeight};
}

void gather(const GatherCall& call) {
  for (int r = 0; r < call.rows; ++r) {
    for (int d = 0; d < call.dims; ++d) {
      std::int32_t& out = call.sums[index(r) * index(call.dims) + index(d)];
      std::int32_t sum = call.keep ? out : 0;
      const std::int16_t* weights = call.weights + index(r) * call.weight_stride;
      for (int page = 0; page < call.pages; ++page) {
        for (int t = 0; t < kPageTokens; ++t) {
          sum += weights[page * kPageTokens + t] *
                 call.values[page][(t / 2 * call.dims + d) * 2 + t % 2];
        }
      }
      out = sum;
    }
  }
}

void settle(const std::int32_t* sums, float scale, int count, float* out) {
  for (int i = 0; i < count; ++i) {
    out[i] = static_cast<float>(sums[i]) * scale;
  }
}

}  // namespace

void fill_attention_scalar(AttentionKernels& table) {
  table = {.spread = spread,
           .encode_query = encode_query,
           .encode = encode,
           .score = score,
           .weigh = weigh,
           .gather = gather,
           .settle = settle};
}

}  // namespace genesis::kernel
