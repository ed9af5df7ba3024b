#include "ledger/budget.h"

#include "ledger/money.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace genesis::ledger {

namespace {

constexpr std::size_t kMaxSubjectBytes = 256;
constexpr std::int64_t kDayMs = 24LL * 60 * 60 * 1000;
constexpr std::string_view kFile = "file";

std::chrono::sys_days day_of(std::int64_t unix_ms) {
  return std::chrono::floor<std::chrono::days>(
      std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(unix_ms)));
}

std::int64_t to_ms(std::chrono::sys_days day) {
  return day.time_since_epoch().count() * kDayMs;
}

std::string_view scope_column(BudgetScope scope) {
  switch (scope) {
    case BudgetScope::kKey:
      return "key_id";
    case BudgetScope::kTeam:
      return "team";
    case BudgetScope::kAgent:
      return "agent";
    case BudgetScope::kAll:
      break;
  }
  return "''";
}

Result<void> bump_version(store::Transaction& tx) {
  GENESIS_TRY(
      store::Statement bump,
      tx.prepare("UPDATE ledger_state SET value = value + 1 WHERE name = 'budgets_version'"));
  return bump.run();
}

std::unexpected<Error> damaged(std::string_view id) {
  return fail(ErrorCode::kDataLoss,
              fmt::format("the stored budget '{}' is damaged", id),
              "genesis budget rm it and set it again");
}

Result<std::optional<Budget>> find_budget(store::Transaction& tx, std::string_view id) {
  GENESIS_TRY(const std::vector<Budget> budgets, read_budgets(tx));
  const auto found = std::ranges::find(budgets, id, &Budget::id);
  return found == budgets.end() ? std::nullopt : std::optional(*found);
}

Result<void> erase(store::Transaction& tx, std::string_view id) {
  for (const std::string_view sql : {std::string_view("DELETE FROM budget_counters"
                                                      " WHERE budget_id = ?1"),
                                     std::string_view("DELETE FROM budgets WHERE id = ?1")}) {
    GENESIS_TRY(store::Statement drop, tx.prepare(sql));
    GENESIS_TRY_VOID(drop.bind(1, id).run());
  }
  return {};
}

Result<void> insert_counters(store::Transaction& tx, const Budget& budget) {
  GENESIS_TRY(const auto windows, tally_budget(tx, budget));
  for (const auto& [window, sums] : windows) {
    GENESIS_TRY(store::Statement insert,
                tx.prepare("INSERT INTO budget_counters(budget_id, window_ms, spent_nano,"
                           " held_nano) VALUES(?1, ?2, ?3, ?4)"));
    GENESIS_TRY_VOID(
        insert.bind(1, budget.id()).bind(2, window).bind(3, sums.spent).bind(4, sums.held).run());
  }
  return {};
}

// `known`: what is stored under the same id, if anything.
Result<void> write_budget(store::Transaction& tx,
                          Budget budget,
                          const std::optional<Budget>& known,
                          std::int64_t now) {
  if (known) {
    GENESIS_TRY(store::Statement update,
                tx.prepare("UPDATE budgets SET limit_nano = ?2, origin = ?3 WHERE id = ?1"));
    GENESIS_TRY_VOID(
        update.bind(1, budget.id()).bind(2, budget.limit).bind(3, budget.origin).run());
    return bump_version(tx);
  }
  budget.from_ms = window_start(budget.per, now);
  GENESIS_TRY(store::Statement insert,
              tx.prepare("INSERT INTO budgets(id, scope, subject, per, limit_nano, origin, from_ms,"
                         " created_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"));
  insert.bind(1, budget.id()).bind(2, scope_name(budget.scope)).bind(3, budget.subject);
  insert.bind(4, window_name(budget.per)).bind(5, budget.limit).bind(6, budget.origin);
  GENESIS_TRY_VOID(insert.bind(7, budget.from_ms).bind(8, now).run());
  GENESIS_TRY_VOID(insert_counters(tx, budget));
  return bump_version(tx);
}

std::unexpected<Error> set_in_file(std::string_view id) {
  return fail(ErrorCode::kConflict,
              fmt::format("the budget '{}' is set in genesis.toml", id),
              "change it there and reload");
}

Result<WindowSums> stored_sums(store::Transaction& tx, std::string_view id, std::int64_t window) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT spent_nano, held_nano FROM budget_counters"
                         " WHERE budget_id = ?1 AND window_ms = ?2"));
  GENESIS_TRY(const bool row, select.bind(1, id).bind(2, window).step());
  return row ? WindowSums{select.integer(0), select.integer(1)} : WindowSums{};
}

