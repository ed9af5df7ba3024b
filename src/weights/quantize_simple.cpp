// Quantizers of the formats with 32 values a block and one step: Q4_0, Q4_1, Q5_0, Q8_0. Layouts
// as in dequantize.cpp (ggml-common.h). Rounding is ggml's, so that files are bit-equal to those of
// llama.cpp and of the gguf package (gguf-py quants.py): codes are found with the step in single
// precision, before it is rounded for storing; the largest magnitude takes the code of the far end.
#include "weights/quantize_blocks.h"

#include <algorithm>
#include <cmath>

// Bit-equality with ggml's reference: no fused multiply-add.
#pragma clang fp contract(off)

namespace genesis::weights {

namespace {

constexpr std::size_t kBlock = 32;
constexpr std::size_t kHalf = kBlock / 2;

float inverse(float step) {
  return step != 0.0F ? 1.0F / step : 0.0F;
}

// `scaled` is at least 0 but for rounding; adding the half is the caller's.
std::uint8_t code(float scaled, int highest) {
  return static_cast<std::uint8_t>(std::clamp(static_cast<int>(scaled), 0, highest));
}

}  // namespace

void quantize_q4_0(const float* values, std::uint8_t* block) {
  const float step = peak_of(std::span<const float, kBlock>(values, kBlock)) / -8.0F;
  const float scale = inverse(step);
  store_half(step, block);
  for (std::size_t i = 0; i < kHalf; ++i) {
    const std::uint8_t low = code(values[i] * scale + 8.5F, 15);
    const std::uint8_t high = code(values[i + kHalf] * scale + 8.5F, 15);
    block[2 + i] = static_cast<std::uint8_t>(low | (high << 4));
  }
}

void quantize_q4_1(const float* values, std::uint8_t* block) {
  const auto [lowest, highest] = std::minmax_element(values, values + kBlock);
  const float minimum = *lowest;
  const float step = (*highest - minimum) / 15.0F;
  const float scale = inverse(step);
  store_half(step, block);
  store_half(minimum, block + 2);
  for (std::size_t i = 0; i < kHalf; ++i) {
    const std::uint8_t low = code((values[i] - minimum) * scale + 0.5F, 15);
    const std::uint8_t high = code((values[i + kHalf] - minimum) * scale + 0.5F, 15);
    block[4 + i] = static_cast<std::uint8_t>(low | (high << 4));
  }
}

void quantize_q5_0(const float* values, std::uint8_t* block) {
  const float step = peak_of(std::span<const float, kBlock>(values, kBlock)) / -16.0F;
  const float scale = inverse(step);
  store_half(step, block);
  std::uint32_t fifth = 0;
  for (std::size_t i = 0; i < kHalf; ++i) {
    const std::uint8_t low = code(values[i] * scale + 16.5F, 31);
    const std::uint8_t high = code(values[i + kHalf] * scale + 16.5F, 31);
    block[6 + i] = static_cast<std::uint8_t>((low & 15) | ((high & 15) << 4));
    fifth |= static_cast<std::uint32_t>(low >> 4) << i;
    fifth |= static_cast<std::uint32_t>(high >> 4) << (i + kHalf);
  }
  std::memcpy(block + 2, &fifth, sizeof(fifth));
}

void quantize_q8_0(const float* values, std::uint8_t* block) {
  const float step = std::abs(peak_of(std::span<const float, kBlock>(values, kBlock))) / 127.0F;
  const float scale = inverse(step);
  store_half(step, block);
  for (std::size_t i = 0; i < kBlock; ++i) {
    const auto rounded = static_cast<std::int8_t>(std::round(values[i] * scale));
    block[2 + i] = static_cast<std::uint8_t>(rounded);
  }
}

}  // namespace genesis::weights
