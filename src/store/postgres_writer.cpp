// The rounds of the thread, and what it does when the server is away.
#include "store/postgres_writer.h"

#include "base/log.h"
#include "base/quiet_thread.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

namespace genesis::store {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{1'000};
// A destructor does not wait longer than this for a database that is away.
constexpr milliseconds kFarewell{3'000};
// A batch whose transaction was lost so often is given up: it may be what breaks the connection.
constexpr int kMaxRuns = 5;
// How often an idle owner says that it is there; at least so often in a lease.
constexpr milliseconds kHeartbeat{15'000};
constexpr int kHeartbeats = 6;
// A row updated for every job of a transaction costs more with each version of it.
constexpr std::size_t kMaxBatch = 256;

// One transaction after the other, over all gateways: the order of the ledger's chain. The lock
// goes with the transaction, however that ends. lock_timeout is less than our patience with an
// answer, so that waiting for the others does not cost the connection.
constexpr std::string_view kBegin =
    "BEGIN; SET LOCAL lock_timeout = '8s';"
    "SELECT pg_advisory_xact_lock(hashtextextended('genesis.store ' || current_schema(), 0))";

constexpr std::string_view kMark =
    "INSERT INTO store_writers VALUES(?1, ?2, clock_timestamp()) ON CONFLICT(id) DO UPDATE"
    " SET batch = excluded.batch, seen = excluded.seen";

Result<std::int64_t> first_integer(Statement& statement) {
  GENESIS_TRY(const bool row, statement.step());
  return row ? statement.integer(0) : 0;
}

Result<std::int64_t> read_batch(PostgresConnection& connection, const std::string& name) {
  GENESIS_TRY(Statement select,
              connection.prepare("SELECT batch FROM store_writers WHERE id = ?1"));
  return first_integer(select.bind(1, name));
}

}  // namespace

Result<std::int64_t> enrol(PostgresConnection& connection, const WriterIdentity& identity) {
  GENESIS_TRY(const std::int64_t follows, connection.query_integer("SELECT pg_is_in_recovery()"));
  if (follows != 0) {
    return fail(ErrorCode::kUnavailable,
                "the database server only follows another one and takes no writes",
                "name the primary, or several hosts with target_session_attrs=read-write");
  }
  if (identity.owner) {
    GENESIS_TRY(Statement lock,
                connection.prepare("SELECT pg_try_advisory_lock(hashtextextended("
                                   "'genesis.writer ' || current_schema() || ' ' || ?1, 0))"));
    GENESIS_TRY(const std::int64_t ours, first_integer(lock.bind(1, identity.name)));
    if (ours == 0) {
      return fail(ErrorCode::kConflict,
                  fmt::format("a gateway named {} is connected to this database", identity.name),
                  "stop it; a copied data folder needs another file writer-id");
    }
  }
  GENESIS_TRY(Statement insert,
              connection.prepare("INSERT INTO store_writers VALUES(?1, 0, clock_timestamp())"
                                 " ON CONFLICT(id) DO UPDATE SET seen = excluded.seen"));
  GENESIS_TRY_VOID(insert.bind(1, identity.name).run());
  return read_batch(connection, identity.name);
}

PostgresWriter::PostgresWriter(const DatabaseOptions& options,
                               WriterIdentity identity,
                               std::unique_ptr<PostgresConnection> connection,
                               std::int64_t last_batch)
    : options_(options),
      identity_(std::move(identity)),
      connection_(std::move(connection)),
      batch_(last_batch),
      jitter_(static_cast<std::uint64_t>(Clock::now().time_since_epoch().count())),
      queue_(options.max_queue),
      thread_(start_quietly([this] { run(); })) {}

PostgresWriter::~PostgresWriter() {
  queue_.stop();
  thread_.join();
}

DatabaseStats PostgresWriter::stats() const {
  const std::lock_guard lock(mutex_);
  DatabaseStats stats = stats_;
  stats.queued += queue_.size();
  return stats;
}

PostgresOptions PostgresWriter::connection_options() const {
  return {
      .url = options_.url, .password = options_.password, .reply_timeout = options_.reply_timeout};
}

std::optional<milliseconds> PostgresWriter::pause() const {
  if (!connection_) {
    const auto left = std::chrono::duration_cast<milliseconds>(next_try_ - Clock::now());
    return std::max(left, milliseconds(1));
  }
  if (!waiting_.empty()) {
    return milliseconds(0);
  }
  return identity_.owner ? std::optional(std::min(options_.lease / kHeartbeats, kHeartbeat))
                         : std::nullopt;
}

void PostgresWriter::run() {
  std::optional<Clock::time_point> farewell;
  bool last = false;
  while (!last) {
    WorkQueue::Round round = queue_.take(std::min(options_.max_batch, kMaxBatch), pause());
    accept(std::move(round.jobs));
    if (round.last && !farewell) {
      farewell = Clock::now() + kFarewell;
    }
    const bool give_up = farewell && Clock::now() >= *farewell;
    if (!waiting_.empty()) {
      work_off(give_up);
    } else if (round.quiet && !round.last) {
      heartbeat();
    }
    last = round.last && waiting_.empty();
    if (round.last && !last) {
      std::this_thread::sleep_for(std::min(pause().value_or(kFirstPause), kFirstPause));
    }
  }
  withdraw();
}

void PostgresWriter::accept(std::vector<Job> jobs) {
  const auto now = Clock::now();
  for (Job& job : jobs) {
    if (!connection_ && waiting_.size() >= options_.max_queue) {
      job.done(std::unexpected(last_error_));
      continue;
    }
    waiting_.push_back({.job = std::move(job), .since = now, .runs = 0, .result = {}});
  }
  const std::lock_guard lock(mutex_);
  stats_.queued = waiting_.size();
}

void PostgresWriter::work_off(bool last) {
  if (const auto open = ensure_connected(); !open) {
    refuse_waiting(open.error(), last);
  } else if (!waiting_.empty()) {
    commit_batch();
  }
  const std::lock_guard lock(mutex_);
  stats_.queued = waiting_.size();
}

// While the database is away: new work is told so at once, so that its caller can answer; begun
// work waits for its turn. What is in an unknown commit may be told nothing yet.
void PostgresWriter::refuse_waiting(const Error& error, bool last) {
  const auto now = Clock::now();
  std::deque<Waiting> kept;
  std::vector<Waiting> refused;
  std::size_t still_unresolved = 0;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    Waiting& waiting = waiting_[i];
    const bool patient = waiting.job.urgency == Urgency::kCompletion || i < unresolved_;
    const bool keep = patient && !last && now - waiting.since < options_.patience;
    if (keep) {
      still_unresolved += i < unresolved_ ? 1 : 0;
      kept.push_back(std::move(waiting));
    } else {
      refused.push_back(std::move(waiting));
    }
  }
  // The unresolved came first, so they are still at the front.
  unresolved_ = still_unresolved;
  waiting_ = std::move(kept);
  for (Waiting& waiting : refused) {
    waiting.job.done(std::unexpected(error));
  }
}

void PostgresWriter::commit_batch() {
  const std::size_t count =
      std::min({waiting_.size(), std::max<std::size_t>(options_.max_batch, 1), kMaxBatch});
  const auto filled = fill_batch(count);
  if (!filled) {
    if (connection_->lost()) {
      lose_connection(filled.error());
      if (waiting_.front().runs >= kMaxRuns) {
        fail_first(count, filled.error());
      }
      return;
    }
    [[maybe_unused]] const auto undone = connection_->execute("ROLLBACK");
    fail_first(count, filled.error());
    return;
  }
  auto outcome = connection_->commit();
  switch (outcome.state) {
    case PostgresConnection::Commit::kDone:
      acknowledge(count);
      return;
    case PostgresConnection::Commit::kRefused:
      fail_first(count, outcome.error);
      return;
    case PostgresConnection::Commit::kUnknown:
      unresolved_ = count;
      lose_connection(outcome.error);
      return;
  }
}

// Everything up to the COMMIT. On an error nothing of it will be there.
Result<void> PostgresWriter::fill_batch(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    waiting_[i].runs += 1;
  }
  GENESIS_TRY_VOID(connection_->execute(kBegin));
  for (std::size_t i = 0; i < count; ++i) {
    // One message, one answer: the way to the server and back is most of what a job costs.
    GENESIS_TRY_VOID(connection_->execute(i == 0 ? "SAVEPOINT job" : "RELEASE job; SAVEPOINT job"));
    Result<void>& result = waiting_[i].result;
    result = run_job(waiting_[i].job);
    if (connection_->lost()) {
      return result ? fail(ErrorCode::kUnavailable, "the database connection was lost") : result;
    }
    if (result && connection_->in_failed_transaction()) {
      result = fail(ErrorCode::kInternal, "a work went on after a statement had failed");
    }
    if (!result) {
      GENESIS_TRY_VOID(connection_->execute("ROLLBACK TO job"));
    }
  }
  batch_ += 1;
  GENESIS_TRY(Statement mark, connection_->prepare(kMark));
  return mark.bind(1, identity_.name).bind(2, batch_).run();
}

Result<void> PostgresWriter::run_job(Job& job) {
  Transaction transaction(*connection_);
  try {
    return job.work(transaction);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kResourceExhausted, "out of memory while writing to the database");
  }
}

