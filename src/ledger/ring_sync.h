// RingSync: one thread that makes the intent ring's appended records durable, for all who wait at a
// moment with one sync: who appended before it began is told at its end. A sync that fails breaks
// the ring for good: the kernel then no longer knows which pages reached the disk, and a second
// sync would succeed without having written them. Private to the room.
#pragma once

#include "base/metrics.h"
#include "ledger/intent_ring.h"
#include "store/database.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace genesis::ledger {

// Safe from any thread. The destructor serves those who still wait.
class RingSync {
 public:
  // Somebody who waits for a record; told once, by the sync or by whoever claims it before.
  class Ticket {
   public:
    explicit Ticket(store::Database::Done done) : done_(std::move(done)) {}

   private:
    friend class RingSync;
    store::Database::Done done_;  // null: told, or claimed
  };

  // `ring` and `metrics` outlive it.
  RingSync(IntentRing& ring, MetricsRegistry& metrics);
  RingSync(const RingSync&) = delete;
  RingSync& operator=(const RingSync&) = delete;
  ~RingSync();

  // After the record was appended. `done` is called from the sync thread once it is durable, and
  // never if the sync fails: then it has to be claimed.
  std::shared_ptr<Ticket> add(store::Database::Done done);

  // The right to tell whoever waits; null if that has happened.
  store::Database::Done claim(Ticket& ticket);

  // A sync has failed. Never becomes false again.
  bool broken() const { return broken_.load(std::memory_order_acquire); }

 private:
  void run();
  void fail(const Error& error);
  void tell(std::vector<std::shared_ptr<Ticket>>& tickets);

  IntentRing& ring_;
  Metric& syncs_;
  Metric& failures_;
  std::atomic<bool> broken_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<Ticket>> waiting_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace genesis::ledger
