// LockFile: flock(2) on a small file, for the two agreements between processes (database.h). The
// kernel lets go of it when the holder dies, however it dies.
#pragma once

#include "base/result.h"

#include <filesystem>

namespace genesis::store {

class LockFile {
 public:
  // Creates the file if needed; holds nothing yet.
  static Result<LockFile> open(const std::filesystem::path& path);

  LockFile(LockFile&& other) noexcept;
  LockFile& operator=(LockFile&& other) noexcept;
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;
  ~LockFile();

  bool try_lock();
  void lock();
  void unlock();
  // The process that wrote itself into the file, 0 if unknown; for messages only.
  long holder() const;
  void write_holder();

 private:
  explicit LockFile(int fd) : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace genesis::store
