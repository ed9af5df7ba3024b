// Writes GGUF version 3 (ggml docs/gguf.md). The table of tensors is fixed before the first byte of
// data, so tensors can be written in any order, by several threads, a piece at a time.
#pragma once

#include "base/result.h"
#include "weights/tensor_type.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::weights {

// Keys and values in the order they are put. Each key once.
class GgufMetadata {
 public:
  void put_u32(std::string_view key, std::uint32_t value);
  void put_u64(std::string_view key, std::uint64_t value);
  void put_f32(std::string_view key, float value);
  void put_bool(std::string_view key, bool value);
  void put_string(std::string_view key, std::string_view value);
  void put_strings(std::string_view key, std::span<const std::string> values);
  void put_i32s(std::string_view key, std::span<const std::int32_t> values);
  void put_i64s(std::string_view key, std::span<const std::int64_t> values);
  void put_f32s(std::string_view key, std::span<const float> values);

  const std::string& bytes() const { return bytes_; }

  std::uint64_t count() const { return count_; }

 private:
  void begin(std::string_view key, std::uint32_t type);
  void begin_array(std::string_view key, std::uint32_t type, std::size_t elements);

  std::string bytes_;
  std::uint64_t count_ = 0;
};

// A row of the table; `shape` outermost first, as TensorView has it.
struct GgufTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape;

  std::uint64_t bytes() const;
};

inline constexpr std::uint64_t kGgufAlignment = 32;  // GGUF_DEFAULT_ALIGNMENT

// The layout of a file: header bytes and where each tensor's data begins.
struct GgufLayout {
  std::string header;  // with padding
  std::vector<std::uint64_t> offsets;
  std::uint64_t file_bytes = 0;

  // kInvalidArgument for a type that GGUF has no number for. Another alignment than 32 must also be
  // in the metadata, as general.alignment.
  static Result<GgufLayout> make(const GgufMetadata& metadata,
                                 std::span<const GgufTensor> tensors,
                                 std::uint64_t alignment = kGgufAlignment);
};

// Owns the descriptor of a file being written; write() may be called from several threads.
class GgufWriter {
 public:
  // Creates (or empties) the file, reserves its whole size and writes the header.
  // kResourceExhausted when the disk has no room.
  static Result<GgufWriter> create(const std::filesystem::path& path, GgufLayout layout);

  GgufWriter(GgufWriter&& other) noexcept;
  GgufWriter& operator=(GgufWriter&& other) noexcept;
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;
  ~GgufWriter();

  // Bytes of tensor `index`, from its byte `at` on.
  Result<void> write(std::size_t index,
                     std::uint64_t at,
                     std::span<const std::uint8_t> bytes) const;
  Result<void> sync() const;

  const GgufLayout& layout() const { return layout_; }

  int descriptor() const { return fd_; }

 private:
  GgufWriter(int fd, std::filesystem::path path, GgufLayout layout)
      : fd_(fd), path_(std::move(path)), layout_(std::move(layout)) {}

  Result<void> write_at(std::uint64_t at, std::span<const std::uint8_t> bytes) const;

  int fd_ = -1;
  std::filesystem::path path_;
  GgufLayout layout_;
};

}  // namespace genesis::weights
