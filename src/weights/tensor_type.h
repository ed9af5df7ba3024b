// Element types of stored tensors and their block layouts, as GGUF (ggml) and safetensors define
// them.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace genesis::weights {

enum class TensorType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kI8,
  kI16,
  kI32,
  kI64,
  kF64,
  kU8,
  kBool,
  kNF4,  // bitsandbytes: 64 values a block; made by the safetensors reader, in no file as such
};

// How many elements one block holds and how many bytes it takes (ggml-common.h's layouts).
struct BlockLayout {
  std::size_t elements = 1;
  std::size_t bytes = 4;
};

BlockLayout block_layout(TensorType type);
std::string_view tensor_type_name(TensorType type);  // "Q4_1", "F32", ...

// Exact expansion to float of `out.size()` elements; `data` holds exactly the blocks needed and may
// lie at any address. kUnsupported for types that are not weights (integers, bool, F64);
// kInvalidArgument when the two sizes do not fit each other.
Result<void> dequantize(TensorType type, std::span<const std::uint8_t> data, std::span<float> out);

float half_to_float(std::uint16_t half);
std::uint16_t float_to_half(float value);  // round to nearest even

}  // namespace genesis::weights