void PostgresWriter::acknowledge(std::size_t count) {
  {
    const std::lock_guard lock(mutex_);
    stats_.commits += 1;
  }
  for (std::size_t i = 0; i < count; ++i) {
    Waiting told = std::move(waiting_.front());
    waiting_.pop_front();
    told.job.done(std::move(told.result));
  }
}

void PostgresWriter::fail_first(std::size_t count, const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    stats_.failed_commits += 1;
  }
  log(LogLevel::kError, "database commit failed", {{"error", error.message}});
  for (std::size_t i = 0; i < count && !waiting_.empty(); ++i) {
    Waiting told = std::move(waiting_.front());
    waiting_.pop_front();
    told.job.done(std::unexpected(error));
  }
}

void PostgresWriter::lose_connection(const Error& error) {
  log(LogLevel::kWarn, "database connection lost", {{"error", error.message}});
  connection_.reset();
  last_error_ = error;
  backoff_ = milliseconds(0);
  next_try_ = Clock::now();
}

Result<void> PostgresWriter::ensure_connected() {
  if (connection_ && !connection_->lost()) {
    return {};
  }
  connection_.reset();
  if (Clock::now() < next_try_) {
    return std::unexpected(last_error_);
  }
  auto back = reconnect();
  if (!back) {
    connection_.reset();
    last_error_ = back.error();
    // Whatever the reason, to the works it is a database that does not answer now.
    last_error_.code = ErrorCode::kUnavailable;
    backoff_ = std::clamp(backoff_ * 2, kFirstPause, kLongestPause);
    // Up to half as long again, so that gateways do not all come back in the same moment.
    const auto more = jitter_.below(static_cast<std::uint64_t>(backoff_.count()) / 2 + 1);
    next_try_ = Clock::now() + backoff_ + milliseconds(more);
    // Whoever asks whether the ledger works (readiness) looks at this.
    const std::lock_guard lock(mutex_);
    stats_.failed_commits += 1;
    return std::unexpected(last_error_);
  }
  backoff_ = milliseconds(0);
  const std::lock_guard lock(mutex_);
  stats_.reopened += 1;
  return {};
}

