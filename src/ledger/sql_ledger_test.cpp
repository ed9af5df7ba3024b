// The port: two phases, repeated writes, quarantine, recovery, machine minutes, and a property test
// against a naive model.
#include "ledger/sql_ledger.h"

#include "base/random.h"
#include "ledger/machine.h"
#include "ledger/test_ledger.h"
#include "ledger/verify.h"
#include "store/test_store.h"

#include <gtest/gtest.h>

#include <map>

namespace genesis::ledger {

namespace {

// 1,000 in at 2.50 and 100 out at 10.00 a million.
constexpr NanoUsd kThousandAndHundred = 2'500'000 + 1'000'000;

class SqlLedgerTest : public store::EngineTest {};

TEST_P(SqlLedgerTest, ReservesAndPosts) {
  TestLedger t(store.options());
  ASSERT_TRUE(t.reserve(reservation("r1", 1)));
  EXPECT_EQ(exposure_of(*t.database, "acme").value().reserved, 5'000'000 + 10'000'000);
  const auto cost = t.post({"r1", 1}, delivered({.input = 1000, .output = 100}));
  ASSERT_TRUE(cost) << cost.error().message;
  EXPECT_EQ(*cost, kThousandAndHundred);
  const Exposure after = exposure_of(*t.database, "acme").value();
  EXPECT_EQ(after.reserved, 0);
  EXPECT_EQ(after.posted, kThousandAndHundred);
  EXPECT_EQ(exposure_of(*t.database, "other").value().posted, 0);
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(SqlLedgerTest, TheSameWriteTwiceIsOnce) {
  TestLedger t(store.options());
  const auto outcome = delivered({.input = 1000, .output = 100});
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(t.reserve(reservation("r1", 1)));
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(t.post({"r1", 1}, outcome).value(), kThousandAndHundred);
  }
  ASSERT_TRUE(t.reserve(reservation("r1", 1))) << "also after the end";
  ASSERT_TRUE(t.reserve(reservation("r2", 1)));
  EXPECT_TRUE(t.void_attempt({"r2", 1}));
  EXPECT_TRUE(t.void_attempt({"r2", 1}));
  EXPECT_EQ(verify_rows(*t.database).value().rows, 5);
}

TEST_P(SqlLedgerTest, ContradictionsAreConflicts) {
  TestLedger t(store.options());
  EXPECT_EQ(t.post({"r1", 1}, delivered({})).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(t.void_attempt({"r1", 1}).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(t.reserve(reservation("r1", 1)));
  EXPECT_EQ(t.reserve(reservation("r1", 1, "gpt-4.1")).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(t.post({"r1", 1}, delivered({.input = 10})));
  EXPECT_EQ(t.void_attempt({"r1", 1}).error().code, ErrorCode::kConflict);
  EXPECT_EQ(t.post({"r1", 1}, delivered({.input = 11})).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(t.reserve(reservation("r1", 2)));
  ASSERT_TRUE(t.void_attempt({"r1", 2}));
  EXPECT_EQ(t.post({"r1", 2}, delivered({})).error().code, ErrorCode::kConflict);
  EXPECT_EQ(verify_rows(*t.database).value().rows, 5);
}

TEST_P(SqlLedgerTest, RefusesImpossibleInput) {
  TestLedger t(store.options());
  ASSERT_TRUE(t.reserve(reservation("r1", 1)));
  EXPECT_EQ(t.post({"r1", 1}, delivered({.input = -5})).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(t.reserve(reservation("", 1)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(t.reserve(reservation(std::string(513, 'x'), 1)).error().param, "request_id");
  EXPECT_TRUE(t.reserve(reservation("quote'\n\\", 1)));
  // A zero byte is kept as it is or refused (PostgreSQL), never cut.
  const auto zero = t.reserve(reservation(std::string("nul\0quote'\n", 11), 1));
  EXPECT_TRUE(zero || zero.error().code == ErrorCode::kInvalidArgument) << zero.error().message;
  EXPECT_TRUE(verify_rows(*t.database));
}

TEST_P(SqlLedgerTest, AnUnknownPriceIsQuarantinedNotFree) {
  TestLedger t(store.options());
  ASSERT_TRUE(t.reserve(reservation("r1", 1, "mystery-9")));
  const auto cost = t.post({"r1", 1}, delivered({.input = 1000, .output = 100}));
  ASSERT_FALSE(cost);
  EXPECT_EQ(cost.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(cost.error().param, "mystery-9");
  const auto report = verify_rows(*t.database);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->rows_by_kind.at("quarantine"), 1);
  EXPECT_EQ(report->open_attempts, 0);
  EXPECT_NE(t.metrics.expose().find("genesis_ledger_rows_total{kind=\"quarantine\"} 1"),
            std::string::npos);
}

TEST_P(SqlLedgerTest, AnAttemptNobodyCanKnowOfStaysAtItsUpperBound) {
  TestLedger t(store.options());
  ASSERT_TRUE(t.reserve(reservation("r1", 1)));
  const AttemptOutcome outcome{.finish = "timeout", .unconfirmed = true};
  EXPECT_EQ(t.post({"r1", 1}, outcome).value(), 15'000'000);
  EXPECT_EQ(exposure_of(*t.database, "acme").value().unconfirmed, 15'000'000);
  ASSERT_TRUE(t.reserve(reservation("r2", 1)));
  AttemptOutcome disputed = delivered({.input = 10, .output = 100});
  disputed.disputed = Usage{.input = 10, .output = 2};
  ASSERT_TRUE(t.post({"r2", 1}, disputed));
  const auto report = verify_rows(*t.database);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->rows_by_kind.at("unconfirmed"), 1);
}

TEST_P(SqlLedgerTest, ABaselineWithoutAPriceIsAConfigurationError) {
  auto database = open_database(store.options());
  ManualClock clock(kNoon);
  MetricsRegistry metrics;
  auto options = test_options();
  options.baselines.model = "gpt-99";
  const auto opened = SqlLedger::open(*database, clock, metrics, options);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kConfig);
}

TEST_P(SqlLedgerTest, WhatWasInFlightBecomesUnconfirmed) {
  {
    TestLedger t(store.options());
    ASSERT_TRUE(t.reserve(reservation("done", 1)));
    ASSERT_TRUE(t.post({"done", 1}, delivered({.input = 1})));
    ASSERT_TRUE(t.reserve(reservation("lost", 1)));
    ASSERT_TRUE(t.reserve(reservation("lost", 2)));
  }
  for (int start = 0; start < 2; ++start) {
    TestLedger t(store.options());
    EXPECT_EQ(t.ledger->recovered(), start == 0 ? 2 : 0);
    EXPECT_EQ(exposure_of(*t.database, "acme").value().unconfirmed, 2 * 15'000'000);
    EXPECT_EQ(t.post({"lost", 1}, delivered({})).error().code, ErrorCode::kConflict);
    EXPECT_TRUE(t.reserve(reservation("new", static_cast<std::uint32_t>(start + 1))));
    EXPECT_TRUE(t.void_attempt({"new", static_cast<std::uint32_t>(start + 1)}));
    const auto report = verify_rows(*t.database);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->open_attempts, 0);
  }
}

TEST_P(SqlLedgerTest, MachineMinutesArePaidOnceAndAhead) {
  TestLedger t(store.options());
  const MachineMeterOptions options{.endpoint = "local", .per_hour = 100};
  MachineMeter meter(*t.ledger, t.clock, options);
  ASSERT_TRUE(run_task(meter.pay()));
  EXPECT_EQ(meter.paid_until_ms(), kNoon + 60'000);
  t.clock.advance(std::chrono::seconds(54));
  ASSERT_TRUE(run_task(meter.pay()));
  EXPECT_EQ(meter.paid_until_ms(), kNoon + 60'000);
  t.clock.advance(std::chrono::seconds(1));
  ASSERT_TRUE(run_task(meter.pay()));
  EXPECT_EQ(meter.paid_until_ms(), kNoon + 120'000) << "five seconds ahead";
  MachineMeter restarted(*t.ledger, t.clock, options);
  ASSERT_TRUE(run_task(restarted.pay()));
  EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("machine"), 2) << "not paid twice";
  t.clock.advance(std::chrono::minutes(10));
  ASSERT_TRUE(run_task(meter.pay()));
  EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("machine"), 12)
      << "a stopped process was still billed";
  t.clock.advance(std::chrono::hours(24 * 365));
  ASSERT_TRUE(run_task(meter.pay()));
  EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("machine"), 14)
      << "a clock that jumps is not a bill: the running minute and, five seconds ahead, the next";
}

TEST_P(SqlLedgerTest, TheMachineMeterRunsUntilCancelled) {
  TestLedger t(store.options());
  MachineMeter meter(*t.ledger, t.clock, {.endpoint = "local", .per_hour = 0});
  boost::asio::io_context io;
  CancelSource source;
  bool ended = false;
  boost::asio::co_spawn(io, meter.run(source.token()), [&](std::exception_ptr) { ended = true; });
  while (meter.paid_until_ms() == 0) {
    io.run_one();
  }
  EXPECT_FALSE(ended);
  source.cancel();
  io.run();
  EXPECT_TRUE(ended);
  EXPECT_EQ(verify_rows(*t.database).value().rows_by_kind.at("machine"), 1)
      << "a rate of zero is still a row";
}

// The naive model: attempts in a map, three states.
struct Attempt {
  enum class State { kOpen, kPosted, kVoided } state = State::kOpen;
  Usage usage;
  NanoUsd cost = 0;
};

class PropertyTest {
 public:
  PropertyTest(TestLedger& ledger, std::uint64_t seed) : t_(ledger), random_(seed) {}

  void step() {
    const std::string request = "r" + std::to_string(random_.below(12));
    const AttemptId id{request, static_cast<std::uint32_t>(1 + random_.below(3))};
    const std::string key = request + "/" + std::to_string(id.attempt);
    const auto known = model_.find(key);
    switch (random_.below(3)) {
      case 0:
        EXPECT_TRUE(t_.reserve(reservation(request, id.attempt)));
        model_.try_emplace(key);
        break;
      case 1:
        post(id, known == model_.end() ? nullptr : &known->second);
        break;
      default:
        void_attempt(id, known == model_.end() ? nullptr : &known->second);
    }
  }

  void check() {
    NanoUsd posted = 0;
    NanoUsd reserved = 0;
    for (const auto& [key, attempt] : model_) {
      posted += attempt.cost;
      reserved += attempt.state == Attempt::State::kOpen ? 15'000'000 : 0;
    }
    const Exposure exposure = exposure_of(*t_.database, "acme").value();
    EXPECT_EQ(exposure.posted, posted);
    EXPECT_EQ(exposure.reserved, reserved);
    const auto report = verify_rows(*t_.database);
    EXPECT_TRUE(report) << report.error().message;
  }

 private:
  void post(const AttemptId& id, Attempt* known) {
    const Usage usage{.input = static_cast<std::int64_t>(random_.below(3)) * 777,
                      .output = static_cast<std::int64_t>(random_.below(2)) * 333};
    const auto cost = t_.post(id, delivered(usage));
    if (known == nullptr) {
      EXPECT_EQ(cost.error().code, ErrorCode::kNotFound);
    } else if (known->state == Attempt::State::kOpen) {
      // 2.50 and 10.00 a million are whole nano-USD a token: no rounding to model.
      *known = {Attempt::State::kPosted, usage, usage.input * 2500 + usage.output * 10'000};
      EXPECT_EQ(cost.value(), known->cost);
    } else if (known->state == Attempt::State::kPosted && known->usage.input == usage.input &&
               known->usage.output == usage.output) {
      EXPECT_EQ(cost.value(), known->cost);
    } else {
      EXPECT_EQ(cost.error().code, ErrorCode::kConflict);
    }
  }

  void void_attempt(const AttemptId& id, Attempt* known) {
    const auto voided = t_.void_attempt(id);
    if (known == nullptr) {
      EXPECT_EQ(voided.error().code, ErrorCode::kNotFound);
    } else if (known->state == Attempt::State::kPosted) {
      EXPECT_EQ(voided.error().code, ErrorCode::kConflict);
    } else {
      EXPECT_TRUE(voided);
      known->state = Attempt::State::kVoided;
    }
  }

  TestLedger& t_;
  Random random_;
  std::map<std::string, Attempt> model_;
};

TEST_P(SqlLedgerTest, BehavesLikeTheNaiveModel) {
  for (const std::uint64_t seed : {11ULL, 12ULL, 13ULL, 14ULL}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const store::TestStore fresh(GetParam());
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    TestLedger t(fresh.options());
    PropertyTest property(t, seed);
    for (int i = 0; i < 150; ++i) {
      property.step();
    }
    property.check();
  }
}

INSTANTIATE_TEST_SUITE_P(OnSqlite, SqlLedgerTest, testing::Values(store::Engine::kSqlite));
INSTANTIATE_TEST_SUITE_P(OnPostgres, SqlLedgerTest, testing::Values(store::Engine::kPostgres));

}  // namespace

}  // namespace genesis::ledger
