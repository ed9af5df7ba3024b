// The savings report against an example worked out by hand.
#include "ledger/savings.h"

#include "base/json.h"
#include "ledger/test_ledger.h"

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

TEST(Savings, EqualTheExampleWorkedOutByHand) {
  const TestFolder folder;
  TestLedger t(folder / "l.db");
  traffic(t);
  const Savings s = compute_savings(*t.database, kNoon, kNoon + 3'600'000).value();
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

TEST(Savings, SaysPlainlyWhenNothingWasSaved) {
  const TestFolder folder;
  TestLedger t(folder / "l.db");
  traffic(t);
  const Savings s = compute_savings(*t.database, kNoon, kNoon + 3'600'000).value();
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

TEST(Savings, ReportsASaving) {
  const TestFolder folder;
  TestLedger t(folder / "l.db");
  attempt(t, local("a", 1), delivered({.input = 1'000'000, .output = 1'000'000}));
  ASSERT_TRUE(
      run_task(t.ledger->charge_machine({.endpoint = "local", .start_ms = kNoon, .per_hour = 60})));
  const Savings s = compute_savings(*t.database, 0, kNoon + 1).value();
  EXPECT_EQ(s.saving(), 12'500'000'000 - 1);
  const std::string text = savings_text(s);
  EXPECT_NE(text.find("SAVED             99.9 % of the baseline"), std::string::npos) << text;
  EXPECT_NE(text.find("12.499999999"), std::string::npos) << text;
  std::printf("%s", text.c_str());
}

TEST(Savings, CountsUnconfirmedAttemptsAndTheirBound) {
  const TestFolder folder;
  {
    TestLedger t(folder / "l.db");
    ASSERT_TRUE(t.reserve(reservation("lost", 1)));
  }
  TestLedger t(folder / "l.db");
  const Savings s = compute_savings(*t.database, kNoon, kNoon + 1).value();
  EXPECT_EQ(s.unconfirmed, 1);
  EXPECT_EQ(s.unconfirmed_nano, 15'000'000);
  EXPECT_EQ(s.in_flight, 0);
  EXPECT_EQ(s.attempts, 1);
  EXPECT_EQ(s.failed, 1);
  EXPECT_EQ(s.saving(), -15'000'000);
}

TEST(Savings, LooksOnlyAtThePeriod) {
  const TestFolder folder;
  TestLedger t(folder / "l.db");
  attempt(t, local("a", 1), delivered({.input = 1000}));
  t.clock.advance(std::chrono::hours(1));
  attempt(t, local("b", 1), delivered({.input = 1000}));
  EXPECT_EQ(compute_savings(*t.database, kNoon, kNoon + 3'600'000).value().delivered, 1);
  EXPECT_EQ(compute_savings(*t.database, kNoon, kNoon + 3'600'001).value().delivered, 2);
  const Savings none = compute_savings(*t.database, 0, kNoon).value();
  EXPECT_EQ(none.delivered, 0);
  EXPECT_TRUE(parse_json(savings_json(none)).value().at("saving_percent").is_null());
}

}  // namespace

}  // namespace genesis::ledger
