// Disk pieces of this room: an append-only file, a lock between processes, hashing. Calls block.
#pragma once

#include "base/result.h"
#include "base/sha256.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace genesis::hub {

// A file being written at its end. Owns the descriptor; moved, not copied.
class OutputFile {
 public:
  // Opens or makes the file (mode 0600) and stands at its end; `truncate` empties it first.
  static Result<OutputFile> open(const std::filesystem::path& path, bool truncate);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  Result<void> write(std::span<const std::uint8_t> bytes);
  Result<void> clear();  // back to zero bytes
  Result<void> sync();

  std::int64_t size() const { return size_; }

 private:
  OutputFile(int fd, std::int64_t size, std::filesystem::path path)
      : fd_(fd), size_(size), path_(std::move(path)) {}

  int fd_ = -1;
  std::int64_t size_ = 0;
  std::filesystem::path path_;
};

// An advisory lock on a file (flock), freed with the object or the process.
class FileLock {
 public:
  // Waits until it is free.
  static Result<FileLock> wait(const std::filesystem::path& path);
  // nullopt when another process, or another object of this one, holds it.
  static Result<std::optional<FileLock>> attempt(const std::filesystem::path& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_ = -1;
};

Result<void> make_folders(const std::filesystem::path& path);
Result<void> sync_folder(const std::filesystem::path& folder);
Result<void> rename_file(const std::filesystem::path& from, const std::filesystem::path& to);

// A hard link where the file system allows it, else a copy: for files that nobody changes. `to`
// must not exist.
Result<void> link_or_copy(const std::filesystem::path& from, const std::filesystem::path& to);
// A copy, which shares nothing with the original that its owner may go on writing to (file systems
// that can make it a clone). `to` must not exist; nothing stays of a copy that fails.
Result<void> copy_durably(const std::filesystem::path& from, const std::filesystem::path& to);

struct HashedFile {
  std::string sha256;
  std::int64_t bytes = 0;
};

Result<HashedFile> hash_file(const std::filesystem::path& path);
// Feeds a file's bytes to `hash` and returns how many there were.
Result<std::int64_t> feed_file(const std::filesystem::path& path, Sha256& hash);

}  // namespace genesis::hub
