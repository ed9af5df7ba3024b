// Is a database file, byte for byte, what its owner left? Three looks: the seal (SHA-256 of every
// page, kept beside the file by the owner after each checkpoint, the only time the file changes),
// the checksums of the write-ahead log (https://sqlite.org/fileformat2.html#walformat), and
// SQLite's integrity_check. Works beside a running owner.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace genesis::store {

enum class SealState : std::uint8_t {
  kSealed,    // every page matches: no byte of the file has changed
  kUnsealed,  // there is no seal: the owner never checkpointed
  kStale,     // another program moved the log into the file: the seal speaks of an older state
};

struct FileReport {
  SealState seal = SealState::kUnsealed;
  std::int64_t pages = 0;       // of the database file
  std::int64_t log_frames = 0;  // pages in the log
};

// kNotFound when there is no database; kDataLoss when one that was sealed is gone or empty: it must
// not start anew in silence.
Result<void> require_database(const std::filesystem::path& path);

// Damage that a start found counts for ever (seal.h). kDataLoss names the first page or log frame
// that is wrong. After a power cut start the owner once before checking: it drops the log's
// unfinished tail, which looks like damage until then.
Result<FileReport> check_file(const std::filesystem::path& path, const std::string& vfs = {});

}  // namespace genesis::store
