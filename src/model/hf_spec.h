// ModelSpec and text assets of a Hugging Face model folder: config.json, tokenizer.json and
// tokenizer_config.json beside model.safetensors.
#pragma once

#include "base/result.h"
#include "engine/text_assets.h"
#include "model/model_spec.h"
#include "weights/tensor_file.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace genesis::model {

// Reads config.json as transformers' configuration classes define it (also transformers 5's
// rope_parameters). The vocabulary size, the tied head and biases of attention come from the
// tensors. Errors as spec_from_gguf().
Result<ModelSpec> spec_from_config(std::string_view config_json, const weights::TensorFile& file);

// The same from config.json alone: what a model will need before its weights are at hand.
Result<ModelSpec> spec_from_config(std::string_view config_json);

// Tokenizer, chat template (chat_template.jinja, else tokenizer_config.json) and special tokens.
// Ids that end a generation come from generation_config.json, else config.json.
Result<engine::TextAssets> text_assets_from_folder(const std::filesystem::path& folder);

// The source of that template; empty when the folder has none.
Result<std::string> chat_template_source(const std::filesystem::path& folder);

}  // namespace genesis::model
