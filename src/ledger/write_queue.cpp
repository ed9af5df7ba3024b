#include "ledger/write_queue.h"

#include "base/log.h"
#include "base/quiet_thread.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

namespace genesis::ledger {

namespace {

// Rows that may wait for their commit at once: as many as the database's own queue takes.
constexpr std::size_t kMaxWaiting = 4096;
// After a failed commit; a full disk does not get emptier by asking faster.
constexpr std::chrono::milliseconds kRetryPause{200};
constexpr int kLastTries = 3;

// What concerns one row only; anything else is the database's trouble and fails the whole batch.
bool concerns_one_row(const Error& error) {
  switch (error.code) {
    case ErrorCode::kConflict:
    case ErrorCode::kBudgetExhausted:
    case ErrorCode::kNotFound:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

// Suspends the caller until `start` has called the function that it is given, from any thread.
template <typename Start>
Task<Result<void>> until_told(Start start) {
  namespace asio = boost::asio;
  auto initiate = [](auto handler, Start inner) {
    auto executor = asio::get_associated_executor(handler);
    auto guard = asio::make_work_guard(executor);
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    // Everything moves into the posted step: the handler is only ever touched, and destroyed, on
    // its own executor.
    inner([executor, guard, shared](Result<void> result) mutable {
      asio::post(executor, [shared = std::move(shared), result = std::move(result)]() mutable {
        std::move (*shared)(std::move(result));
      });
      guard.reset();
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<void>)>(
      std::move(initiate), asio::use_awaitable, std::move(start));
}

}  // namespace

WriteQueue::WriteQueue(store::Database& database,
                       const Clock& clock,
                       MetricsRegistry& metrics,
                       std::unique_ptr<IntentRing> ring)
    : database_(database),
      clock_(clock),
      waiting_(metrics.gauge("genesis_ledger_waiting_rows", "Rows on their way to the database")),
      retried_(metrics.counter("genesis_ledger_retried_rows_total",
                               "Acknowledged rows whose commit failed and was tried again")),
      refused_(metrics.counter("genesis_ledger_refused_rows_total",
                               "Acknowledged rows that contradicted one in the database")),
      ring_(std::move(ring)),
      sync_(ring_ ? std::make_unique<RingSync>(*ring_, metrics) : nullptr),
      // The database was opened, and its budgets are read, at this moment.
      committed_(clock.steady()),
      pacer_(start_quietly([this] { pace(); })) {}

WriteQueue::~WriteQueue() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  pacer_.join();
  for (int i = 0; i < kLastTries; ++i) {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return drains_ == 0; });
    if (queue_.empty()) {
      break;
    }
    lock.unlock();
    submit_drain();
  }
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return drains_ == 0; });
}

// Sees to it that acknowledged rows do not wait longer than kGroupWait.
void WriteQueue::pace() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait(lock, [this] { return stop_ || (!queue_.empty() && !drain_waiting_); });
    const auto pause = failing_ ? kRetryPause : kGroupWait;
    wake_.wait_for(lock, pause, [this] {
      return stop_ || drain_waiting_ || (!failing_ && queue_.size() >= kGroupRows);
    });
    if (!stop_ && !queue_.empty() && !drain_waiting_) {
      drain_waiting_ = true;
      lock.unlock();
      submit_drain();
      lock.lock();
    }
  }
}

Result<void> WriteQueue::push(Intent intent) {
  const std::string bytes = encode_intent(intent);
  store::Database::Done nobody;
  return append(Job{.intent = std::make_shared<Intent>(std::move(intent))}, bytes, nobody);
}

Task<Result<void>> WriteQueue::push_durable(Intent intent) {
  std::string bytes = encode_intent(intent);
  Job job{.intent = std::make_shared<Intent>(std::move(intent))};
  auto start =
      [this, job = std::move(job), bytes = std::move(bytes)](store::Database::Done told) mutable {
        const auto appended = append(std::move(job), bytes, told);
        if (!appended) {
          told(appended);
        }
      };
  co_return co_await until_told(std::move(start));
}

