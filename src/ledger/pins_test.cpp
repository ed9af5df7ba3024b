// Baselines are pinned before the traffic they apply to, and a change never reaches back.
#include "ledger/pins.h"

#include "ledger/entry.h"
#include "ledger/savings.h"
#include "ledger/test_ledger.h"
#include "ledger/verify.h"
#include "store/test_store.h"

#include <gtest/gtest.h>

namespace genesis::ledger {

namespace {

std::vector<BaselinePin> pins_of(const store::Database& database) {
  std::vector<BaselinePin> pins;
  const auto read = database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(pins, read_pins(tx, INT64_MAX));
    return {};
  });
  EXPECT_TRUE(read);
  return pins;
}

Result<NanoUsd> answer(TestLedger& t, const std::string& request, const std::string& route) {
  Reservation r = reservation(request, 1, "smollm2");
  r.endpoint = "local";
  r.tier = Tier::kSelfHosted;
  r.route = route;
  EXPECT_TRUE(t.reserve(r));
  return t.post(r.id, delivered({.input = 1'000'000, .output = 0}));
}

SqlLedgerOptions with_baselines(BaselineRules rules) {
  SqlLedgerOptions options = test_options();
  options.baselines = std::move(rules);
  return options;
}

class PinsTest : public store::EngineTest {};

TEST_P(PinsTest, StandBeforeTheFirstAttemptAndOnce) {
  for (int start = 0; start < 3; ++start) {
    TestLedger t(store.options());
    const auto pins = pins_of(*t.database);
    ASSERT_EQ(pins.size(), 1U) << "a start with the same configuration pins nothing anew";
    EXPECT_EQ(pins[0].seq, 1);
    EXPECT_EQ(pins[0].route, "");
    EXPECT_EQ(pins[0].model, "gpt-4o");
    EXPECT_EQ(pins[0].price_id, PriceTable::defaults().find("gpt-4o", kNoon)->id);
    ASSERT_TRUE(answer(t, "a" + std::to_string(start), "auto"));
  }
}

