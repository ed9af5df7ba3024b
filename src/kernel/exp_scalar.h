// exp() and the lane sum of the scalar tier. Private to this room.
#pragma once

#include "kernel/exp_constants.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace genesis::kernel {

// Sums eight lanes by halves: the order of the vector tiers' horizontal sum.
inline float sum_lanes(const float (&lane)[8]) {
  const float a = lane[0] + lane[4];
  const float b = lane[1] + lane[5];
  const float c = lane[2] + lane[6];
  const float d = lane[3] + lane[7];
  return (a + c) + (b + d);
}

inline float exp_one(float x) {
  if (!(x >= kExpLowest)) {
    return 0.0F;
  }
  const float clamped = x < kExpHighest ? x : kExpHighest;
  const float n = std::nearbyint(clamped * kLog2E);
  float r = std::fma(n, -kLn2High, clamped);
  r = std::fma(n, -kLn2Low, r);
  float p = kExpP0;
  p = std::fma(p, r, kExpP1);
  p = std::fma(p, r, kExpP2);
  p = std::fma(p, r, kExpP3);
  p = std::fma(p, r, kExpP4);
  p = std::fma(p, r, kExpP5);
  p = std::fma(p, r * r, r) + 1.0F;
  const std::int32_t exponent = (static_cast<std::int32_t>(n) + 127) * (1 << 23);
  return p * std::bit_cast<float>(exponent);
}

inline float tanh_one(float x) {
  const float size = std::abs(x);
  if (size >= kTanhSmall) {
    return std::copysign(1.0F - 2.0F / (exp_one(size + size) + 1.0F), x);
  }
  const float square = x * x;
  float p = kTanhP0;
  p = std::fma(p, square, kTanhP1);
  p = std::fma(p, square, kTanhP2);
  p = std::fma(p, square, kTanhP3);
  p = std::fma(p, square, kTanhP4);
  return std::fma(p * square, x, x);
}

}  // namespace genesis::kernel
