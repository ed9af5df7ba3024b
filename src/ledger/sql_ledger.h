// SqlLedger: the ledger port on store::Database. Two-phase rows per attempt, hash-chained,
// append-only.
//
// Rules. reserve() writes the upper bound. post() and void_attempt() need that row and end the
// attempt; one end only: another one is kConflict, the same one again returns what was written. An
// amount is usage times the price valid at that moment, each kind of token rounded up to 1
// nano-USD; the price itself is kept under its price_id, so that verify() can recompute it. A
// delivered answer also earns a baseline: the same usage at the price of the pin (pins.h) that
// was in force when it was reserved.
// No known price: the attempt ends in a `quarantine` row without an amount, a counter and a
// warning, and post() answers kNotFound naming the model. At open, attempts left over from a
// process that died become `unconfirmed` at their upper bound: all of them where one gateway
// follows another, else those of its own former life and of gateways that are gone
// (store::Database::writer()).
//
// When a call returns. reserve() of an attempt that a budget has to hold: when the row is
// committed. reserve() of a paid tier: when a copy in the intent ring (intent_ring.h) is synced,
// which a power cut cannot take away. All else: when the ring has a copy, which kill -9 cannot take
// away. With the ring full, broken or absent, or, for paid tiers, without a commit that succeeded
// within the last second: when the row is committed.
#pragma once

#include "api/ledger.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/task.h"
#include "ledger/budget.h"
#include "ledger/pins.h"
#include "ledger/price_table.h"
#include "store/database.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

namespace genesis::ledger {

struct Entry;
struct Intent;
class IntentRing;
class WriteQueue;

struct SqlLedgerOptions {
  std::shared_ptr<const PriceTable> prices;
  BaselineRules baselines;            // without one, nothing can be called saved
  std::filesystem::path ring;         // empty: no ring, every call waits for its commit
  std::uint64_t ring_slots = 0;       // 0: IntentRing::kDefaultSlots; counts when the file is made
  std::function<int(int)> ring_sync;  // as fdatasync(2), which it is if empty; for tests
};

// A minute of a machine, paid in advance.
struct MachineMinute {
  std::string endpoint;
  Tier tier = Tier::kSelfHosted;
  std::int64_t start_ms = 0;  // a whole minute since 1970
  NanoUsd per_hour = 0;
};

// Posted plus what may still come, in nano-USD: what a budget has to look at.
struct Exposure {
  NanoUsd posted = 0;
  NanoUsd unconfirmed = 0;
  NanoUsd reserved = 0;
};

// Lives on the io thread. `database`, `clock` and `metrics` outlive it.
class SqlLedger final : public Ledger {
 public:
  // The database was opened with schema(). Pins the baselines. kConfig: the model of one has no
  // price.
  static Result<std::unique_ptr<SqlLedger>> open(store::Database& database,
                                                 const Clock& clock,
                                                 MetricsRegistry& metrics,
                                                 SqlLedgerOptions options);

  ~SqlLedger() override;

  Task<Result<void>> reserve(const Reservation& reservation) override;
  // `outcome.finish` may carry a remark after a semicolon ("stop;estimated"): it becomes the row's
  // note.
  Task<Result<Posted>> post(const AttemptId& id, const AttemptOutcome& outcome) override;
  Task<Result<void>> void_attempt(const AttemptId& id, const std::string& reason) override;

  // Charging the same minute of the same endpoint twice is the same as once.
  Task<Result<void>> charge_machine(const MachineMinute& minute);

  // Returns once everything acknowledged so far is in the database, for whoever reads it next.
  Task<Result<void>> flush();

  // Books what gateways left open that have gone since the start; returns how many attempts.
  Task<Result<std::int64_t>> settle_absent_writers();

  // Makes the budgets that genesis.toml asks for those in force.
  Result<void> set_file_budgets(const std::vector<Budget>& budgets);
  // The same without blocking, for a reload.
  Task<Result<void>> change_file_budgets(std::vector<Budget> budgets);

  // How long the first of the reservations has been waiting that have not returned; 0 = none waits.
  std::chrono::nanoseconds longest_wait() const;

  // How far the database is behind: the age of the oldest row that is not committed.
  std::chrono::nanoseconds lag() const;

  // Attempts that crash recovery found open, and rows that only the ring still held.
  std::int64_t recovered() const { return recovered_; }

  std::int64_t replayed() const { return replayed_; }

  // Attempts reserved from now on use these prices and baselines, which are pinned before this
  // returns; a reload of the configuration.
  Task<Result<void>> reconfigure(SqlLedgerOptions options);

 private:
  SqlLedger(store::Database& database,
            const Clock& clock,
            MetricsRegistry& metrics,
            SqlLedgerOptions options);
  Result<void> recover();
  Result<std::unique_ptr<IntentRing>> open_ring();
  Result<void> replay(IntentRing& ring);

  void price(Intent& intent) const;
  void add_baseline(Entry& entry) const;
  Task<Result<const BaselinePin*>> pin_for(std::string_view route);
  void remember_pins(const std::vector<PinAndPrice>& pins);
  void keep(Intent& intent, const TokenPrice& price) const;
  Intent end_intent(const Entry& reserve, Entry entry) const;
  Task<Result<void>> reserve_in_line(const Reservation& reservation);
  Task<Result<void>> end(Intent intent);
  Task<Result<Posted>> finish_post(Entry booked);
  Task<Result<Posted>> post_unknown(const AttemptId& id, const AttemptOutcome& outcome);
  Task<Result<void>> void_unknown(const AttemptId& id, const std::string& reason);

  store::Database& database_;
  const Clock& clock_;
  SqlLedgerOptions options_;
  std::int64_t recovered_ = 0;
  std::int64_t replayed_ = 0;
  std::string writer_;
  std::unique_ptr<WriteQueue> queue_;
  // The pins in force, by route; "" for all others. They are in the database.
  std::map<std::string, BaselinePin, std::less<>> pins_;
  // Of all pins of this process's life, by price_id: attempts end at the one they began with.
  std::map<std::string, TokenPrice, std::less<>> pinned_prices_;
  // The reservations of attempts that this process has open, by attempt_key().
  std::unordered_map<std::string, std::unique_ptr<Entry>> open_;
  // When each reservation came that has not returned yet.
  std::list<SteadyTime> line_;
  Metric& rows_reserved_;
  Metric& rows_posted_;
  Metric& rows_voided_;
  Metric& rows_unconfirmed_;
  Metric& rows_quarantined_;
  Metric& rows_machine_;
  Metric& rows_disputed_;
  Metric& failures_;
};

// Sums over all rows of a tenant; reads each of them.
Result<Exposure> exposure_of(const store::Database& database, const std::string& tenant);

}  // namespace genesis::ledger
