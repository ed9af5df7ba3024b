// SqlLedger: the ledger port on store::Database. Two-phase rows per attempt, hash-chained,
// append-only.
//
// Rules. reserve() writes the upper bound. post() and void_attempt() need that row and end the
// attempt; one end only: another one is kConflict, the same one again returns what was written. An
// amount is usage times the price valid at that moment, each kind of token rounded up to 1
// nano-USD; the price itself is kept under its price_id, so that verify() can recompute it. A
// delivered answer also earns a baseline: the same usage at the price of the pin (pins.h) that was
// in force when it was reserved.
// No known price: the attempt ends in a `quarantine` row without an amount, a counter and a
// warning, and post() answers kNotFound naming the model. At open, attempts left over from a
// process that died become `unconfirmed` at their upper bound.
#pragma once

#include "api/ledger.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/task.h"
#include "ledger/pins.h"
#include "ledger/price_table.h"
#include "store/database.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace genesis::ledger {

struct SqlLedgerOptions {
  std::shared_ptr<const PriceTable> prices;
  BaselineRules baselines;  // without one, nothing can be called saved
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

  Task<Result<void>> reserve(const Reservation& reservation) override;
  // `outcome.finish` may carry a remark after a semicolon ("stop;estimated"): it becomes the row's
  // note.
  Task<Result<NanoUsd>> post(const AttemptId& id, const AttemptOutcome& outcome) override;
  Task<Result<void>> void_attempt(const AttemptId& id, const std::string& reason) override;

  // Charging the same minute of the same endpoint twice is the same as once.
  Task<Result<void>> charge_machine(const MachineMinute& minute);

  // Attempts that crash recovery found open.
  std::int64_t recovered() const { return recovered_; }

  // Attempts reserved from now on use these prices and baselines, which are pinned before this
  // returns; a reload of the configuration.
  Task<Result<void>> reconfigure(SqlLedgerOptions options);

 private:
  SqlLedger(store::Database& database,
            const Clock& clock,
            MetricsRegistry& metrics,
            SqlLedgerOptions options);
  Result<void> recover();
  Task<Result<const BaselinePin*>> pin_for(std::string_view route);
  void remember_pins(const std::vector<PinAndPrice>& pins);

  store::Database& database_;
  const Clock& clock_;
  SqlLedgerOptions options_;
  std::int64_t recovered_ = 0;
  // The pins in force, by route; "" for all others. They are in the database.
  std::map<std::string, BaselinePin, std::less<>> pins_;
  Metric& rows_reserved_;
  Metric& rows_posted_;
  Metric& rows_voided_;
  Metric& rows_quarantined_;
  Metric& rows_machine_;
  Metric& failures_;
};

// Sums over all rows of a tenant; reads each of them.
Result<Exposure> exposure_of(const store::Database& database, const std::string& tenant);

}  // namespace genesis::ledger