Result<std::map<std::int64_t, WindowSums>> stored_windows(store::Transaction& tx,
                                                          std::string_view id) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT window_ms, spent_nano, held_nano FROM budget_counters"
                         " WHERE budget_id = ?1"));
  select.bind(1, id);
  std::map<std::int64_t, WindowSums> windows;
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return windows;
    }
    windows.emplace(select.integer(0), WindowSums{select.integer(1), select.integer(2)});
  }
}

}  // namespace

std::string_view scope_name(BudgetScope scope) {
  switch (scope) {
    case BudgetScope::kKey:
      return "key";
    case BudgetScope::kTeam:
      return "team";
    case BudgetScope::kAgent:
      return "agent";
    case BudgetScope::kAll:
      break;
  }
  return "all";
}

std::string_view window_name(BudgetWindow window) {
  switch (window) {
    case BudgetWindow::kDay:
      return "day";
    case BudgetWindow::kWeek:
      return "week";
    case BudgetWindow::kMonth:
      return "month";
    case BudgetWindow::kTotal:
      break;
  }
  return "total";
}

std::optional<BudgetScope> scope_from_name(std::string_view name) {
  for (const auto scope :
       {BudgetScope::kAll, BudgetScope::kKey, BudgetScope::kTeam, BudgetScope::kAgent}) {
    if (scope_name(scope) == name) {
      return scope;
    }
  }
  return std::nullopt;
}

std::optional<BudgetWindow> window_from_name(std::string_view name) {
  for (const auto window :
       {BudgetWindow::kDay, BudgetWindow::kWeek, BudgetWindow::kMonth, BudgetWindow::kTotal}) {
    if (window_name(window) == name) {
      return window;
    }
  }
  return std::nullopt;
}

std::int64_t window_start(BudgetWindow window, std::int64_t unix_ms) {
  const std::chrono::sys_days day = day_of(unix_ms);
  switch (window) {
    case BudgetWindow::kDay:
      return to_ms(day);
    case BudgetWindow::kWeek:
      return to_ms(day - (std::chrono::weekday(day) - std::chrono::Monday));
    case BudgetWindow::kMonth: {
      const std::chrono::year_month_day date(day);
      return to_ms(std::chrono::sys_days(date.year() / date.month() / 1));
    }
    case BudgetWindow::kTotal:
      break;
  }
  return 0;
}

std::int64_t window_end(BudgetWindow window, std::int64_t unix_ms) {
  const std::int64_t start = window_start(window, unix_ms);
  switch (window) {
    case BudgetWindow::kDay:
      return start + kDayMs;
    case BudgetWindow::kWeek:
      return start + 7 * kDayMs;
    case BudgetWindow::kMonth: {
      const std::chrono::year_month_day date(day_of(start));
      return to_ms(std::chrono::sys_days(date + std::chrono::months(1)));
    }
    case BudgetWindow::kTotal:
      break;
  }
  return INT64_MAX;
}

std::string Budget::id() const {
  const std::string_view separator = subject.empty() ? "" : ":";
  return fmt::format("{}{}{}/{}", scope_name(scope), separator, subject, window_name(per));
}

Result<Budget> parse_budget_amount(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto window =
      slash == std::string_view::npos ? std::nullopt : window_from_name(text.substr(slash + 1));
  if (!window) {
    return fail_param("budget",
                      fmt::format("'{}' is not a budget: write it as 5.00/day, /week, /month or "
                                  "/total",
                                  text));
  }
  Budget budget{.per = *window};
  GENESIS_TRY(budget.limit, parse_usd(text.substr(0, slash)));
  return budget;
}

Result<void> validate_budget(const Budget& budget) {
  const bool all = budget.scope == BudgetScope::kAll;
  if (all != budget.subject.empty() || budget.subject.size() > kMaxSubjectBytes) {
    return fail_param(std::string(scope_name(budget.scope)),
                      fmt::format("a budget names one key, team or agent of 1 to {} bytes, or "
                                  "none for everybody",
                                  kMaxSubjectBytes));
  }
  if (budget.limit < 0) {
    return fail_param("usd", "a budget cannot be negative");
  }
  return {};
}

Result<void> set_budget(store::Transaction& tx, Budget budget, std::int64_t now) {
  GENESIS_TRY_VOID(validate_budget(budget));
  GENESIS_TRY(const auto known, find_budget(tx, budget.id()));
  if (known && known->origin == kFile) {
    return set_in_file(budget.id());
  }
  return write_budget(tx, std::move(budget), known, now);
}

Result<void> remove_budget(store::Transaction& tx, std::string_view id) {
  GENESIS_TRY(const auto known, find_budget(tx, id));
  if (!known) {
    return fail(
        ErrorCode::kNotFound, fmt::format("there is no budget '{}'", id), "genesis budget ls");
  }
  if (known->origin == kFile) {
    return set_in_file(id);
  }
  GENESIS_TRY_VOID(erase(tx, id));
  return bump_version(tx);
}

