// Page by page: equal to the seal, or to a frame of the log, or damaged.
#include "store/page_check.h"

#include "store/log_scan.h"
#include "store/seal.h"
#include "store/sqlite_connection.h"

#include <fmt/format.h>

#include <fstream>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace genesis::store {

namespace {

// Every commit changes the counter's page and at least one other: fewer cannot be another program's
// checkpoint.
constexpr std::int64_t kLeastPagesOfACommit = 2;

class LogPages {
 public:
  LogPages(const std::filesystem::path& database, const LogScan& scan)
      : path_(log_path(database)), page_size_(scan.page_size) {
    for (const LogFrame& frame : scan.frames) {
      offsets_[frame.page].push_back(frame.offset);
    }
  }

  bool has_page(std::uint32_t page) const { return offsets_.contains(page); }

  bool holds(std::uint32_t page, const Digest& digest) const {
    const auto found = offsets_.find(page);
    if (found == offsets_.end()) {
      return false;
    }
    std::ifstream file(path_, std::ios::binary);
    std::string bytes(page_size_, '\0');
    for (const std::int64_t offset : found->second) {
      file.seekg(offset);
      if (file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) &&
          sha256(bytes) == digest) {
        return true;
      }
    }
    return false;
  }

 private:
  std::filesystem::path path_;
  std::uint32_t page_size_;
  std::unordered_map<std::uint32_t, std::vector<std::int64_t>> offsets_;
};

struct Difference {
  std::int64_t count = 0;
  std::int64_t outside_log = 0;
  std::uint32_t first = 0;
};

Result<Difference> compare(const Seal& seal,
                           std::int64_t pages,
                           const LogPages& log,
                           const SqliteConnection& raw) {
  Difference difference;
  const auto total = std::max<std::int64_t>(pages, std::ssize(seal.pages));
  for (std::int64_t i = 0; i < total; ++i) {
    const auto number = static_cast<std::uint32_t>(i + 1);
    bool same = false;
    if (i < pages) {
      GENESIS_TRY(const Digest digest, hash_page(raw, number, seal.header.page_size));
      same = (i < std::ssize(seal.pages) && digest == seal.pages[static_cast<std::size_t>(i)]) ||
             log.holds(number, digest);
    }
    if (!same) {
      difference.first = difference.count == 0 ? number : difference.first;
      difference.count += 1;
      difference.outside_log += log.has_page(number) ? 0 : 1;
    }
  }
  return difference;
}

}  // namespace

Result<std::int64_t> sealed_commits(const std::filesystem::path& path) {
  GENESIS_TRY(
      const auto file,
      SqliteConnection::open({.path = path, .vfs = {}, .read_only = true, .immutable = true}));
  return file->query_integer("SELECT value FROM store_state WHERE name = 'commits'");
}

Result<PageCheck> check_pages(const std::filesystem::path& path, const SqliteConnection& raw) {
  PageCheck check;
  GENESIS_TRY(const std::int64_t size, raw.file_size());
  auto loaded = load_seal(path);
  if (!loaded && loaded.error().code == ErrorCode::kDataLoss) {
    check.damage = loaded.error().message;
    return check;
  }
  GENESIS_TRY(const std::optional<Seal> seal, std::move(loaded));
  GENESIS_TRY(const LogScan scan, scan_log(log_path(path)));
  check.log_frames = std::ssize(scan.frames);
  check.generation = seal ? seal->header.generation : 0;
  check.damage = scan.damage;
  if (!seal || !check.damage.empty()) {
    check.pages = scan.page_size == 0 ? 0 : size / scan.page_size;
    return check;
  }
  check.seal = SealState::kSealed;
  check.pages = size / seal->header.page_size;
  if (size % seal->header.page_size != 0) {
    check.damage = fmt::format("the file's size, {} bytes, is not a whole number of pages", size);
    return check;
  }
  const LogPages log(path, scan);
  GENESIS_TRY(const Difference difference, compare(*seal, check.pages, log, raw));
  if (difference.count == 0) {
    return check;
  }
  const auto commits = sealed_commits(path);
  if (commits && *commits > seal->header.commits && difference.count >= kLeastPagesOfACommit) {
    check.seal = SealState::kStale;
    return check;
  }
  check.damage = fmt::format("page {} does not match the seal ({} of {} pages differ)",
                             difference.first,
                             difference.count,
                             check.pages);
  check.by_another_hand = difference.outside_log > 0;
  return check;
}

}  // namespace genesis::store
