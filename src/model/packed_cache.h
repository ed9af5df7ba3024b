// Packed weights of models loaded before, and hashes of their files, in a folder of the user's
// cache. Packing a model of a few GB takes seconds and as much memory of every process; its entry
// here is mapped at once and its pages are shared.
//
//   <folder>/<sha256 of the weights>.panels   packed files (packed_file.h)
//   <folder>/hashes/<hash of a path>.json     size, times, inode and SHA-256 of a weights file
//
// Everything in the folder may be deleted at any time. Entries that are damaged or of another
// layout are deleted and made again. Several processes may use one folder.
#pragma once

#include "base/result.h"
#include "model/packed_file.h"
#include "model/thread_pool.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace genesis::model {

// SHA-256 of a file, or over those of several; `records` is where a hash is kept with the file's
// size, times and inode, so that an unchanged file is not read again. Empty = nothing is kept.
Result<std::string> weights_sha256(std::span<const std::filesystem::path> files,
                                   const std::filesystem::path& records);

struct CacheEntry {
  std::string sha256;
  std::int64_t bytes = 0;
  std::filesystem::file_time_type used;
};

class PackedCache {
 public:
  PackedCache(std::filesystem::path folder, std::int64_t max_bytes)
      : folder_(std::move(folder)), max_bytes_(max_bytes) {}

  // The checked panels of these weights; a bad entry is deleted.
  std::optional<PackedPanels> find(const std::string& sha256, ThreadPool& pool) const;

  // A writer of the entry, after making room by deleting what was not used for longest. An error
  // when it is larger than the cache may be, or the disk has no room.
  Result<PackedFileWriter> create(const std::string& sha256,
                                  std::span<const kernel::Format> formats,
                                  std::size_t bytes) const;

  // Least recently used first.
  std::vector<CacheEntry> list() const;
  // Deletes all entries and hash records; returns the bytes freed.
  std::int64_t clear() const;

 private:
  std::filesystem::path entry(const std::string& sha256) const;
  void make_room(std::int64_t bytes) const;

  std::filesystem::path folder_;
  std::int64_t max_bytes_;
};

}  // namespace genesis::model
