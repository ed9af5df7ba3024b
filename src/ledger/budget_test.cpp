// Budgets: windows, admission, what counts, and counters that verify() can recompute.
#include "ledger/budget.h"

#include "base/random.h"
#include "ledger/test_ledger.h"
#include "ledger/verify.h"
#include "store/test_store.h"

#include <gtest/gtest.h>

#include <vector>

namespace genesis::ledger {

namespace {

// reservation() at gpt-4o: 2,000 in at 2.50 and 1,000 out at 10.00 a million.
constexpr NanoUsd kBound = 15'000'000;
constexpr std::int64_t kDay = 86'400'000;

Budget budget(BudgetScope scope, std::string subject, BudgetWindow per, NanoUsd limit) {
  return {.scope = scope,
          .subject = std::move(subject),
          .per = per,
          .limit = limit,
          .origin = "command"};
}

Result<void> set(TestLedger& t, const Budget& wanted) {
  return t.database->write_blocking(
      [&](store::Transaction& tx) { return set_budget(tx, wanted, t.clock.unix_ms()); });
}

BudgetState state(TestLedger& t, std::size_t index = 0) {
  std::vector<BudgetState> states;
  EXPECT_TRUE(t.database->read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(states, list_budgets(tx, t.clock.unix_ms()));
    return {};
  }));
  return index < states.size() ? states[index] : BudgetState{};
}

Reservation of_team(const std::string& request, std::string team) {
  Reservation r = reservation(request, 1);
  r.team = std::move(team);
  return r;
}

TEST(Budget, WindowsAreFixedStretchesOfUtc) {
  // Tuesday, 2025-11-04, noon.
  EXPECT_EQ(window_start(BudgetWindow::kDay, kNoon), kNoon - kDay / 2);
  EXPECT_EQ(window_end(BudgetWindow::kDay, kNoon), kNoon + kDay / 2);
  EXPECT_EQ(format_rfc3339(window_start(BudgetWindow::kWeek, kNoon)), "2025-11-03T00:00:00.000Z");
  EXPECT_EQ(format_rfc3339(window_end(BudgetWindow::kWeek, kNoon)), "2025-11-10T00:00:00.000Z");
  EXPECT_EQ(format_rfc3339(window_start(BudgetWindow::kMonth, kNoon)), "2025-11-01T00:00:00.000Z");
  EXPECT_EQ(format_rfc3339(window_end(BudgetWindow::kMonth, kNoon)), "2025-12-01T00:00:00.000Z");
  EXPECT_EQ(format_rfc3339(window_end(BudgetWindow::kMonth, kNoon + 40 * kDay)),
            "2026-01-01T00:00:00.000Z");
  EXPECT_EQ(window_start(BudgetWindow::kTotal, kNoon), 0);
  EXPECT_EQ(window_end(BudgetWindow::kTotal, kNoon), INT64_MAX);
  for (const auto window : {BudgetWindow::kDay, BudgetWindow::kWeek, BudgetWindow::kMonth}) {
    for (std::int64_t t = kNoon; t < kNoon + 800 * kDay; t += kDay / 3) {
      EXPECT_LE(window_start(window, t), t);
      EXPECT_GT(window_end(window, t), t);
      EXPECT_EQ(window_start(window, window_end(window, t)), window_end(window, t));
      EXPECT_EQ(window_start(window, window_end(window, t) - 1), window_start(window, t));
    }
  }
}

