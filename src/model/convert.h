// Quantizes a Hugging Face model folder (or its safetensors file) to GGUF or to a packed model.
// Tensors stream from the mapped source to the file, piece by piece on all threads; memory stays at
// a few pieces. Before the file gets its name, it is read back and compared value by value.
#pragma once

#include "base/result.h"
#include "weights/tensor_type.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::model {

// F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K, packed-8, packed-4.
std::span<const std::string_view> conversion_formats();

struct ConvertOptions {
  std::filesystem::path source;  // a model folder, its safetensors file or its shard index
  std::filesystem::path output;
  std::string format;
  bool force = false;    // overwrite the output
  bool dry_run = false;  // say what would be written
  int threads = 0;       // 0 = physical cores
  // Told the bytes of the output that are done; called on the calling thread.
  std::function<void(std::string_view phase, std::int64_t done, std::int64_t total)> progress;
};

struct ConvertedTensor {
  std::string name;
  weights::TensorType from = weights::TensorType::kF32;
  weights::TensorType to = weights::TensorType::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  std::string note;  // why it did not get the format asked for; empty if it did
  double error = 0;  // root of the mean squared error over that of the values; 0 in a dry run
};

struct ConvertReport {
  std::string architecture;
  std::vector<ConvertedTensor> tensors;
  std::uint64_t source_bytes = 0;
  std::uint64_t output_bytes = 0;
  double worst_error = 0;  // of one tensor
};

// kConflict when the output exists; kDataLoss when what was written does not read back as it must.
Result<ConvertReport> convert_model(const ConvertOptions& options);

}  // namespace genesis::model
