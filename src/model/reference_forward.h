// The Llama forward pass in double precision, written straight from the formulas and from GGUF's
// own conventions (adjacent rotary pairs): shares nothing with the executor but the file reader.
#pragma once

#include "model/model_spec.h"
#include "weights/tensor_file.h"

#include <span>
#include <vector>

namespace genesis::model {

// Logits of every token, [tokens][vocab].
std::vector<double> reference_forward(const weights::TensorFile& file,
                                      const ModelSpec& spec,
                                      std::span<const std::int32_t> ids);

}  // namespace genesis::model
