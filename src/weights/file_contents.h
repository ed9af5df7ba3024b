// What the two format readers hand to TensorFile. Private to this room.
#pragma once

#include "base/file.h"
#include "base/result.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::weights {

// Views point into the bytes given to the reader. Names may still repeat: TensorFile checks them.
struct FileContents {
  std::vector<TensorView> tensors;
  std::map<std::string, MetadataValue, std::less<>> metadata;
  std::uint64_t described_bytes = 0;  // the size of the whole file, by its header
};

// kHeader: no tensor gets data, and the file may end anywhere behind the header.
enum class Reading : std::uint8_t { kWhole, kHeader };

// GGUF versions 2 and 3, little-endian (ggml docs/gguf.md).
Result<FileContents> read_gguf(std::span<const std::uint8_t> bytes, Reading reading);

// ggml_type numbers (ggml.h) that we read.
std::optional<TensorType> gguf_tensor_type(std::uint32_t number);

// huggingface/safetensors README, "Format".
Result<FileContents> read_safetensors(std::span<const std::uint8_t> bytes, Reading reading);

// What the views of a file point into, besides bytes of the caller's.
struct Kept {
  std::vector<MappedFile> mappings;
  std::vector<std::filesystem::path> files;  // that are mapped
  std::vector<std::vector<std::uint8_t>> buffers;
};

// Checks the names and makes the view over one or several parsed files.
Result<std::shared_ptr<const TensorFile>> make_tensor_file(std::string_view format,
                                                           FileContents contents,
                                                           Kept kept);

// sharded.cpp: the file that `model.safetensors.index.json` describes, and the parts of a GGUF
// `name-00001-of-00003.gguf`.
bool is_shard_index(const std::filesystem::path& path);
bool is_gguf_part(const std::filesystem::path& path);
Result<std::shared_ptr<const TensorFile>> open_sharded(const std::filesystem::path& index);
Result<std::shared_ptr<const TensorFile>> open_gguf_parts(const std::filesystem::path& part);

// nf4.cpp: joins what bitsandbytes stores of one 4-bit weight (codes, scales, scales of scales)
// into one tensor of type kNF4 in a buffer that goes to `kept`. Nothing changes without such.
Result<void> join_nf4(FileContents& contents, Kept& kept);

// The sixteen values of kNF4's codes.
std::span<const float> nf4_values();

// The number of elements of `shape`, or an error naming `tensor` when it passes 2^63 - 1.
Result<std::int64_t> count_elements(std::span<const std::int64_t> shape, std::string_view tensor);

// Bytes taken by `elements` of `type`; an error unless they are whole blocks and fit 64 bits.
Result<std::uint64_t> stored_bytes(TensorType type, std::int64_t elements, std::string_view tensor);

}  // namespace genesis::weights
