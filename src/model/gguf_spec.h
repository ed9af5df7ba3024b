// ModelSpec from GGUF metadata (keys "<architecture>.*" as llama.cpp's gguf-py constants.py lists
// them).
#pragma once

#include "base/result.h"
#include "model/model_spec.h"
#include "weights/tensor_file.h"

namespace genesis::model {

// kUnsupported names an architecture or a variant that cannot be run; kDataLoss a missing or
// impossible hyper-parameter. The result has passed check_spec().
Result<ModelSpec> spec_from_gguf(const weights::TensorFile& file);

}  // namespace genesis::model
