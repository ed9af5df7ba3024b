// The savings report against an example worked out by hand.
#include "ledger/savings.h"

#include "base/json.h"
#include "ledger/test_ledger.h"
#include "store/test_store.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

namespace genesis::ledger {

namespace {

void attempt(TestLedger& t, Reservation r, const AttemptOutcome& outcome) {
  ASSERT_TRUE(t.reserve(r));
  [[maybe_unused]] const auto posted = t.post(r.id, outcome);
}

Reservation local(std::string request, std::uint32_t attempt_number) {
  Reservation r = reservation(std::move(request), attempt_number, "smollm2");
  r.endpoint = "local";
  r.tier = Tier::kSelfHosted;
  return r;
}

Result<Savings> report(TestLedger& t, std::int64_t since, std::int64_t until) {
  return compute_savings(*t.database, {.since_ms = since, .until_ms = until});
}

// Three answers from our own machine (1,000 in, 100 out each), one of them after a local failure
// and a commercial answer; one cut commercial attempt; one quarantined; one still in flight; two
// minutes.
void traffic(TestLedger& t) {
  const Usage usage{.input = 1000, .output = 100};
  attempt(t, local("a", 1), delivered(usage));
  attempt(t, local("b", 1), delivered(usage));
  attempt(t, local("c", 1), delivered(usage));
  ASSERT_TRUE(t.reserve(local("d", 1)));
  ASSERT_TRUE(t.void_attempt({"d", 1}));
  attempt(t, reservation("d", 2), delivered(usage));
  attempt(
      t, reservation("e", 1), {.usage = {.input = 1000, .output = 10}, .finish = "unavailable"});
  attempt(t, reservation("f", 1, "mystery-9"), delivered(usage));
  ASSERT_TRUE(t.reserve(reservation("g", 1)));
  for (const std::int64_t minute : {0, 1}) {
    ASSERT_TRUE(run_task(t.ledger->charge_machine({.endpoint = "local",
                                                   .tier = Tier::kSelfHosted,
                                                   .start_ms = kNoon + minute * 60'000,
                                                   .per_hour = 50'000'001})));
  }
}

class SavingsTest : public store::EngineTest {};

TEST_P(SavingsTest, EqualTheExampleWorkedOutByHand) {
  TestLedger t(store.options());
  traffic(t);
  const Savings s = report(t, kNoon, kNoon + 3'600'000).value();
  // gpt-4o: 1,000 x 2,500 + 100 x 10,000 = 3,500,000 nano-USD for each of four delivered answers.
  EXPECT_EQ(s.baseline, 4 * 3'500'000);
  // Commercial: d's answer and e's cut one (1,000 x 2,500 + 10 x 10,000).
  EXPECT_EQ(s.tiers[2].spend, 3'500'000 + 2'600'000);
  EXPECT_EQ(s.tiers[0].spend, 0);
  EXPECT_EQ(s.spend, 6'100'000);
  // 50,000,001 / 60 = 833,333.35, rounded up, twice.
  EXPECT_EQ(s.machine, 2 * 833'334);
  EXPECT_EQ(s.machine_minutes, 2);
  EXPECT_EQ(s.in_flight, 1);
  EXPECT_EQ(s.in_flight_nano, 15'000'000);
  EXPECT_EQ(s.unconfirmed, 0);
  EXPECT_EQ(s.quarantined, 1);
  EXPECT_EQ(s.attempts, 7);
  EXPECT_EQ(s.delivered, 5);
  EXPECT_EQ(s.failed, 2);
  EXPECT_EQ(s.tiers[0].delivered, 3);
  EXPECT_EQ(s.tiers[0].failed, 1);
  EXPECT_EQ(s.tiers[0].share_permille, 600);
  EXPECT_EQ(s.tiers[2].share_permille, 400);
  EXPECT_EQ(s.total_cost(), 6'100'000 + 1'666'668 + 15'000'000);
  EXPECT_EQ(s.saving(), 14'000'000 - 22'766'668);
}

TEST_P(SavingsTest, SaysPlainlyWhenNothingWasSaved) {
  TestLedger t(store.options());
  traffic(t);
  const Savings s = report(t, kNoon, kNoon + 3'600'000).value();
  const std::string text = savings_text(s);
  EXPECT_NE(text.find("EXTRA COST"), std::string::npos) << text;
  EXPECT_NE(text.find("Nothing was saved: this traffic cost 0.008766668 USD more than gpt-4o"),
            std::string::npos)
      << text;
  const auto json = parse_json(savings_json(s));
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->at("saving_nano_usd").as_int64(), -8'766'668);
  EXPECT_EQ(json->at("saving_usd").as_string(), "-0.008766668");
  EXPECT_EQ(json->at("saving_percent").as_string(), "-62.6");
}

TEST_P(SavingsTest, ReportsASaving) {
  TestLedger t(store.options());
  attempt(t, local("a", 1), delivered({.input = 1'000'000, .output = 1'000'000}));
  ASSERT_TRUE(
      run_task(t.ledger->charge_machine({.endpoint = "local", .start_ms = kNoon, .per_hour = 60})));
  const Savings s = report(t, 0, kNoon + 1).value();
  EXPECT_EQ(s.saving(), 12'500'000'000 - 1);
  const std::string text = savings_text(s);
  EXPECT_NE(text.find("SAVED             99.9 % of the baseline"), std::string::npos) << text;
  EXPECT_NE(text.find("12.499999999"), std::string::npos) << text;
}

TEST_P(SavingsTest, CountsUnconfirmedAttemptsAndTheirBound) {
  {
    TestLedger t(store.options());
    ASSERT_TRUE(t.reserve(reservation("lost", 1)));
  }
  TestLedger t(store.options());
  const Savings s = report(t, kNoon, kNoon + 1).value();
  EXPECT_EQ(s.unconfirmed, 1);
  EXPECT_EQ(s.unconfirmed_nano, 15'000'000);
  EXPECT_EQ(s.in_flight, 0);
  EXPECT_EQ(s.attempts, 1);
  EXPECT_EQ(s.failed, 1);
  EXPECT_EQ(s.saving(), -15'000'000);
}

TEST_P(SavingsTest, LooksOnlyAtThePeriod) {
  TestLedger t(store.options());
  attempt(t, local("a", 1), delivered({.input = 1000}));
  t.clock.advance(std::chrono::hours(1));
  attempt(t, local("b", 1), delivered({.input = 1000}));
  EXPECT_EQ(report(t, kNoon, kNoon + 3'600'000).value().delivered, 1);
  EXPECT_EQ(report(t, kNoon, kNoon + 3'600'001).value().delivered, 2);
  const Savings none = report(t, 0, kNoon).value();
  EXPECT_EQ(none.delivered, 0);
  EXPECT_TRUE(parse_json(savings_json(none)).value().at("saving_percent").is_null());
}

TEST_P(SavingsTest, ShowsRetriesFailuresAndIdleMinutesByThemselves) {
  TestLedger t(store.options());
  traffic(t);
  const Savings s = report(t, kNoon, kNoon + 3'600'000).value();
  EXPECT_EQ(s.retries, 1);
  EXPECT_EQ(s.retry_spend, 3'500'000) << "d's second attempt";
  EXPECT_EQ(s.failed_spend, 2'600'000) << "e's cut answer";
  EXPECT_EQ(s.idle_minutes, 1) << "nothing ran in the second minute";
  EXPECT_EQ(s.idle, 833'334);
  EXPECT_EQ(s.tiers[0].machine, s.machine);
  const std::string text = savings_text(s);
  for (const char* line : {"of it failed",
                           "of it retries",
                           "of it idle",
                           "in quarantine",
                           "Baseline, pinned before the traffic",
                           "row 1 of 2025-11-04T12:00"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
}

TEST_P(SavingsTest, GivesAnIntervalWhereCountsAreNotCertain) {
  TestLedger t(store.options());
  // Answered by gpt-4o itself: the baseline is exact. By our own: the other tokenizer's interval.
  attempt(t, reservation("a", 1), delivered({.input = 1'000'000}));
  attempt(t, local("b", 1), delivered({.input = 1'000'000}));
  SavingsQuery query{.tokens = {.low_permille = 900, .high_permille = 1200}};
  Savings s = compute_savings(*t.database, query).value();
  EXPECT_EQ(s.saving(), 2'500'000'000);
  EXPECT_EQ(s.saving_low(query.tokens), 2'250'000'000);
  EXPECT_EQ(s.saving_high(query.tokens), 3'000'000'000);
  // An estimated commercial answer, and one attempt that may have cost all or nothing.
  AttemptOutcome estimated = delivered({.input = 1'000'000});
  estimated.finish = "stop;estimated";
  attempt(t, reservation("c", 1), estimated);
  ASSERT_TRUE(t.reserve(reservation("d", 1)));
  s = compute_savings(*t.database, query).value();
  EXPECT_EQ(s.estimated, 1);
  EXPECT_EQ(s.total_cost(), 5'000'000'000 + 15'000'000);
  EXPECT_EQ(s.cost_high(), 7'500'000'000 + 15'000'000);
  EXPECT_EQ(s.cost_low(), 2'500'000'000 + 625'000'000);
  EXPECT_EQ(s.baseline_low(query.tokens), 2'500'000'000 + 2'250'000'000 + 562'500'000);
  EXPECT_EQ(s.baseline_high(query.tokens), 2'500'000'000 + 3'000'000'000 + 6'000'000'000);
}

TEST_P(SavingsTest, GroupsAddUpToTheTotal) {
  TestLedger t(store.options());
  traffic(t);
  Reservation other = local("h", 1);
  other.tenant = "=globex";
  other.team = "red";
  other.agent = "qa";
  other.route = "qa";
  attempt(t, other, delivered({.input = 333, .output = 77}));
  for (const char* by :
       {"tenant", "team", "agent", "route", "key", "tier", "endpoint", "model", "day"}) {
    const auto group = group_by_from_name(by);
    ASSERT_TRUE(group) << by;
    EXPECT_EQ(group_by_name(*group), by);
    const Savings s = compute_savings(*t.database, {.by = *group}).value();
    Figures sum;
    for (const Figures& each : s.groups) {
      sum.delivered += each.delivered;
      sum.attempts += each.attempts;
      sum.baseline += each.baseline;
      sum.machine += each.machine;
      sum.idle += each.idle;
      sum.in_flight_nano += each.in_flight_nano;
      sum.spend += each.spend;
      sum.quarantined += each.quarantined;
    }
    EXPECT_EQ(sum.delivered, s.delivered) << by;
    EXPECT_EQ(sum.attempts, s.attempts) << by;
    EXPECT_EQ(sum.baseline, s.baseline) << by;
    EXPECT_EQ(sum.machine, s.machine) << by;
    EXPECT_EQ(sum.idle, s.idle) << by;
    EXPECT_EQ(sum.in_flight_nano, s.in_flight_nano) << by;
    EXPECT_EQ(sum.spend, s.spend) << by;
    EXPECT_EQ(sum.quarantined, s.quarantined) << by;
  }
  const Savings s = compute_savings(*t.database, {.by = GroupBy::kTenant}).value();
  ASSERT_EQ(s.groups.size(), 2U);
  EXPECT_GT(s.groups[1].machine, 0) << "who used the machine pays for it";
  const std::string csv = savings_csv(s);
  EXPECT_NE(csv.find("\r\n'=globex,1,1,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("\r\ntotal,6,8,"), std::string::npos) << csv;
  EXPECT_FALSE(group_by_from_name("colour"));
}

// What was looked at can be looked at again, whatever was written since.
TEST_P(SavingsTest, CanBeComputedAgainForAnEarlierState) {
  TestLedger t(store.options());
  traffic(t);
  const Savings before = compute_savings(*t.database, {.until_ms = kNoon + 60'000}).value();
  ASSERT_TRUE(t.post({"g", 1}, delivered({.input = 10, .output = 10})));
  const Savings after = compute_savings(*t.database, {.until_ms = kNoon + 60'000}).value();
  EXPECT_NE(savings_json(before), savings_json(after));
  const Savings again =
      compute_savings(*t.database,
                      {.until_ms = kNoon + 60'000, .through_seq = before.chain.through_seq})
          .value();
  EXPECT_EQ(savings_json(before), savings_json(again));
}

INSTANTIATE_TEST_SUITE_P(OnSqlite, SavingsTest, testing::Values(store::Engine::kSqlite));
INSTANTIATE_TEST_SUITE_P(OnPostgres, SavingsTest, testing::Values(store::Engine::kPostgres));

// One statement, two engines: every sum and every group is the same.
TEST(OnPostgresSavings, AreThoseOfSqlite) {
  const TestFolder folder;
  const store::TestStore server(store::Engine::kPostgres);
  TestLedger file(folder / "l.db");
  TestLedger on_server(server.options("one"));
  for (TestLedger* t : {&file, &on_server}) {
    traffic(*t);
    AttemptOutcome estimated = delivered({.input = 77, .output = 5});
    estimated.finish = "stop;estimated";
    attempt(*t, reservation("estimated", 1), estimated);
  }
  for (const char* by : {"tenant", "team", "route", "tier", "endpoint", "model", "day"}) {
    const SavingsQuery query{.until_ms = kNoon + 3'600'000, .by = *group_by_from_name(by)};
    const Savings a = compute_savings(*file.database, query).value();
    const Savings b = compute_savings(*on_server.database, query).value();
    EXPECT_EQ(savings_csv(a), savings_csv(b)) << by;
    EXPECT_EQ(savings_text(a), savings_text(b)) << by;
    EXPECT_EQ(a.prices.size(), b.prices.size());
    EXPECT_EQ(a.chain.rows, b.chain.rows);
  }
}

}  // namespace

}  // namespace genesis::ledger
