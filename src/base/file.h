// Files: whole reads with a limit, atomic durable writes, and read-only memory maps.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace genesis {

// Reads a regular file of at most `limit` bytes.
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit);

// Writes temp file + fsync + rename + fsync of the folder: readers see the old or the new content,
// never a part, also after a power cut. `mode` is the permission of the new file.
Result<void> write_file_atomic(const std::filesystem::path& path,
                               std::string_view content,
                               unsigned mode = 0644);

// Renames and syncs the folder, so that the new name outlives a power cut.
Result<void> rename_file(const std::filesystem::path& from, const std::filesystem::path& to);

// A read-only mapping of a whole file. Owns the mapping; moved, not copied. Bytes of a file that is
// cut while mapped cannot be read safely: model stores therefore keep their files immutable.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::uint8_t> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace genesis