Result<void> sync_file_budgets(store::Transaction& tx,
                               const std::vector<Budget>& wanted,
                               std::int64_t now) {
  GENESIS_TRY(const std::vector<Budget> stored, read_budgets(tx));
  for (const Budget& old : stored) {
    if (old.origin == kFile && std::ranges::find(wanted, old.id(), &Budget::id) == wanted.end()) {
      GENESIS_TRY_VOID(erase(tx, old.id()));
      GENESIS_TRY_VOID(bump_version(tx));
    }
  }
  for (Budget budget : wanted) {
    GENESIS_TRY_VOID(validate_budget(budget));
    budget.origin = kFile;
    const auto known = std::ranges::find(stored, budget.id(), &Budget::id);
    const bool there = known != stored.end();
    if (!there || known->limit != budget.limit || known->origin != kFile) {
      GENESIS_TRY_VOID(
          write_budget(tx, std::move(budget), there ? std::optional(*known) : std::nullopt, now));
    }
  }
  return {};
}

Result<std::vector<Budget>> read_budgets(store::Transaction& tx) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT id, scope, subject, per, limit_nano, origin, from_ms FROM budgets"
                         " ORDER BY id"));
  std::vector<Budget> budgets;
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return budgets;
    }
    const auto scope = scope_from_name(select.text(1));
    const auto per = window_from_name(select.text(3));
    if (!scope || !per) {
      return damaged(select.text(0));
    }
    budgets.push_back({.scope = *scope,
                       .subject = std::string(select.text(2)),
                       .per = *per,
                       .limit = select.integer(4),
                       .origin = std::string(select.text(5)),
                       .from_ms = select.integer(6)});
    if (budgets.back().id() != select.text(0)) {
      return damaged(select.text(0));
    }
  }
}

Result<std::vector<BudgetState>> list_budgets(store::Transaction& tx, std::int64_t now) {
  GENESIS_TRY(const std::vector<Budget> budgets, read_budgets(tx));
  std::vector<BudgetState> states;
  for (const Budget& budget : budgets) {
    GENESIS_TRY(const auto windows, stored_windows(tx, budget.id()));
    const std::int64_t newest = windows.empty() ? 0 : windows.rbegin()->first;
    const std::int64_t window = std::max(newest, window_start(budget.per, now));
    GENESIS_TRY(const WindowSums sums, stored_sums(tx, budget.id(), window));
    states.push_back({.budget = budget,
                      .window_ms = window,
                      .resets_ms = window_end(budget.per, window),
                      .sums = sums});
  }
  return states;
}

Result<std::map<std::int64_t, WindowSums>> tally_budget(store::Transaction& tx,
                                                        const Budget& budget) {
  // Text of the program, not of a caller: one of four columns.
  const std::string sql = fmt::format(
      "SELECT r.unix_ms, r.amount_nano, e.seq, e.amount_nano FROM entries r"
      " LEFT JOIN entries e ON e.request_id = r.request_id AND e.attempt = r.attempt"
      " AND e.kind <> 'reserve'"
      " WHERE r.kind = 'reserve' AND r.unix_ms >= ?1 AND {}{} = ?2",
      budget.scope == BudgetScope::kAll ? "" : "r.",
      scope_column(budget.scope));
  GENESIS_TRY(store::Statement select, tx.prepare(sql));
  select.bind(1, budget.from_ms).bind(2, budget.subject);
  std::map<std::int64_t, WindowSums> windows;
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return windows;
    }
    WindowSums& sums = windows[window_start(budget.per, select.integer(0))];
    const bool open = select.type(2) == store::ColumnType::kNull;
    NanoUsd& sum = open ? sums.held : sums.spent;
    GENESIS_TRY(sum, add_money(sum, select.integer(open ? 1 : 3)));
  }
}

Result<void> verify_budgets(store::Transaction& tx) {
  GENESIS_TRY(const std::vector<Budget> budgets, read_budgets(tx));
  for (const Budget& budget : budgets) {
    GENESIS_TRY(auto due, tally_budget(tx, budget));
    GENESIS_TRY(auto stored, stored_windows(tx, budget.id()));
    const auto is_zero = [](const auto& entry) { return entry.second == WindowSums{}; };
    std::erase_if(due, is_zero);
    std::erase_if(stored, is_zero);
    if (due != stored) {
      return fail_param(
          budget.id(),
          fmt::format("the counters of the budget '{}' do not follow from the rows", budget.id()),
          ErrorCode::kDataLoss);
    }
  }
  return {};
}

}  // namespace genesis::ledger