// `until_synced` is taken if the row was, and called once the ring is synced.
Result<void> WriteQueue::append(Job job,
                                const std::string& bytes,
                                store::Database::Done& until_synced) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (!ring_ || stop_ || sync_->broken()) {
      return fail(ErrorCode::kResourceExhausted, "there is no intent ring");
    }
    if (until_synced && !trusts_commits()) {
      return fail(ErrorCode::kResourceExhausted, "the database has to be asked first");
    }
    GENESIS_TRY(job.ring_position, ring_->append(bytes));
    if (until_synced) {
      job.ticket = sync_->add(std::move(until_synced));
    }
    job.since = clock_.steady();
    queue_.push_back(std::move(job));
    wake = queue_.size() == 1 || queue_.size() == kGroupRows;
  }
  if (wake) {
    wake_.notify_one();
  }
  return {};
}

bool WriteQueue::trusts_commits() const {
  return !failing_ && clock_.steady() - committed_ <= kCommitTrust;
}

// With a ring an attempt's end is safe without the database, so nothing has to wait for one that is
// away: a reservation fails at once, and the ends are tried again.
store::Urgency WriteQueue::urgency() const {
  return ring_ && !sync_->broken() ? store::Urgency::kNew : store::Urgency::kCompletion;
}

Task<Result<void>> WriteQueue::write(std::shared_ptr<Intent> intent, store::Urgency urgency) {
  co_return co_await enqueue_and_wait(Job{.intent = std::move(intent)}, urgency);
}

Task<Result<void>> WriteQueue::write(Work work, store::Urgency urgency) {
  co_return co_await enqueue_and_wait(Job{.work = std::move(work)}, urgency);
}

Task<Result<void>> WriteQueue::enqueue_and_wait(Job job, store::Urgency urgency) {
  co_return co_await until_told(
      [this, urgency, job = std::move(job)](store::Database::Done told) mutable {
        job.done = std::move(told);
        enqueue(std::move(job), urgency);
      });
}

void WriteQueue::enqueue(Job job, store::Urgency urgency) {
  const std::size_t ring_rows = ring_ ? IntentRing::kDefaultSlots : 0;
  const std::size_t bound =
      ring_rows + (urgency == store::Urgency::kCompletion ? 2 * kMaxWaiting : kMaxWaiting);
  bool room = false;
  bool submit = false;
  {
    const std::lock_guard lock(mutex_);
    room = queue_.size() < bound && !stop_;
    if (room) {
      job.since = clock_.steady();
      queue_.push_back(std::move(job));
      submit = !std::exchange(drain_waiting_, true);
    }
  }
  if (!room) {
    job.done(fail(ErrorCode::kOverloaded,
                  "too many rows wait for the ledger's database",
                  "try again in a moment"));
  } else if (submit) {
    submit_drain();
  }
}

bool WriteQueue::keeps_price(const std::string& price_id) const {
  const std::lock_guard lock(mutex_);
  return kept_prices_.contains(price_id);
}

std::chrono::nanoseconds WriteQueue::lag() const {
  const std::lock_guard lock(mutex_);
  if (in_flight_since_) {
    return clock_.steady() - *in_flight_since_;
  }
  return queue_.empty() ? std::chrono::nanoseconds(0) : clock_.steady() - queue_.front().since;
}

void WriteQueue::submit_drain() {
  {
    const std::lock_guard lock(mutex_);
    ++drains_;
  }
  auto batch = std::make_shared<Batch>();
  database_.submit([this, batch](store::Transaction& tx) { return run(tx, *batch); },
                   [this, batch](const Result<void>& outcome) { finish(*batch, outcome); },
                   urgency());
}

void WriteQueue::take(Batch& batch) {
  const std::lock_guard lock(mutex_);
  batch.jobs.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.end()));
  queue_.clear();
  drain_waiting_ = false;
  batch.begun = clock_.steady();
  if (!batch.jobs.empty()) {
    in_flight_since_ = batch.jobs.front().since;
  }
  for (const Job& job : batch.jobs) {
    batch.ring_position = std::max(batch.ring_position, job.ring_position);
  }
}

