// Reads SQLite's write-ahead log without SQLite: which pages it holds and whether every frame's
// checksum is right. SQLite itself checks only when it recovers, and then drops a damaged tail in
// silence. Format: https://sqlite.org/fileformat2.html#walformat
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace genesis::store {

struct LogFrame {
  std::uint32_t page = 0;   // from 1
  std::int64_t offset = 0;  // of the page's bytes in the log
  bool intact = true;
};

struct LogScan {
  std::vector<LogFrame> frames;  // of the log's present generation
  std::uint32_t page_size = 0;   // 0: the log is empty
  std::string damage;            // the first thing that is wrong, empty if nothing is
};

// A missing or empty log is an empty scan. kIo when it cannot be read.
Result<LogScan> scan_log(const std::filesystem::path& log);

}  // namespace genesis::store
