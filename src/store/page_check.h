// One look at the database file, its seal and its log. Used by check_file() and by the owner at
// open.
#pragma once

#include "base/result.h"
#include "store/file_check.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace genesis::store {

class SqliteConnection;

struct PageCheck {
  SealState seal = SealState::kUnsealed;
  std::int64_t pages = 0;
  std::int64_t log_frames = 0;
  std::uint64_t generation = 0;  // of the seal
  std::string damage;            // empty: all is well
  // The damage is in a page that the log does not hold, so no crash of an owner can have done it.
  bool by_another_hand = false;
};

// `raw` reads the file's bytes; no statement is run on it.
Result<PageCheck> check_pages(const std::filesystem::path& path, const SqliteConnection& raw);

// The commit counter in the file alone, without the log.
Result<std::int64_t> sealed_commits(const std::filesystem::path& path);

}  // namespace genesis::store
