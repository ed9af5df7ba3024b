// Comparing the file with its seal and its log, and asking SQLite for its own opinion.
#include "store/file_check.h"

#include "store/log_scan.h"
#include "store/page_check.h"
#include "store/seal.h"
#include "store/sqlite_connection.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace genesis::store {

namespace {

// A running owner may checkpoint while we look: a finding counts when it stays the same.
constexpr int kLooks = 40;
constexpr int kSameFindings = 3;
constexpr std::chrono::milliseconds kBetweenLooks{25};

Result<PageCheck> steady_look(const std::filesystem::path& path, const SqliteConnection& raw) {
  std::string last;
  int same = 0;
  for (int look = 0; look < kLooks; ++look) {
    GENESIS_TRY(PageCheck check, check_pages(path, raw));
    if (check.damage.empty()) {
      return check;
    }
    const std::string finding = fmt::format("{}/{}", check.generation, check.damage);
    same = finding == last ? same + 1 : 1;
    if (same == kSameFindings) {
      return check;
    }
    last = finding;
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("{} changes faster than it can be checked", path.string()),
              "try again when the gateway is less busy");
}

std::unexpected<Error> damaged(const std::filesystem::path& path, const std::string& what) {
  return fail_param(path.string(),
                    fmt::format("{} is damaged or was changed by hand: {}", path.string(), what),
                    ErrorCode::kDataLoss);
}

Result<void> integrity(const std::filesystem::path& path, SqliteConnection& connection) {
  GENESIS_TRY(Statement check, connection.prepare("PRAGMA integrity_check(1)"));
  GENESIS_TRY(const bool row, check.step());
  if (!row || check.text(0) != "ok") {
    return damaged(path, row ? std::string(check.text(0)) : "integrity_check says nothing");
  }
  return {};
}

}  // namespace

Result<void> require_database(const std::filesystem::path& path) {
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  if (!code && size > 0) {
    return {};
  }
  const auto seal = load_seal_header(path);
  if (!seal || *seal) {
    auto error = damaged(path,
                         fmt::format("it is {}, but {} is there",
                                     code ? "gone" : "empty",
                                     seal_path(path).filename().string()));
    error.error().hint = "bring the database back, or move the seal away to start anew";
    return error;
  }
  if (!std::filesystem::exists(path, code)) {
    return fail_param(path.string(),
                      fmt::format("there is no database at {}", path.string()),
                      ErrorCode::kNotFound);
  }
  return {};
}

Result<FileReport> check_file(const std::filesystem::path& path, const std::string& vfs) {
  GENESIS_TRY_VOID(require_database(path));
  GENESIS_TRY(const std::string noted, noted_damage(path));
  if (!noted.empty()) {
    return damaged(path, "found at a start on " + noted);
  }
  GENESIS_TRY(const auto connection,
              SqliteConnection::open({.path = path, .vfs = vfs, .read_only = true}));
  GENESIS_TRY(const PageCheck pages, steady_look(path, *connection));
  if (!pages.damage.empty()) {
    return damaged(path, pages.damage);
  }
  GENESIS_TRY_VOID(integrity(path, *connection));
  return FileReport{.seal = pages.seal, .pages = pages.pages, .log_frames = pages.log_frames};
}

}  // namespace genesis::store
