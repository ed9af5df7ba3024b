#include "ledger/ring_sync.h"

#include "base/log.h"
#include "base/quiet_thread.h"

#include <utility>

namespace genesis::ledger {

RingSync::RingSync(IntentRing& ring, MetricsRegistry& metrics)
    : ring_(ring),
      syncs_(metrics.counter("genesis_ledger_ring_syncs_total", "Syncs of the intent ring")),
      failures_(
          metrics.counter("genesis_ledger_ring_sync_failures_total",
                          "Syncs of the intent ring that failed; the first one ends its use")),
      thread_(start_quietly([this] { run(); })) {}

RingSync::~RingSync() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::shared_ptr<RingSync::Ticket> RingSync::add(store::Database::Done done) {
  auto ticket = std::make_shared<Ticket>(std::move(done));
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (!broken()) {
      waiting_.push_back(ticket);
      wake = waiting_.size() == 1;
    }
  }
  if (wake) {
    wake_.notify_one();
  }
  return ticket;
}

store::Database::Done RingSync::claim(Ticket& ticket) {
  const std::lock_guard lock(mutex_);
  return std::exchange(ticket.done_, nullptr);
}

void RingSync::run() {
  std::vector<std::shared_ptr<Ticket>> served;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
      if (waiting_.empty()) {
        return;
      }
      served.swap(waiting_);
    }
    const auto synced = ring_.sync();
    if (!synced) {
      return fail(synced.error());
    }
    syncs_.add();
    tell(served);
    served.clear();
  }
}

// Those who wait are told by the commit of their row, one way or the other.
void RingSync::fail(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    broken_.store(true, std::memory_order_release);
    waiting_.clear();
  }
  failures_.add();
  log(LogLevel::kError,
      "the intent ring cannot be synced and is no longer used: every ledger row waits for its "
      "commit",
      {{"error", error.message}, {"next", "check the disk, then restart the gateway"}});
}

void RingSync::tell(std::vector<std::shared_ptr<Ticket>>& tickets) {
  for (const auto& ticket : tickets) {
    if (const auto done = claim(*ticket)) {
      done({});
    }
  }
}

}  // namespace genesis::ledger
