// WriteQueue: the way of every row to the database. Rows that somebody waits for are committed at
// once, together with all that came before; others are copied into the intent ring, acknowledged
// (at once or when the ring is synced), and committed in groups a few milliseconds later. One order
// for all: what was pushed first is booked first. A commit that fails fails the rows that somebody
// waits for; the others stay in the queue and the ring and are tried again. Private to the room.
#pragma once

#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/task.h"
#include "ledger/booking.h"
#include "ledger/intent.h"
#include "ledger/intent_ring.h"
#include "ledger/ring_sync.h"
#include "store/database.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

namespace genesis::ledger {

// How many rows, and how long, an acknowledged row waits for company: a commit costs as much as
// some thirty rows, so that at 5,000 attempts a second 20 ms halve the cost of an attempt against 5
// ms (bench/ledger_rate). Also the most that the database lags behind the ring.
inline constexpr std::size_t kGroupRows = 512;
inline constexpr std::chrono::milliseconds kGroupWait{20};

// A row may be durable in the ring alone only while the database is known to take rows and to have
// no budget: as of a commit that is no older than this. Else a database that hangs, or a budget
// that another process has set, would go unnoticed for as long as the ring has room.
inline constexpr std::chrono::milliseconds kCommitTrust{1000};

// Safe from any thread. The destructor commits what is queued, as far as the database lets it; what
// remains is in the ring.
class WriteQueue {
 public:
  using Work = std::function<Result<void>(Booking&)>;

  // `ring` may be null: then nothing may be pushed without waiting.
  WriteQueue(store::Database& database,
             const Clock& clock,
             MetricsRegistry& metrics,
             std::unique_ptr<IntentRing> ring);
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;
  ~WriteQueue();

  // Acknowledged on return. kResourceExhausted: no ring, or it is full or broken; write() instead.
  Result<void> push(Intent intent);
  // Returns once the row is durable in the ring, or committed should that come first.
  // kResourceExhausted: as push(), or the last commit failed or is too old; write() instead. Any
  // other error: the ring broke and the commit failed.
  Task<Result<void>> push_durable(Intent intent);
  // Returns once the row is durable; `intent` then shows what was booked. kOverloaded when too many
  // wait already.
  Task<Result<void>> write(std::shared_ptr<Intent> intent, store::Urgency urgency);
  // Work of another kind, in the same order. It appends at most one row, last.
  Task<Result<void>> write(Work work, store::Urgency urgency);

  // Whether the database surely holds this price: rows need not carry it.
  bool keeps_price(const std::string& price_id) const;

  // How long the oldest row has been waiting that is not committed yet.
  std::chrono::nanoseconds lag() const;

  // Whether any budget was set as of the last commit.
  bool has_budgets() const { return has_budgets_.load(std::memory_order_relaxed); }

  void note_budgets(bool any) { has_budgets_.store(any, std::memory_order_relaxed); }

 private:
  struct Job {
    std::shared_ptr<Intent> intent;
    Work work;
    SteadyTime since;                 // when it came
    store::Database::Done done;       // null: acknowledged already, or by `ticket`
    std::uint64_t ring_position = 0;  // 0: not in the ring
    std::shared_ptr<RingSync::Ticket> ticket;
    Result<void> result;
  };

  struct Batch {
    std::vector<Job> jobs;
    std::uint64_t ring_position = 0;
    SteadyTime begun;
  };

  void pace();
  Task<Result<void>> enqueue_and_wait(Job job, store::Urgency urgency);
  Result<void> append(Job job, const std::string& bytes, store::Database::Done& until_synced);
  bool trusts_commits() const;
  store::Urgency urgency() const;
  bool waits(Job& job);
  void enqueue(Job job, store::Urgency urgency);
  void submit_drain();
  void take(Batch& batch);
  Result<void> run(store::Transaction& tx, Batch& batch);
  Result<void> run_job(Booking& booking, Job& job);
  Result<void> mark_applied(store::Transaction& tx, std::uint64_t position);
  void finish(Batch& batch, const Result<void>& outcome);
  void remember_prices(const Intent& intent);
  void give_back(Batch& batch, const Error& error);

  store::Database& database_;
  const Clock& clock_;
  Metric& waiting_;
  Metric& retried_;
  Metric& refused_;
  BudgetBook budgets_;  // the database's writer thread only
  std::atomic<bool> has_budgets_{false};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::unique_ptr<IntentRing> ring_;
  std::unique_ptr<RingSync> sync_;  // null without a ring
  std::deque<Job> queue_;
  std::unordered_set<std::string> kept_prices_;
  int drains_ = 0;                             // submitted and not finished
  bool drain_waiting_ = false;                 // one of them has not taken its jobs yet
  bool failing_ = false;                       // the last commit failed
  std::optional<SteadyTime> in_flight_since_;  // of the batch that is being committed
  SteadyTime committed_;                       // when the last one that succeeded began
  bool stop_ = false;

  std::thread pacer_;  // last: it uses everything above
};

}  // namespace genesis::ledger
