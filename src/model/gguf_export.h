// A Hugging Face model folder in GGUF's terms: architecture, metadata and tensors under the names
// that llama.cpp gives them (gguf-py constants.py), so that llama.cpp and our own reader load the
// result alike.
#pragma once

#include "base/result.h"
#include "weights/gguf_writer.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::model {

// One tensor of the result: a stored one, perhaps with another order of rows or a constant added,
// or computed values.
struct ExportTensor {
  std::string name;
  const weights::TensorView* source = nullptr;  // null: `values`
  std::vector<float> values;
  std::vector<std::int32_t> row_order;  // row n is the source's row row_order[n]; empty = as stored
  float plus = 0;                       // Gemma's norms are stored less one
  bool is_head = false;                 // multiplied to logits: output, or a tied embedding
};

struct GgufExport {
  std::string architecture;
  weights::GgufMetadata metadata;  // all but general.file_type
  std::vector<ExportTensor> tensors;
};

// kUnsupported names a model type, scaling, tokenizer or tensor that has no place in GGUF or that
// is not mapped yet. Views point into `file`.
Result<GgufExport> describe_as_gguf(const weights::TensorFile& file,
                                    const std::filesystem::path& folder);

// gguf_export_text.cpp: adds tokenizer.ggml.* and tokenizer.chat_template. `rows` is the size of
// the embedding table.
Result<void> export_text(const std::filesystem::path& folder,
                         std::int64_t rows,
                         weights::GgufMetadata& metadata);

}  // namespace genesis::model
