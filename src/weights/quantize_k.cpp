// Quantizers of the formats with 256 values a block and scales of scales: Q4_K and Q6_K. Layouts as
// in dequantize.cpp (ggml-common.h, block_q4_K and block_q6_K). The format leaves open how scales
// are found. Here: for each group a few steps around the plain one are tried; for the codes each
// gives, the best scale (and minimum) is the least-squares solution; the smallest squared error
// wins. After the scales are rounded to their six or eight bits, the codes are chosen again.
#include "weights/quantize_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace genesis::weights {

namespace {

constexpr std::size_t kSuperBlock = 256;
constexpr int kTrials = 16;

constexpr std::size_t kQ4Group = 32;
constexpr std::size_t kQ4Groups = kSuperBlock / kQ4Group;
constexpr float kQ4Codes = 15.0F;

constexpr std::size_t kQ6Group = 16;
constexpr std::size_t kQ6Groups = kSuperBlock / kQ6Group;

// x = scale q - minimum; both are at least 0.
struct Line {
  float scale = 0;
  float minimum = 0;
};

// Of the functions that take sums, the sums may be in any order, which lets them be vectors; only
// of those: the trick of round_fast() and a search for the largest would not survive it.
struct Sums {
  float q = 0;
  float qq = 0;
  float qx = 0;
};

// Adding and taking away 1.5 2^23 rounds a float of moderate size to an integer, ties to even, in
// two instructions that vectorize.
float round_fast(float value) {
  constexpr float kMagic = 12582912.0F;
  return (value + kMagic) - kMagic;
}

template <std::size_t N>
Sums sums_of(const std::array<float, N>& q, const float* x) {
#pragma clang fp reassociate(on)
  Sums sums;
  for (std::size_t i = 0; i < N; ++i) {
    sums.q += q[i];
    sums.qq += q[i] * q[i];
    sums.qx += q[i] * x[i];
  }
  return sums;
}

template <std::size_t N>
float sum_of_squares(const std::array<float, N>& values) {
#pragma clang fp reassociate(on)
  float sum = 0.0F;
  for (const float value : values) {
    sum += value * value;
  }
  return sum;
}

Sums code_sums(const float* x, float lowest, float inverse) {
  std::array<float, kQ4Group> q{};
  for (std::size_t i = 0; i < kQ4Group; ++i) {
    q[i] = std::clamp(round_fast((x[i] - lowest) * inverse), 0.0F, kQ4Codes);
  }
  return sums_of(q, x);
}

Line fit_line(const float* x) {
  float lowest = 0.0F;
  float highest = x[0];
  float sum = 0.0F;
  for (std::size_t i = 0; i < kQ4Group; ++i) {
    lowest = std::min(lowest, x[i]);
    highest = std::max(highest, x[i]);
    sum += x[i];
  }
  if (!(highest > lowest)) {
    return {.scale = 0.0F, .minimum = -lowest};
  }
  constexpr auto n = static_cast<float>(kQ4Group);
  Line best{.scale = (highest - lowest) / kQ4Codes, .minimum = -lowest};
  // Squared error less the constant sum of x squared.
  float least = INFINITY;
  for (int trial = 0; trial < kTrials; ++trial) {
    const float codes = kQ4Codes - 1.5F + 3.0F * static_cast<float>(trial) / (kTrials - 1);
    const Sums sums = code_sums(x, lowest, codes / (highest - lowest));
    const float determinant = n * sums.qq - sums.q * sums.q;
    if (!(determinant > 0.0F)) {
      continue;
    }
    float scale = (n * sums.qx - sums.q * sum) / determinant;
    float offset = (sum - scale * sums.q) / n;
    if (offset > 0.0F) {
      offset = 0.0F;
      scale = sums.qx / sums.qq;
    }
    const float error = scale * scale * sums.qq + n * offset * offset +
                        2.0F * scale * offset * sums.q - 2.0F * scale * sums.qx -
                        2.0F * offset * sum;
    if (scale > 0.0F && error < least) {
      least = error;
      best = {.scale = scale, .minimum = -offset};
    }
  }
  return best;
}

// Six-bit scale and minimum of each group into twelve bytes, as unpack_scale() reads them.
void pack_scales(std::span<const std::uint8_t, kQ4Groups> scales,
                 std::span<const std::uint8_t, kQ4Groups> minima,
                 std::uint8_t* out) {
  for (std::size_t j = 0; j < 4; ++j) {
    out[j] = static_cast<std::uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
    out[j + 4] = static_cast<std::uint8_t>(minima[j] | ((minima[j + 4] >> 4) << 6));
    out[j + 8] = static_cast<std::uint8_t>((scales[j + 4] & 15) | ((minima[j + 4] & 15) << 4));
  }
}

std::uint8_t six_bits(float value, float unit) {
  return unit > 0.0F ? static_cast<std::uint8_t>(std::clamp(std::round(value / unit), 0.0F, 63.0F))
                     : std::uint8_t{0};
}

float squared_error(const float* x, float scale, float minimum) {
  const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
  std::array<float, kQ4Group> rest{};
  for (std::size_t i = 0; i < kQ4Group; ++i) {
    const float q = std::clamp(round_fast((x[i] + minimum) * inverse), 0.0F, kQ4Codes);
    rest[i] = scale * q - minimum - x[i];
  }
  return sum_of_squares(rest);
}

// Of the roundings of a group's scale and minimum next to the plain ones, those of least error.
void refine(const float* x, float d, float dmin, std::uint8_t& scale, std::uint8_t& minimum) {
  const int s = scale;
  const int m = minimum;
  float least = INFINITY;
  for (int ds = -1; ds <= 1; ++ds) {
    for (int dm = -1; dm <= 1; ++dm) {
      const int a = std::clamp(s + ds, 0, 63);
      const int b = std::clamp(m + dm, 0, 63);
      const float error = squared_error(x, d * static_cast<float>(a), dmin * static_cast<float>(b));
      if (error < least) {
        least = error;
        scale = static_cast<std::uint8_t>(a);
        minimum = static_cast<std::uint8_t>(b);
      }
    }
  }
}

// Scale of x = scale q with q from -32 to 31.
float fit_scale(const float* x) {
  const float largest = peak_of(std::span<const float, kQ6Group>(x, kQ6Group));
  if (largest == 0.0F) {
    return 0.0F;
  }
  float best = largest / -32.0F;
  float most = -INFINITY;  // how much of the sum of squares the scale explains
  for (int trial = 0; trial < kTrials; ++trial) {
    const float codes = -32.0F - 1.0F + 2.0F * static_cast<float>(trial) / (kTrials - 1);
    const float inverse = codes / largest;
    std::array<float, kQ6Group> q{};
    for (std::size_t i = 0; i < kQ6Group; ++i) {
      q[i] = std::clamp(round_fast(x[i] * inverse), -32.0F, 31.0F);
    }
    const Sums sums = sums_of(q, x);
    if (sums.qq > 0.0F && sums.qx * sums.qx / sums.qq > most) {
      most = sums.qx * sums.qx / sums.qq;
      best = sums.qx / sums.qq;
    }
  }
  return best;
}

}  // namespace

