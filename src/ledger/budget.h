// Budgets: the most that a key, a team, an agent or everybody may spend in a window of time.
//
// A window is a fixed stretch of UTC (a day, a week from Monday, a month, or all time). What counts
// against it: of every attempt reserved in it, the posted cost, else the upper bound while it is
// open and when nobody knows how it ended. An attempt is admitted if its upper bound still fits;
// the check, the row and the counter are one transaction, so parallel requests, several gateways
// and a crash in between cannot overshoot. Counters are kept beside the rows and recomputed by
// verify(). Windows never move backwards: with the clock set back, rows go on in the newest window.
#pragma once

#include "api/ledger.h"
#include "base/result.h"
#include "store/statement.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::ledger {

enum class BudgetScope : std::uint8_t { kAll, kKey, kTeam, kAgent };
enum class BudgetWindow : std::uint8_t { kDay, kWeek, kMonth, kTotal };

std::string_view scope_name(BudgetScope scope);
std::string_view window_name(BudgetWindow window);
std::optional<BudgetScope> scope_from_name(std::string_view name);
std::optional<BudgetWindow> window_from_name(std::string_view name);

// In milliseconds since 1970; a total starts at 0 and never ends (INT64_MAX).
std::int64_t window_start(BudgetWindow window, std::int64_t unix_ms);
std::int64_t window_end(BudgetWindow window, std::int64_t unix_ms);

struct Budget {
  BudgetScope scope = BudgetScope::kAll;
  std::string subject;  // key id, team or agent; empty for kAll
  BudgetWindow per = BudgetWindow::kMonth;
  NanoUsd limit = 0;
  std::string origin;        // "file": genesis.toml says so; "command": somebody said so
  std::int64_t from_ms = 0;  // start of the first window that is counted

  // "team:qa/month", "all/total"
  std::string id() const;
};

// "10.00/month", "5/day"
Result<Budget> parse_budget_amount(std::string_view text);
// kInvalidArgument naming the field.
Result<void> validate_budget(const Budget& budget);

struct WindowSums {
  NanoUsd spent = 0;  // posted or unconfirmed
  NanoUsd held = 0;   // reserved and open

  bool operator==(const WindowSums&) const = default;
};

struct BudgetState {
  Budget budget;
  std::int64_t window_ms = 0;
  std::int64_t resets_ms = 0;  // INT64_MAX: never
  WindowSums sums;

  NanoUsd left() const { return budget.limit - sums.spent - sums.held; }
};

// Creates or changes one. What was spent in the window that runs at `now` already counts.
// kConflict: genesis.toml sets this one.
Result<void> set_budget(store::Transaction& tx, Budget budget, std::int64_t now);
// By id; kNotFound. kConflict: genesis.toml sets this one.
Result<void> remove_budget(store::Transaction& tx, std::string_view id);
// Makes the budgets of origin "file" those of `wanted`.
Result<void> sync_file_budgets(store::Transaction& tx,
                               const std::vector<Budget>& wanted,
                               std::int64_t now);
Result<std::vector<Budget>> read_budgets(store::Transaction& tx);
// With the state of the window that runs at `now`, by id.
Result<std::vector<BudgetState>> list_budgets(store::Transaction& tx, std::int64_t now);

// What the counters of a budget have to be, from the rows alone, by window.
Result<std::map<std::int64_t, WindowSums>> tally_budget(store::Transaction& tx,
                                                        const Budget& budget);
// kDataLoss naming the first counter that its rows contradict.
Result<void> verify_budgets(store::Transaction& tx);

}  // namespace genesis::ledger
