// Floats -> stored blocks: the writing side of dequantize(). Values must be finite.
#pragma once

#include "base/result.h"
#include "weights/tensor_type.h"

#include <cstdint>
#include <span>

namespace genesis::weights {

// True for the types quantize() writes: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q8_0, Q4_K, Q6_K.
bool can_quantize(TensorType type);

// `out` holds exactly the blocks of `values`. kInvalidArgument when the sizes do not fit each
// other; kDataLoss when a value is not finite or too large for the format's scales.
Result<void> quantize(TensorType type, std::span<const float> values, std::span<std::uint8_t> out);

// The largest difference that a value of this one block may have after quantize() and dequantize().
double error_bound(TensorType type, std::span<const float> block);

}  // namespace genesis::weights
