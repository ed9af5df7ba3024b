// BudgetBook: the budgets as the writer sees them within one transaction. Private to the room.
#pragma once

#include "base/result.h"
#include "ledger/budget.h"
#include "ledger/entry.h"
#include "store/statement.h"

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace genesis::ledger {

// Used by the database's writer thread only. begin() ... finish() enclose one transaction; after a
// failed one, begin() forgets what was not committed.
class BudgetBook {
 public:
  Result<void> begin(store::Transaction& tx);

  // kBudgetExhausted, with the budget's id in `param`, if the attempt's upper bound does not fit or
  // is unknown. Sets a row's time that lies before the newest window to that window's start.
  Result<void> admit(store::Transaction& tx, Entry& reserve);
  // The row was appended.
  Result<void> hold(store::Transaction& tx, const Entry& reserve);
  // The row that ended an attempt was appended; its reservation's time and amount were these.
  Result<void> settle(store::Transaction& tx,
                      const Entry& end,
                      std::int64_t held_ms,
                      std::optional<NanoUsd> held_nano);
  Result<void> finish(store::Transaction& tx);

  std::size_t size() const { return budgets_.size(); }

 private:
  using Key = std::pair<std::size_t, std::int64_t>;  // index of the budget, window

  struct Counter {
    WindowSums sums;
    bool stored = false;
    bool dirty = false;
  };

  static bool concerns(const Budget& budget, const Entry& entry);
  Result<std::int64_t> newest_window(store::Transaction& tx, std::size_t budget);
  Result<Counter*> counter(store::Transaction& tx, std::size_t budget, std::int64_t window);

  std::optional<std::int64_t> version_;
  std::vector<Budget> budgets_;
  std::map<Key, Counter> counters_;             // touched in this transaction
  std::map<std::size_t, std::int64_t> newest_;  // known in this transaction
};

}  // namespace genesis::ledger