// May run more than once for a batch, should the database begin its transaction anew.
Result<void> WriteQueue::run(store::Transaction& tx, Batch& batch) {
  if (batch.jobs.empty()) {
    take(batch);
  }
  waiting_.set(static_cast<std::int32_t>(batch.jobs.size()));
  GENESIS_TRY(Appender rows, Appender::begin(tx));
  GENESIS_TRY_VOID(budgets_.begin(tx));
  note_budgets(budgets_.size() > 0);
  Booking booking{tx, rows, budgets_};
  for (Job& job : batch.jobs) {
    job.result = run_job(booking, job);
    if (rows.broken() || (!job.result && !concerns_one_row(job.result.error()))) {
      return job.result;
    }
  }
  GENESIS_TRY_VOID(budgets_.finish(tx));
  GENESIS_TRY_VOID(rows.finish());
  return mark_applied(tx, batch.ring_position);
}

Result<void> WriteQueue::run_job(Booking& booking, Job& job) {
  if (job.work) {
    return job.work(booking);
  }
  return book(booking, *job.intent, job.ring_position > 0);
}

Result<void> WriteQueue::mark_applied(store::Transaction& tx, std::uint64_t position) {
  if (position == 0) {
    return {};
  }
  GENESIS_TRY(store::Statement mark,
              tx.prepare("UPDATE ledger_writers SET applied = ?2, seen_ms = ?3 WHERE writer = ?1"));
  return mark.bind(1, ring_->name())
      .bind(2, static_cast<std::int64_t>(position))
      .bind(3, clock_.unix_ms())
      .run();
}

void WriteQueue::finish(Batch& batch, const Result<void>& outcome) {
  if (batch.jobs.empty()) {
    take(batch);  // refused before it ran: the database's queue is full, or it is down
  }
  if (!outcome) {
    give_back(batch, outcome.error());
  } else {
    const std::lock_guard lock(mutex_);
    failing_ = false;
    committed_ = batch.begun;
    in_flight_since_.reset();
    if (batch.ring_position > 0) {
      ring_->release(batch.ring_position);
    }
    for (const Job& job : batch.jobs) {
      if (job.intent) {
        remember_prices(*job.intent);
      }
    }
  }
  for (Job& job : batch.jobs) {
    if (waits(job)) {
      job.done(outcome ? job.result : outcome);
    } else if (outcome && !job.result) {
      refused_.add();
      log(LogLevel::kError,
          "a ledger row contradicts one that stands",
          {{"request_id", job.intent->entry.request_id},
           {"kind", job.intent->entry.kind},
           {"error", job.result.error().message}});
    }
  }
  const std::lock_guard lock(mutex_);
  --drains_;
  idle_.notify_all();
}

void WriteQueue::remember_prices(const Intent& intent) {
  for (const TokenPrice& price : intent.prices) {
    kept_prices_.insert(price.id);
  }
}

// A commit tells those too whose row the ring's sync has not reached yet.
bool WriteQueue::waits(Job& job) {
  if (job.ticket) {
    job.done = sync_->claim(*job.ticket);
    job.ticket.reset();
  }
  return static_cast<bool>(job.done);
}

// Acknowledged rows go back to the front, in their order. A row that waits for the ring's sync is
// as good as acknowledged, unless the ring is broken.
void WriteQueue::give_back(Batch& batch, const Error& error) {
  std::vector<Job> keep;
  std::vector<Job> fail;
  for (Job& job : batch.jobs) {
    const bool synced_later = job.ticket && !sync_->broken();
    (!synced_later && waits(job) ? fail : keep).push_back(std::move(job));
  }
  retried_.add(static_cast<std::int32_t>(keep.size()));
  const std::lock_guard lock(mutex_);
  // Once for each outage: it is tried again many times a second.
  if (!keep.empty() && !failing_) {
    log(LogLevel::kError,
        "ledger rows could not be committed; they are kept and tried again",
        {{"rows", std::ssize(keep)}, {"error", error.message}});
  }
  failing_ = true;
  in_flight_since_.reset();
  queue_.insert(
      queue_.begin(), std::make_move_iterator(keep.begin()), std::make_move_iterator(keep.end()));
  batch.jobs = std::move(fail);
  wake_.notify_one();
}

}  // namespace genesis::ledger