void quantize_q4_k(const float* values, std::uint8_t* block) {
  std::array<Line, kQ4Groups> lines;
  Line most;
  for (std::size_t g = 0; g < kQ4Groups; ++g) {
    lines[g] = fit_line(values + g * kQ4Group);
    most.scale = std::max(most.scale, lines[g].scale);
    most.minimum = std::max(most.minimum, lines[g].minimum);
  }
  const float d = store_half(most.scale / 63.0F, block);
  const float dmin = store_half(most.minimum / 63.0F, block + 2);
  std::array<std::uint8_t, kQ4Groups> scales{};
  std::array<std::uint8_t, kQ4Groups> minima{};
  std::uint8_t* quants = block + 16;
  std::fill_n(quants, kSuperBlock / 2, std::uint8_t{0});
  for (std::size_t g = 0; g < kQ4Groups; ++g) {
    const float* x = values + g * kQ4Group;
    scales[g] = six_bits(lines[g].scale, d);
    minima[g] = six_bits(lines[g].minimum, dmin);
    refine(x, d, dmin, scales[g], minima[g]);
    const float scale = d * static_cast<float>(scales[g]);
    const float minimum = dmin * static_cast<float>(minima[g]);
    const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    for (std::size_t i = 0; i < kQ4Group; ++i) {
      const float q = std::clamp(round_fast((x[i] + minimum) * inverse), 0.0F, kQ4Codes);
      quants[g / 2 * 32 + i] |=
          static_cast<std::uint8_t>(static_cast<unsigned>(q) << (g % 2 == 0 ? 0 : 4));
    }
  }
  pack_scales(scales, minima, block + 4);
}

void quantize_q6_k(const float* values, std::uint8_t* block) {
  std::array<float, kQ6Groups> fitted{};
  for (std::size_t g = 0; g < kQ6Groups; ++g) {
    fitted[g] = fit_scale(values + g * kQ6Group);
  }
  const float largest = peak_of(std::span<const float, kQ6Groups>(fitted));
  std::uint8_t* low = block;
  std::uint8_t* high = low + kSuperBlock / 2;
  std::uint8_t* scales = high + kSuperBlock / 4;
  std::fill_n(block, kSuperBlock / 2 + kSuperBlock / 4, std::uint8_t{0});
  const float d = store_half(largest / -128.0F, scales + kQ6Groups);
  for (std::size_t g = 0; g < kQ6Groups; ++g) {
    const float rounded = d != 0.0F ? std::clamp(std::round(fitted[g] / d), -128.0F, 127.0F) : 0.0F;
    scales[g] = static_cast<std::uint8_t>(static_cast<std::int8_t>(rounded));
    const float scale = d * rounded;
    const float inverse = scale != 0.0F ? 1.0F / scale : 0.0F;
    for (std::size_t k = 0; k < kQ6Group; ++k) {
      const std::size_t i = g * kQ6Group + k;
      const float q = std::clamp(round_fast(values[i] * inverse), -32.0F, 31.0F);
      const auto code = static_cast<unsigned>(static_cast<int>(q) + 32);
      const std::size_t half = i / 128;
      const std::size_t e = i % 128;
      low[half * 64 + e % 64] |= static_cast<std::uint8_t>((code & 15U) << (e < 64 ? 0 : 4));
      high[half * 32 + e % 32] |= static_cast<std::uint8_t>((code >> 4) << (2 * (e / 32)));
    }
  }
}

}  // namespace genesis::weights
