// The writer thread's rounds: one transaction, acknowledgements, checkpoints.
#include "store/writer.h"

#include "base/log.h"
#include "base/quiet_thread.h"

#include <new>
#include <optional>
#include <utility>

namespace genesis::store {

namespace {

// A guest polls for SQLite's lock at growing intervals of up to 100 ms; under load it would never
// find it free. We pause this long when one is waiting.
constexpr int kGuestPauses = 50;
constexpr std::chrono::milliseconds kGuestPause{2};
// quick_check reads everything; above this size the commit counter alone has to do.
constexpr std::int64_t kQuickCheckBytes = std::int64_t{64} << 20;

}  // namespace

Writer::Writer(const DatabaseOptions& options,
               bool owner,
               std::unique_ptr<SqliteConnection> connection,
               LockFile guest_lock)
    : options_(options),
      owner_(owner),
      connection_(std::move(connection)),
      guest_lock_(std::move(guest_lock)),
      queue_(options.max_queue),
      thread_(start_quietly([this] { run(); })) {}

Writer::~Writer() {
  queue_.stop();
  thread_.join();
}

std::future<Result<void>> Writer::request_checkpoint() {
  std::promise<Result<void>> promise;
  std::future<Result<void>> future = promise.get_future();
  {
    const std::lock_guard lock(mutex_);
    checkpoint_requests_.push_back(std::move(promise));
  }
  queue_.poke();
  return future;
}

DatabaseStats Writer::stats() const {
  const std::lock_guard lock(mutex_);
  DatabaseStats stats = stats_;
  stats.queued = queue_.size();
  return stats;
}

void Writer::run() {
  bool last = false;
  while (!last) {
    WorkQueue::Round round = queue_.take(
        options_.max_batch,
        owner_ && log_pending_ ? std::optional(options_.idle_checkpoint) : std::nullopt);
    std::vector<std::promise<Result<void>>> requests;
    {
      const std::lock_guard lock(mutex_);
      requests = std::exchange(checkpoint_requests_, {});
    }
    if (!round.jobs.empty()) {
      commit(round.jobs);
    }
    const bool full = connection_ && connection_->log_frames() >= options_.checkpoint_frames;
    Result<void> outcome;
    if (owner_ && (full || round.quiet || round.last || !requests.empty())) {
      outcome = checkpoint();
    }
    for (std::promise<Result<void>>& promise : requests) {
      promise.set_value(outcome);
    }
    last = round.last;
  }
  close();
}

void Writer::commit(std::vector<Job>& jobs) {
  std::vector<Result<void>> results(jobs.size());
  if (owner_) {
    let_guest_pass();
  } else {
    guest_lock_.lock();
  }
  Result<void> whole = ensure_open();
  if (whole) {
    whole = transact(jobs, results);
  }
  if (!whole) {
    recover_after(whole.error());
  }
  if (!owner_) {
    guest_lock_.unlock();
  }
  log_pending_ = true;
  {
    const std::lock_guard lock(mutex_);
    (whole ? stats_.commits : stats_.failed_commits) += 1;
  }
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].done(whole ? std::move(results[i]) : whole);
    jobs[i] = {};
  }
}

// On failure nothing of the batch is in the database, or at least nothing was promised to be.
Result<void> Writer::transact(std::vector<Job>& jobs, std::vector<Result<void>>& results) {
  GENESIS_TRY_VOID(connection_->run("BEGIN IMMEDIATE"));
  GENESIS_TRY(const std::int64_t changes_before,
              connection_->query_integer("SELECT total_changes()"));
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    GENESIS_TRY_VOID(connection_->run("SAVEPOINT job"));
    results[i] = run_job(jobs[i]);
    // Disk full and I/O errors make SQLite undo the whole transaction by itself.
    if (!connection_->in_transaction()) {
      return results[i] ? fail(ErrorCode::kInternal, "a work ended the transaction") : results[i];
    }
    if (!results[i]) {
      GENESIS_TRY_VOID(connection_->run("ROLLBACK TO job"));
    }
    GENESIS_TRY_VOID(connection_->run("RELEASE job"));
  }
  GENESIS_TRY(const std::int64_t changes_after,
              connection_->query_integer("SELECT total_changes()"));
  if (changes_after == changes_before) {
    return connection_->run("COMMIT");
  }
  return finish_transaction();
}

// A commit that changes anything also counts itself: page_check.cpp builds on that.
Result<void> Writer::finish_transaction() {
  {
    GENESIS_TRY(
        Statement count,
        connection_->prepare("UPDATE store_state SET value = value + 1 WHERE name = 'commits'"));
    GENESIS_TRY_VOID(count.run());
  }
  GENESIS_TRY(const std::int64_t commits,
              connection_->query_integer("SELECT value FROM store_state WHERE name = 'commits'"));
  GENESIS_TRY_VOID(connection_->run("COMMIT"));
  commits_ = commits;
  return {};
}

Result<void> Writer::run_job(Job& job) {
  Transaction transaction(*connection_);
  try {
    return job.work(transaction);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kResourceExhausted, "out of memory while writing to the database");
  }
}

void Writer::recover_after(const Error& error) {
  log(LogLevel::kError, "database commit failed", {{"error", error.message}});
  if (connection_ && connection_->in_transaction()) {
    [[maybe_unused]] const auto undone = connection_->execute("ROLLBACK");
  }
  // Waiting too long for another program's lock says nothing about our connection.
  if (error.code != ErrorCode::kUnavailable) {
    connection_.reset();
  }
}

Result<void> Writer::ensure_open() {
  return connection_ ? Result<void>{} : reopen();
}

// After a failed sync the kernel may hold log pages that it will never write, and call them clean
// (PostgreSQL's "fsyncgate"). So nothing is appended after them: the log is moved into the file and
// cut to nothing first, with syncs of its own, and only then is the connection used again.
Result<void> Writer::reopen() {
  GENESIS_TRY(
      auto fresh,
      SqliteConnection::open(
          {.path = options_.path, .vfs = options_.vfs, .busy_timeout = options_.busy_timeout}));
  GENESIS_TRY_VOID(configure_writer(*fresh));
  GENESIS_TRY(const std::int64_t commits,
              fresh->query_integer("SELECT value FROM store_state WHERE name = 'commits'"));
  GENESIS_TRY(const std::int64_t bytes, fresh->file_size());
  if (bytes <= kQuickCheckBytes) {
    GENESIS_TRY(Statement check, fresh->prepare("PRAGMA quick_check(1)"));
    GENESIS_TRY(const bool row, check.step());
    if (!row || check.text(0) != "ok") {
      return fail(ErrorCode::kDataLoss, "the database is damaged after a failed write");
    }
  }
  if (commits < commits_) {
    return fail(ErrorCode::kDataLoss,
                "the database lost acknowledged commits after a failed write");
  }
  connection_ = std::move(fresh);
  if (owner_) {
    if (auto emptied = checkpoint(); !emptied) {
      connection_.reset();
      return emptied;
    }
  }
  const std::lock_guard lock(mutex_);
  stats_.reopened += 1;
  return {};
}

void Writer::let_guest_pass() {
  for (int i = 0; i < kGuestPauses; ++i) {
    if (guest_lock_.try_lock()) {
      guest_lock_.unlock();
      return;
    }
    std::this_thread::sleep_for(kGuestPause);
  }
}

}  // namespace genesis::store
