// The writer's checkpoints, the seal that follows each, and the end of the connection.
#include "base/log.h"
#include "store/log_scan.h"
#include "store/page_check.h"
#include "store/seal.h"
#include "store/writer.h"

#include <set>
#include <utility>
#include <vector>

namespace genesis::store {

namespace {

// Pages to hash again, and those whose last version in the log is damaged: these get a hash that
// nothing matches, so that the damage stays visible after the log is gone.
struct LogPages {
  std::set<std::uint32_t> changed;
  std::set<std::uint32_t> damaged;
};

// Frames after the first `used` are not part of the log: a power cut's torn tail is no damage.
LogPages pages_of(const LogScan& scan, int used) {
  LogPages pages;
  for (int i = 0; i < std::ssize(scan.frames); ++i) {
    const LogFrame& frame = scan.frames[static_cast<std::size_t>(i)];
    pages.changed.insert(frame.page);
    if (frame.intact || i >= used) {
      pages.damaged.erase(frame.page);
    } else {
      pages.damaged.insert(frame.page);
    }
  }
  return pages;
}

}  // namespace

Result<void> Writer::checkpoint() {
  if (!connection_) {
    return fail(ErrorCode::kUnavailable, "the database is closed after a failed write");
  }
  // A guest is writing: the log may not be reset now. The next round tries again.
  if (!guest_lock_.try_lock()) {
    return fail(ErrorCode::kUnavailable, "another process is writing to the database");
  }
  auto outcome = checkpoint_locked();
  guest_lock_.unlock();
  if (!outcome) {
    log(LogLevel::kWarn, "database checkpoint failed", {{"error", outcome.error().message}});
  }
  return outcome;
}

// Copy, seal, and only then cut the log: at each point between, a page is as the seal says or in
// the log, so dying here is never taken for damage.
Result<void> Writer::checkpoint_locked() {
  connection_->set_busy_timeout(std::chrono::milliseconds(0));
  auto complete = connection_->checkpoint(SQLITE_CHECKPOINT_FULL);
  Result<void> outcome;
  if (!complete) {
    outcome = std::unexpected(complete.error());
  } else {
    outcome = update_seal(complete->frames);
    if (outcome && complete->complete) {
      complete = connection_->checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
      outcome = complete ? Result<void>{} : std::unexpected(complete.error());
      // A reader may still use the log: then it stays, and the next round tries again.
      log_pending_ = !complete || !complete->complete;
      if (!log_pending_) {
        connection_->forget_log_frames();
      }
    }
  }
  connection_->set_busy_timeout(options_.busy_timeout);
  const std::lock_guard lock(mutex_);
  stats_.checkpoints += outcome ? 1 : 0;
  return outcome;
}

Result<void> Writer::update_seal(int frames) {
  GENESIS_TRY(const LogScan scan, scan_log(log_path(options_.path)));
  const auto loaded = load_seal_header(options_.path);
  const bool known = loaded && loaded->has_value();
  SealHeader seal = known ? **loaded : SealHeader{};
  GENESIS_TRY(const std::int64_t page_size, connection_->query_integer("PRAGMA page_size"));
  GENESIS_TRY(const std::int64_t size, connection_->file_size());
  const LogPages pages = pages_of(scan, frames);
  if (!pages.damaged.empty()) {
    log(LogLevel::kError, "the database's log is damaged", {{"what", scan.damage}});
  }
  const std::uint32_t before = seal.page_count;
  const auto count = static_cast<std::uint32_t>(size / page_size);
  if (known && pages.changed.empty() && before == count) {
    return {};
  }
  seal.page_size = static_cast<std::uint32_t>(page_size);
  seal.page_count = count;
  std::set<std::uint32_t> changed = pages.changed;
  for (std::uint32_t page = before + 1; page <= count; ++page) {
    changed.insert(page);
  }
  changed.erase(changed.upper_bound(count), changed.end());
  changed.erase(0);
  std::vector<SealedPage> entries;
  entries.reserve(changed.size());
  for (const std::uint32_t page : changed) {
    Digest digest{};
    if (!pages.damaged.contains(page)) {
      GENESIS_TRY(digest, hash_page(*connection_, page, seal.page_size));
    }
    entries.push_back({.number = page, .digest = digest});
  }
  // With pages still in the log the file alone need not be readable; the older count then stays.
  seal.commits = sealed_commits(options_.path).value_or(seal.commits);
  seal.generation += 1;
  return save_seal(options_.path, seal, entries);
}

void Writer::close() {
  if (!connection_) {
    return;
  }
  // The last to close removes the log, but only when all of it is in the file and sealed.
  if (owner_ && !log_pending_ && guest_lock_.try_lock()) {
    connection_->keep_log_on_close(false);
  }
  connection_.reset();
}

}  // namespace genesis::store
