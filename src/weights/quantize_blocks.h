// The quantizers by family. Each writes one block and is given finite values. Private to this room.
#pragma once

#include "weights/tensor_type.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>

namespace genesis::weights {

using QuantizeBlock = void (*)(const float* values, std::uint8_t* block);

// quantize_simple.cpp
void quantize_q4_0(const float* values, std::uint8_t* block);
void quantize_q4_1(const float* values, std::uint8_t* block);
void quantize_q5_0(const float* values, std::uint8_t* block);
void quantize_q8_0(const float* values, std::uint8_t* block);

// quantize_k.cpp
void quantize_q4_k(const float* values, std::uint8_t* block);
void quantize_q6_k(const float* values, std::uint8_t* block);

// Stores `value` rounded to binary16 and returns what a reader will see.
inline float store_half(float value, std::uint8_t* at) {
  const std::uint16_t half = float_to_half(value);
  std::memcpy(at, &half, sizeof(half));
  return half_to_float(half);
}

// The first value of the largest magnitude, with its sign. Not one loop with a conditional of
// magnitudes: clang 19 at -O3 turns that into a vector reduction that returns another value.
template <std::size_t N>
float peak_of(std::span<const float, N> values) {
  float magnitude = 0.0F;
  for (const float value : values) {
    magnitude = std::max(magnitude, std::abs(value));
  }
  return *std::ranges::find_if(values, [&](float value) { return std::abs(value) == magnitude; });
}

}  // namespace genesis::weights
