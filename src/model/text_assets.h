// Tokenizer and chat template as a weights file brings them.
#pragma once

#include "base/result.h"
#include "engine/text_assets.h"
#include "text/tokenizer.h"
#include "weights/tensor_file.h"

#include <filesystem>

namespace genesis::model {

// The vocabulary in keys tokenizer.ggml.*; kDataLoss when lists are missing or of unequal length.
Result<text::GgufVocabulary> vocabulary_from_gguf(const weights::TensorFile& file);

// Tokenizer, template and special tokens of a GGUF file. A model without a template gets none.
Result<engine::TextAssets> text_assets_from_gguf(const weights::TensorFile& file);

}  // namespace genesis::model
