// What the two format readers hand to TensorFile. Private to this room.
#pragma once

#include "base/result.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace genesis::weights {

// Views point into the bytes given to the reader. Names may still repeat: TensorFile checks them.
struct FileContents {
  std::vector<TensorView> tensors;
  std::map<std::string, MetadataValue, std::less<>> metadata;
};

// GGUF versions 2 and 3, little-endian (ggml docs/gguf.md).
Result<FileContents> read_gguf(std::span<const std::uint8_t> bytes);

// huggingface/safetensors README, "Format".
Result<FileContents> read_safetensors(std::span<const std::uint8_t> bytes);

// The number of elements of `shape`, or an error naming `tensor` when it passes 2^63 - 1.
Result<std::int64_t> count_elements(std::span<const std::int64_t> shape, std::string_view tensor);

// Bytes taken by `elements` of `type`; an error unless they are whole blocks and fit 64 bits.
Result<std::uint64_t> stored_bytes(TensorType type, std::int64_t elements, std::string_view tensor);

}  // namespace genesis::weights