TEST(Budget, AmountsAreReadStrictly) {
  EXPECT_EQ(parse_budget_amount("5.50/day")->limit, 5'500'000'000);
  EXPECT_EQ(parse_budget_amount("5/week")->per, BudgetWindow::kWeek);
  for (const char* bad : {"5", "5/", "5/year", "/day", "-1/day", "1e3/day", "5 /day", ""}) {
    EXPECT_FALSE(parse_budget_amount(bad)) << bad;
  }
  EXPECT_EQ(budget(BudgetScope::kTeam, "qa", BudgetWindow::kMonth, 1).id(), "team:qa/month");
  EXPECT_EQ(budget(BudgetScope::kAll, "", BudgetWindow::kTotal, 1).id(), "all/total");
  EXPECT_FALSE(validate_budget(budget(BudgetScope::kAll, "x", BudgetWindow::kDay, 1)));
  EXPECT_FALSE(validate_budget(budget(BudgetScope::kKey, "", BudgetWindow::kDay, 1)));
  EXPECT_FALSE(validate_budget(budget(BudgetScope::kAll, "", BudgetWindow::kDay, -1)));
}

class BudgetTest : public store::EngineTest {};

TEST_P(BudgetTest, AdmitsWhatFitsAndNamesTheBudgetThatDoesNot) {
  TestLedger t(store.options());
  ASSERT_TRUE(set(t, budget(BudgetScope::kTeam, "qa", BudgetWindow::kDay, 2 * kBound + 1)));
  EXPECT_TRUE(t.reserve(of_team("a", "qa")));
  EXPECT_TRUE(t.reserve(of_team("a", "qa"))) << "the same once more is nothing new";
  EXPECT_TRUE(t.reserve(of_team("b", "qa")));
  EXPECT_EQ(state(t).sums.held, 2 * kBound);
  const auto refused = t.reserve(of_team("c", "qa"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBudgetExhausted);
  EXPECT_EQ(refused.error().param, "team:qa/day");
  EXPECT_EQ(refused.error().hint, "it resets at 2025-11-05T00:00:00.000Z");
  EXPECT_TRUE(t.reserve(of_team("d", "other")));
  EXPECT_EQ(t.post({"c", 1}, delivered({})).error().code, ErrorCode::kNotFound)
      << "what was refused has no row";
  // A void gives all back, a post what it did not use.
  ASSERT_TRUE(t.void_attempt({"a", 1}));
  EXPECT_TRUE(t.reserve(of_team("e", "qa")));
  ASSERT_TRUE(t.post({"b", 1}, delivered({.input = 1000, .output = 100})));
  EXPECT_EQ(state(t).sums.spent, 3'500'000);
  EXPECT_EQ(state(t).left(), kBound + 1 - 3'500'000);
  EXPECT_FALSE(t.reserve(of_team("f", "qa")));
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(BudgetTest, WhatCostsNothingPassesAndWhatNobodyCanPriceDoesNot) {
  TestLedger t(store.options(), true);
  ASSERT_TRUE(set(t, budget(BudgetScope::kAll, "", BudgetWindow::kTotal, 0)));
  ASSERT_TRUE(t.flush());
  EXPECT_TRUE(t.reserve(own_reservation("own", 1)));
  EXPECT_EQ(t.reserve(reservation("paid", 1)).error().code, ErrorCode::kBudgetExhausted);
  const auto unknown = t.reserve(reservation("odd", 1, "mystery-9"));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kBudgetExhausted);
  EXPECT_NE(unknown.error().message.find("mystery-9"), std::string::npos);
}

TEST_P(BudgetTest, WindowsResetAndNeverMoveBackwards) {
  TestLedger t(store.options());
  ASSERT_TRUE(set(t, budget(BudgetScope::kAll, "", BudgetWindow::kDay, kBound)));
  ASSERT_TRUE(t.reserve(reservation("monday", 1)));
  EXPECT_FALSE(t.reserve(reservation("more", 1)));
  t.clock.advance(std::chrono::hours(12));
  EXPECT_EQ(state(t).sums, WindowSums{}) << "a new day";
  ASSERT_TRUE(t.reserve(reservation("tuesday", 1)));
  // Its end belongs to the day it was reserved in.
  ASSERT_TRUE(t.post({"monday", 1}, delivered({.input = 2000, .output = 1000})));
  EXPECT_EQ(state(t).sums.spent, 0);
  EXPECT_EQ(state(t).sums.held, kBound);
  t.clock.advance(-std::chrono::hours(6));
  EXPECT_FALSE(t.reserve(reservation("again", 1))) << "yesterday's budget does not come back";
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(BudgetTest, ANewOneCountsWhatItsWindowHasSeen) {
  TestLedger t(store.options());
  ASSERT_TRUE(t.reserve(reservation("old", 1)));
  t.clock.advance(std::chrono::hours(24));
  ASSERT_TRUE(t.reserve(reservation("posted", 1)));
  ASSERT_TRUE(t.post({"posted", 1}, delivered({.input = 1000, .output = 100})));
  ASSERT_TRUE(t.reserve(reservation("open", 1)));
  ASSERT_TRUE(set(t, budget(BudgetScope::kKey, "k1", BudgetWindow::kDay, 1'000'000'000)));
  EXPECT_EQ(state(t).sums, (WindowSums{.spent = 3'500'000, .held = kBound}));
  ASSERT_TRUE(t.post({"old", 1}, delivered({.input = 1000})));
  ASSERT_TRUE(t.post({"open", 1}, delivered({.input = 1000})));
  EXPECT_EQ(state(t).sums, (WindowSums{.spent = 6'000'000, .held = 0}));
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(BudgetTest, ACrashLeavesItsUpperBoundSpent) {
  {
    TestLedger t(store.options());
    ASSERT_TRUE(set(t, budget(BudgetScope::kAll, "", BudgetWindow::kMonth, 10 * kBound)));
    ASSERT_TRUE(t.reserve(reservation("lost", 1)));
  }
  TestLedger t(store.options());
  EXPECT_EQ(state(t).sums, (WindowSums{.spent = kBound, .held = 0}));
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(BudgetTest, TheFilesBudgetsAreTheFiles) {
  TestLedger t(store.options());
  const Budget wanted = budget(BudgetScope::kAll, "", BudgetWindow::kDay, kBound);
  ASSERT_TRUE(t.ledger->set_file_budgets({wanted}));
  EXPECT_EQ(state(t).budget.origin, "file");
  EXPECT_EQ(set(t, wanted).error().code, ErrorCode::kConflict);
  const auto remove = [&](std::string_view id) {
    return t.database->write_blocking(
        [&](store::Transaction& tx) { return remove_budget(tx, id); });
  };
  EXPECT_EQ(remove("all/day").error().code, ErrorCode::kConflict);
  EXPECT_EQ(remove("all/week").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(t.reserve(reservation("a", 1)));
  Budget more = wanted;
  more.limit = 2 * kBound;
  ASSERT_TRUE(t.ledger->set_file_budgets({more}));
  EXPECT_EQ(state(t).sums.held, kBound) << "another limit keeps what was counted";
  ASSERT_TRUE(t.reserve(reservation("b", 1)));
  ASSERT_TRUE(t.ledger->set_file_budgets({}));
  EXPECT_TRUE(t.reserve(reservation("c", 1)));
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(BudgetTest, VerifyFindsACounterThatWasChanged) {
  TestLedger t(store.options());
  ASSERT_TRUE(set(t, budget(BudgetScope::kAll, "", BudgetWindow::kDay, 9 * kBound)));
  ASSERT_TRUE(t.reserve(reservation("a", 1)));
  ASSERT_TRUE(t.database->write_blocking([](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement change,
                tx.prepare("UPDATE budget_counters SET held_nano = held_nano - 1"));
    return change.run();
  }));
  const auto report = verify_rows(*t.database);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kDataLoss);
  EXPECT_EQ(report.error().param, "all/day");
}

// Random traffic of three teams under budgets that overlap: no sum ever passes its limit, and the
// counters always follow from the rows.
TEST_P(BudgetTest, HoldsUnderRandomTraffic) {
  const std::uint64_t seed = 21;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  TestLedger t(store.options());
  ASSERT_TRUE(set(t, budget(BudgetScope::kAll, "", BudgetWindow::kDay, 9 * kBound)));
  ASSERT_TRUE(set(t, budget(BudgetScope::kTeam, "t0", BudgetWindow::kDay, 4 * kBound)));
  ASSERT_TRUE(set(t, budget(BudgetScope::kTeam, "t1", BudgetWindow::kTotal, 30 * kBound)));
  std::vector<std::string> open;
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    if (open.empty() || random.below(2) == 0) {
      const std::string id = "r" + std::to_string(i);
      const bool let_in = t.reserve(of_team(id, "t" + std::to_string(random.below(3)))).has_value();
      refused += let_in ? 0 : 1;
      if (let_in) {
        open.push_back(id);
      }
    } else {
      const std::size_t at = random.below(open.size());
      const AttemptId id{open[at], 1};
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
      const auto output = static_cast<std::int64_t>(random.below(1001));
      EXPECT_TRUE(random.below(3) == 0
                      ? t.void_attempt(id).has_value()
                      : t.post(id, delivered({.input = 2000, .output = output})).has_value());
    }
    if (random.below(20) == 0) {
      t.clock.advance(std::chrono::hours(random.below(9)));
    }
    for (std::size_t b = 0; b < 3; ++b) {
      EXPECT_GE(state(t, b).left(), 0);
    }
  }
  EXPECT_GT(refused, 20);
  const auto report = verify_rows(*t.database);
  EXPECT_TRUE(report) << report.error().message;
}

INSTANTIATE_TEST_SUITE_P(OnSqlite, BudgetTest, testing::Values(store::Engine::kSqlite));
INSTANTIATE_TEST_SUITE_P(OnPostgres, BudgetTest, testing::Values(store::Engine::kPostgres));

}  // namespace

}  // namespace genesis::ledger
