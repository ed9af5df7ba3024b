// The table of element types, and conversions between IEEE 754 half and single precision.
#include "weights/tensor_type.h"

#include <array>
#include <bit>

namespace genesis::weights {

namespace {

struct TypeRow {
  std::string_view name;
  BlockLayout layout;
};

// In the order of TensorType. Block sizes: ggml-common.h (block_q4_0 ... block_q6_K).
constexpr std::array<TypeRow, 19> kTypes{{
    {"F32", {1, 4}},      {"F16", {1, 2}},      {"BF16", {1, 2}},     {"Q4_0", {32, 18}},
    {"Q4_1", {32, 20}},   {"Q5_0", {32, 22}},   {"Q5_1", {32, 24}},   {"Q8_0", {32, 34}},
    {"Q4_K", {256, 144}}, {"Q5_K", {256, 176}}, {"Q6_K", {256, 210}}, {"I8", {1, 1}},
    {"I16", {1, 2}},      {"I32", {1, 4}},      {"I64", {1, 8}},      {"F64", {1, 8}},
    {"U8", {1, 1}},       {"BOOL", {1, 1}},     {"NF4", {64, 36}},
}};

}  // namespace

BlockLayout block_layout(TensorType type) {
  return kTypes[static_cast<std::size_t>(type)].layout;
}

std::string_view tensor_type_name(TensorType type) {
  return kTypes[static_cast<std::size_t>(type)].name;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1FU;
  const std::uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0) {
    // Zero or subnormal: mantissa times 2^-24, exact in single precision.
    const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) {
    return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  }
  // 112 = 127 - 15, the difference of the exponent biases.
  return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
}

std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  const auto with_sign = [&](std::uint32_t half) {
    return static_cast<std::uint16_t>(sign | half);
  };

  if (magnitude > 0x7F800000U) {
    return with_sign(0x7E00U | ((magnitude >> 13) & 0x3FFU));  // NaN, made quiet
  }
  if (magnitude >= 0x47800000U) {
    return with_sign(0x7C00U);  // 2^16 and above
  }
  if (magnitude < 0x33000000U) {
    return with_sign(0);  // below half of the smallest subnormal, 2^-25
  }
  std::uint32_t shift = 13;
  std::uint32_t significand = magnitude - 0x38000000U;  // exponent rebiased by 112
  if (magnitude < 0x38800000U) {
    // Subnormal half: in units of 2^-24 the value is significand * 2^(exponent - 126).
    shift = 126U - (magnitude >> 23);
    significand = (magnitude & 0x7FFFFFU) | 0x800000U;
  }
  const std::uint32_t halfway = 1U << (shift - 1);
  const std::uint32_t rest = significand & ((1U << shift) - 1U);
  std::uint32_t half = significand >> shift;
  if (rest > halfway || (rest == halfway && (half & 1U) != 0)) {
    ++half;  // a carry runs into the exponent, up to infinity, as it should
  }
  return with_sign(half);
}

}  // namespace genesis::weights
