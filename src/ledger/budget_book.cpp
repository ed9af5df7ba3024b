#include "ledger/budget_book.h"

#include "base/clock.h"
#include "ledger/money.h"
#include "ledger/schema.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::ledger {

namespace {

std::unexpected<Error> exhausted(const Budget& budget, std::int64_t window, std::string why) {
  Error error;
  error.code = ErrorCode::kBudgetExhausted;
  error.message = std::move(why);
  error.param = budget.id();
  const std::int64_t end = window_end(budget.per, window);
  error.hint = end == INT64_MAX ? std::string("it does not reset; `genesis budget set` raises it")
                                : fmt::format("it resets at {}", format_rfc3339(end));
  return std::unexpected(std::move(error));
}

}  // namespace

bool BudgetBook::concerns(const Budget& budget, const Entry& entry) {
  switch (budget.scope) {
    case BudgetScope::kKey:
      return budget.subject == entry.key_id;
    case BudgetScope::kTeam:
      return budget.subject == entry.team;
    case BudgetScope::kAgent:
      return budget.subject == entry.agent;
    case BudgetScope::kAll:
      break;
  }
  return true;
}

Result<void> BudgetBook::begin(store::Transaction& tx) {
  counters_.clear();
  newest_.clear();
  GENESIS_TRY(const auto version, read_state(tx, "budgets_version"));
  if (!version_ || version != version_) {
    version_.reset();
    GENESIS_TRY(budgets_, read_budgets(tx));
    version_ = version.value_or(0);
  }
  return {};
}

Result<std::int64_t> BudgetBook::newest_window(store::Transaction& tx, std::size_t budget) {
  if (const auto known = newest_.find(budget); known != newest_.end()) {
    return known->second;
  }
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT window_ms FROM budget_counters WHERE budget_id = ?1"
                         " ORDER BY window_ms DESC LIMIT 1"));
  GENESIS_TRY(const bool row, select.bind(1, budgets_[budget].id()).step());
  const std::int64_t window = row ? select.integer(0) : 0;
  newest_[budget] = window;
  return window;
}

Result<BudgetBook::Counter*> BudgetBook::counter(store::Transaction& tx,
                                                 std::size_t budget,
                                                 std::int64_t window) {
  const Key key{budget, window};
  if (const auto known = counters_.find(key); known != counters_.end()) {
    return &known->second;
  }
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT spent_nano, held_nano FROM budget_counters"
                         " WHERE budget_id = ?1 AND window_ms = ?2"));
  GENESIS_TRY(const bool row, select.bind(1, budgets_[budget].id()).bind(2, window).step());
  Counter fresh{.stored = row};
  if (row) {
    fresh.sums = {select.integer(0), select.integer(1)};
  }
  return &counters_.emplace(key, fresh).first->second;
}

Result<void> BudgetBook::admit(store::Transaction& tx, Entry& reserve) {
  if (reserve.amount_nano == 0) {
    return {};  // what costs nothing fits even a budget that is overdrawn
  }
  for (std::size_t i = 0; i < budgets_.size(); ++i) {
    if (concerns(budgets_[i], reserve)) {
      GENESIS_TRY(const std::int64_t newest, newest_window(tx, i));
      reserve.unix_ms = std::max(reserve.unix_ms, newest);
    }
  }
  for (std::size_t i = 0; i < budgets_.size(); ++i) {
    const Budget& budget = budgets_[i];
    if (!concerns(budget, reserve)) {
      continue;
    }
    const std::int64_t window = window_start(budget.per, reserve.unix_ms);
    if (!reserve.amount_nano) {
      return exhausted(budget,
                       window,
                       fmt::format("no price is known for '{}', so the budget '{}' cannot hold it",
                                   reserve.model,
                                   budget.id()));
    }
    GENESIS_TRY(const Counter* counter, this->counter(tx, i, window));
    GENESIS_TRY(NanoUsd sum, add_money(counter->sums.spent, counter->sums.held));
    GENESIS_TRY(sum, add_money(sum, *reserve.amount_nano));
    if (sum > budget.limit) {
      return exhausted(budget, window, fmt::format("the budget '{}' is used up", budget.id()));
    }
  }
  return {};
}

Result<void> BudgetBook::hold(store::Transaction& tx, const Entry& reserve) {
  const NanoUsd amount = reserve.amount_nano.value_or(0);
  for (std::size_t i = 0; amount != 0 && i < budgets_.size(); ++i) {
    if (concerns(budgets_[i], reserve)) {
      const std::int64_t window = window_start(budgets_[i].per, reserve.unix_ms);
      GENESIS_TRY(Counter * counter, this->counter(tx, i, window));
      counter->sums.held += amount;
      counter->dirty = true;
      newest_[i] = std::max(newest_[i], window);
    }
  }
  return {};
}

Result<void> BudgetBook::settle(store::Transaction& tx,
                                const Entry& end,
                                std::int64_t held_ms,
                                std::optional<NanoUsd> held_nano) {
  const NanoUsd held = held_nano.value_or(0);
  const NanoUsd spent = end.amount_nano.value_or(0);
  for (std::size_t i = 0; (held != 0 || spent != 0) && i < budgets_.size(); ++i) {
    // What was reserved before the budget's first window was never counted.
    if (concerns(budgets_[i], end) && held_ms >= budgets_[i].from_ms) {
      GENESIS_TRY(Counter * counter, this->counter(tx, i, window_start(budgets_[i].per, held_ms)));
      counter->sums.held -= held;
      counter->sums.spent += spent;
      counter->dirty = true;
    }
  }
  return {};
}

Result<void> BudgetBook::finish(store::Transaction& tx) {
  for (auto& [key, counter] : counters_) {
    if (!counter.dirty) {
      continue;
    }
    GENESIS_TRY(
        store::Statement write,
        tx.prepare(counter.stored ? "UPDATE budget_counters SET spent_nano = ?3, held_nano = ?4"
                                    " WHERE budget_id = ?1 AND window_ms = ?2"
                                  : "INSERT INTO budget_counters(budget_id, window_ms, spent_nano,"
                                    " held_nano) VALUES(?1, ?2, ?3, ?4)"));
    write.bind(1, budgets_[key.first].id()).bind(2, key.second);
    GENESIS_TRY_VOID(write.bind(3, counter.sums.spent).bind(4, counter.sums.held).run());
  }
  return {};
}

}  // namespace genesis::ledger