TEST_P(PinsTest, ARouteMayHaveItsOwn) {
  TestLedger t(store.options());
  ASSERT_TRUE(run_task(t.ledger->reconfigure(
      with_baselines({.model = "gpt-4o", .routes = {{"cheap", "gpt-4o-mini"}}}))));
  ASSERT_TRUE(answer(t, "a", "auto"));
  ASSERT_TRUE(answer(t, "b", "cheap"));
  const Savings s = compute_savings(*t.database, {.by = GroupBy::kRoute}).value();
  EXPECT_EQ(s.baseline, 2'500'000'000 + 150'000'000);
  ASSERT_EQ(s.pins.size(), 2U);
  EXPECT_EQ(s.pins[1].route, "cheap");
  ASSERT_EQ(s.groups.size(), 2U);
  EXPECT_EQ(s.groups[0].name, "auto");
  EXPECT_EQ(s.groups[0].baseline, 2'500'000'000);
  EXPECT_EQ(s.groups[1].baseline, 150'000'000);
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(PinsTest, AChangeStartsANewPinAndLeavesWhatWasReservedBefore) {
  TestLedger t(store.options());
  ASSERT_TRUE(answer(t, "old", "auto"));
  Reservation open = reservation("open", 1, "smollm2");
  open.endpoint = "local";
  open.tier = Tier::kSelfHosted;
  ASSERT_TRUE(t.reserve(open));
  // Dearer, so that it would pay to change it afterwards.
  ASSERT_TRUE(
      run_task(t.ledger->reconfigure(with_baselines({.model = "claude-opus-4.1", .routes = {}}))));
  ASSERT_TRUE(t.post(open.id, delivered({.input = 1'000'000, .output = 0})));
  EXPECT_EQ(compute_savings(*t.database, {}).value().baseline, 2 * 2'500'000'000LL);
  ASSERT_TRUE(answer(t, "new", "auto"));
  const Savings s = compute_savings(*t.database, {}).value();
  EXPECT_EQ(s.baseline, 2 * 2'500'000'000LL + 15'000'000'000);
  EXPECT_EQ(s.pins.size(), 2U);
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(PinsTest, ADatedPriceThatBeginsIsPinnedBeforeItsTraffic) {
  TestLedger t(store.options());
  PriceTable prices = *test_options().prices;
  prices.add({.model = "gpt-4o",
              .valid_from_ms = kNoon + 3'600'000,
              .input = 1'000'000'000,
              .output = 1'000'000'000,
              .source = "a cut"});
  SqlLedgerOptions options = test_options();
  options.prices = std::make_shared<const PriceTable>(std::move(prices));
  ASSERT_TRUE(run_task(t.ledger->reconfigure(options)));
  ASSERT_TRUE(answer(t, "a", "auto"));
  t.clock.advance(std::chrono::hours(1));
  ASSERT_TRUE(answer(t, "b", "auto"));
  EXPECT_EQ(compute_savings(*t.database, {}).value().baseline, 2'500'000'000 + 1'000'000'000);
  EXPECT_EQ(pins_of(*t.database).size(), 2U);
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(PinsTest, WithoutABaselineNothingIsSaved) {
  TestLedger t(store.options());
  ASSERT_TRUE(run_task(t.ledger->reconfigure(with_baselines({}))));
  ASSERT_TRUE(answer(t, "a", "auto"));
  const Savings s = compute_savings(*t.database, {}).value();
  EXPECT_EQ(s.baseline, 0);
  EXPECT_EQ(s.without_baseline, 1);
  EXPECT_TRUE(s.pins.empty());
  const auto wrong = run_task(
      t.ledger->reconfigure(with_baselines({.model = "", .routes = {{"auto", "gpt-99"}}})));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kConfig);
  EXPECT_EQ(wrong.error().param, "route.baseline");
}

// A row with a good hash, but with a baseline that nobody pinned: what a forger with the program
// could append.
TEST_P(PinsTest, VerificationFindsABaselineThatWasNotPinned) {
  TestLedger t(store.options());
  ASSERT_TRUE(answer(t, "a", "auto"));
  const TokenPrice* dear = PriceTable::defaults().find("claude-opus-4.1", kNoon);
  ASSERT_TRUE(t.database->write_blocking([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(const std::vector<Entry> rows, attempt_entries(tx, {"a", 1}));
    Entry reserve = rows.at(0);
    reserve.request_id = "forged";
    reserve.baseline_model = dear->model;
    reserve.baseline_price_id = dear->id;
    GENESIS_TRY_VOID(remember_price(tx, *dear));
    return append_entry(tx, reserve);
  }));
  const auto verified = verify_rows(*t.database);
  ASSERT_FALSE(verified);
  EXPECT_NE(verified.error().message.find("not pinned before"), std::string::npos)
      << verified.error().message;
}

TEST(Pins, ThinkingOfAnotherModelEarnsNoBaseline) {
  const TestFolder folder;
  TestLedger t(folder / "l.db");
  Reservation own = reservation("a", 1, "smollm2");
  own.endpoint = "local";
  own.tier = Tier::kSelfHosted;
  ASSERT_TRUE(t.reserve(own));
  ASSERT_TRUE(t.post(own.id, delivered({.input = 0, .output = 1'000, .reasoning = 900})));
  EXPECT_EQ(compute_savings(*t.database, {}).value().baseline, 100 * 10'000);
  ASSERT_TRUE(t.reserve(reservation("b", 1)));
  ASSERT_TRUE(t.post({"b", 1}, delivered({.input = 0, .output = 1'000, .reasoning = 900})));
  const Savings s = compute_savings(*t.database, {}).value();
  EXPECT_EQ(s.baseline, 100 * 10'000 + 1'000 * 10'000) << "its own thinking is the baseline's";
  EXPECT_EQ(s.baseline_same, 1'000 * 10'000);
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST(TokenRatio, IsParsedAndRefused) {
  const auto ratio = parse_token_ratio("0.95..1.10");
  ASSERT_TRUE(ratio);
  EXPECT_EQ(ratio->low_permille, 950);
  EXPECT_EQ(ratio->high_permille, 1100);
  EXPECT_EQ(format_token_ratio(*ratio), "0.95..1.1");
  EXPECT_EQ(format_token_ratio({}), "1.0..1.0");
  for (const char* bad :
       {"", "1", "1.1..0.9", "0..1", "1..11", "0.9-1.1", "-1..1", "0.9999..1", "a..b", "1...1"}) {
    EXPECT_FALSE(parse_token_ratio(bad)) << bad;
  }
}

INSTANTIATE_TEST_SUITE_P(OnSqlite, PinsTest, testing::Values(store::Engine::kSqlite));
INSTANTIATE_TEST_SUITE_P(OnPostgres, PinsTest, testing::Values(store::Engine::kPostgres));

}  // namespace

}  // namespace genesis::ledger
