// Chooses the quantizer of a type, checks sizes and values, and knows each format's error bound.
#include "weights/quantize.h"

#include "weights/quantize_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace genesis::weights {

namespace {

void store_f32(const float* values, std::uint8_t* block) {
  std::memcpy(block, values, sizeof(float));
}

void store_f16(const float* values, std::uint8_t* block) {
  store_half(*values, block);
}

// Round to nearest even on the upper half of the bits.
void store_bf16(const float* values, std::uint8_t* block) {
  const auto bits = std::bit_cast<std::uint32_t>(*values);
  const auto rounded = static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
  std::memcpy(block, &rounded, sizeof(rounded));
}

QuantizeBlock quantizer(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return store_f32;
    case TensorType::kF16:
      return store_f16;
    case TensorType::kBF16:
      return store_bf16;
    case TensorType::kQ4_0:
      return quantize_q4_0;
    case TensorType::kQ4_1:
      return quantize_q4_1;
    case TensorType::kQ5_0:
      return quantize_q5_0;
    case TensorType::kQ8_0:
      return quantize_q8_0;
    case TensorType::kQ4_K:
      return quantize_q4_k;
    case TensorType::kQ6_K:
      return quantize_q6_k;
    default:
      return nullptr;
  }
}

// The largest magnitude whose scale still fits binary16 (65504): one code step is the magnitude
// over the codes of one side, and Q4_1 and Q4_K store the magnitude itself or its 63rd part.
double largest_magnitude(TensorType type) {
  constexpr double kHalfMax = 65504.0;
  switch (type) {
    case TensorType::kF32:
      return INFINITY;
    case TensorType::kBF16:
      return 3.3895e38;  // the largest finite value
    case TensorType::kF16:
    case TensorType::kQ4_1:
      return kHalfMax;
    default:
      return kHalfMax * 8;
  }
}

std::unexpected<Error> bad_value(TensorType type, float value) {
  return fail(ErrorCode::kDataLoss,
              fmt::format("the value {} cannot be stored as {}", value, tensor_type_name(type)),
              "look for a damaged tensor, or choose BF16 or F32");
}

}  // namespace

bool can_quantize(TensorType type) {
  return quantizer(type) != nullptr;
}

Result<void> quantize(TensorType type, std::span<const float> values, std::span<std::uint8_t> out) {
  const QuantizeBlock one = quantizer(type);
  if (one == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("writing tensors of type {} is not supported", tensor_type_name(type)));
  }
  const BlockLayout layout = block_layout(type);
  const std::size_t blocks = values.size() / layout.elements;
  if (values.size() % layout.elements != 0 || out.size() != blocks * layout.bytes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "{} values are not {} bytes of {}", values.size(), out.size(), tensor_type_name(type)));
  }
  const double limit = largest_magnitude(type);
  for (const float value : values) {
    if (!(std::abs(value) <= limit) || !std::isfinite(value)) {
      return bad_value(type, value);
    }
  }
  for (std::size_t i = 0; i < blocks; ++i) {
    one(values.data() + i * layout.elements, out.data() + i * layout.bytes);
  }
  return {};
}

double error_bound(TensorType type, std::span<const float> block) {
  double lowest = 0.0;
  double highest = 0.0;
  for (const float value : block) {
    lowest = std::min(lowest, double{value});
    highest = std::max(highest, double{value});
  }
  const double peak = std::max(-lowest, highest);
  const double range = highest - lowest;
  // Scales are rounded to binary16: 2^-11 of them, or half of its smallest step when tiny, times
  // the largest code.
  const double half = peak * 0x1.0p-10 + 128.0 * 0x1.0p-25;
  switch (type) {
    case TensorType::kF32:
      return 0.0;
    case TensorType::kF16:
      return peak * 0x1.0p-11 + 0x1.0p-25;
    case TensorType::kBF16:
      return peak * 0x1.0p-8;
    case TensorType::kQ8_0:
      return peak / 127.0 * 0.5 + half;
    case TensorType::kQ4_0:
      return peak / 8.0 + half;  // a whole step at the end that has no code, half a step elsewhere
    case TensorType::kQ5_0:
      return peak / 16.0 + half;
    case TensorType::kQ4_1:
      return range / 15.0 * 0.5 + 2.0 * half;
    case TensorType::kQ4_K:
      // Half a step; a step less at the ends where least squares cut them; six-bit scale and
      // minimum, each half a 63rd of the largest in the block, and the neighbour may be taken.
      return range * (1.5 / 15.0 + 3.0 / 63.0) + 2.0 * half + 63.0 * 15.0 * 0x1.0p-25;
    case TensorType::kQ6_K:
      // Half a step, a step and a half at the ends, and the scale's eight bits.
      return peak * (2.0 / 32.0 + 1.0 / 128.0) + half + 128.0 * 32.0 * 0x1.0p-25;
    default:
      return INFINITY;
  }
}

}  // namespace genesis::weights