Result<void> PostgresWriter::reconnect() {
  GENESIS_TRY(connection_, PostgresConnection::open(connection_options()));
  GENESIS_TRY_VOID(enrol(*connection_, identity_));
  if (unresolved_ > 0) {
    GENESIS_TRY_VOID(resolve());
  }
  log(LogLevel::kInfo, "database connection is back", {});
  return {};
}

// What became of the commit whose answer was lost? The lock is ours only when its transaction has
// ended, so the mark tells for certain, also on a server that took over from the one that died.
Result<void> PostgresWriter::resolve() {
  GENESIS_TRY_VOID(connection_->execute(kBegin));
  GENESIS_TRY(const std::int64_t batch, read_batch(*connection_, identity_.name));
  GENESIS_TRY_VOID(connection_->execute("COMMIT"));
  const std::size_t count = std::exchange(unresolved_, 0);
  const bool committed = batch == batch_;
  log(LogLevel::kWarn,
      committed ? "the interrupted commit had been done"
                : "the interrupted commit had not been done",
      {{"works", static_cast<std::int64_t>(count)}});
  if (committed) {
    acknowledge(count);
  }
  return {};
}

// An idle owner stays on the list of those that are there, and notices a server that is gone.
void PostgresWriter::heartbeat() {
  if (!ensure_connected()) {
    return;
  }
  const auto seen = [this]() -> Result<void> {
    GENESIS_TRY(Statement mark, connection_->prepare(kMark));
    return mark.bind(1, identity_.name).bind(2, batch_).run();
  }();
  if (!seen && connection_->lost()) {
    lose_connection(seen.error());
  }
}

// A guest was here for a moment only; an owner's row tells the next start what it left.
void PostgresWriter::withdraw() {
  if (connection_ && !identity_.owner) {
    auto remove = connection_->prepare("DELETE FROM store_writers WHERE id = ?1");
    if (remove) {
      [[maybe_unused]] const auto gone = remove->bind(1, identity_.name).run();
    }
  }
  connection_.reset();
}

}  // namespace genesis::store
