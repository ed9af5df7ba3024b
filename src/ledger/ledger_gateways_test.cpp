// Several gateways on one PostgreSQL: one chain, one end for each attempt, whoever dies.
#include "base/random.h"
#include "ledger/savings.h"
#include "ledger/test_books.h"
#include "ledger/test_ledger.h"
#include "ledger/verify.h"
#include "store/test_store.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

namespace genesis::ledger {

namespace {

using std::chrono::milliseconds;

// Long runs by environment: GENESIS_PG_KILLS=1000, GENESIS_PG_STOPS=200.
int rounds_from(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
  return text != nullptr ? std::atoi(text) : otherwise;
}

store::DatabaseOptions gateway(const store::TestStore& store, const std::string& name) {
  store::DatabaseOptions options = store.options(name);
  // Each has a data folder of its own; only the ring is in it.
  options.path = store.path().string() + "." + name;
  return options;
}

void expect_intact(const store::DatabaseOptions& where, const store::Database& database) {
  const auto report = verify(where);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(report->file);
  EXPECT_EQ(report->open_attempts, 0);
  const Savings s = compute_savings(database, {}).value();
  EXPECT_EQ(s.attempts, (report->rows - report->rows_by_kind.at("pin")) / 2)
      << "every reserve has exactly one end";
  std::printf("%lld rows, %lld unconfirmed\n",
              static_cast<long long>(report->rows),
              static_cast<long long>(s.unconfirmed));
}

TEST(OnPostgresLedger, TwoGatewaysOfWhichOneIsKilledAgainAndAgain) {
  const store::TestStore store(store::Engine::kPostgres);
  const std::array<std::string, 2> names = {"one", "two"};
  const std::uint64_t seed = 815;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Books books;
  std::array<std::unique_ptr<WorkingChild>, 2> gateways;
  std::int64_t lives = 0;
  const auto start = [&](std::size_t i) {
    gateways[i] = std::make_unique<WorkingChild>(gateway(store, names[i]), 1'000'000 * ++lives);
  };
  start(0);
  start(1);
  const int rounds = rounds_from("GENESIS_PG_KILLS", 10);
  for (int round = 0; round < rounds; ++round) {
    for (const auto& each : gateways) {
      each->listen(books, 20 + random.below(100));
    }
    const std::size_t dies = random.below(2);
    gateways[dies]->kill(books);
    gateways[dies].reset();
    start(dies);
  }
  gateways[0]->kill(books);
  gateways[1]->kill(books);
  const TestLedger one(gateway(store, "one"), true);
  const TestLedger two(gateway(store, "two"), true);
  std::printf("%d kills, %zu attempts acknowledged\n", rounds + 2, books.size());
  EXPECT_GT(books.size(), static_cast<std::size_t>(rounds) * 10);
  expect_booked(*one.database, books);
  expect_intact(gateway(store, "one"), *one.database);
}

TEST(OnPostgresLedger, WhatAGatewayLeftIsSettledOnlyWhenItIsGone) {
  const store::TestStore store(store::Engine::kPostgres);
  auto options = gateway(store, "stays");
  options.lease = milliseconds(1'500);
  TestLedger stays(options);
  auto open_of = [&] { return verify_rows(*stays.database).value().open_attempts; };
  auto lives_options = gateway(store, "lives");
  lives_options.lease = options.lease;
  TestLedger lives(lives_options);
  ASSERT_TRUE(lives.reserve(reservation("living", 1)));
  {
    TestLedger goes(gateway(store, "goes"));
    EXPECT_EQ(goes.ledger->recovered(), 0) << "another one's attempts are not its business";
    ASSERT_TRUE(goes.reserve(reservation("left", 1)));
    ASSERT_TRUE(goes.reserve(reservation("left", 2)));
  }
  EXPECT_EQ(run_task(stays.ledger->settle_absent_writers()).value(), 0) << "not yet";
  EXPECT_EQ(open_of(), 3);
  std::this_thread::sleep_for(milliseconds(2'000));
  EXPECT_EQ(run_task(stays.ledger->settle_absent_writers()).value(), 2);
  EXPECT_EQ(run_task(stays.ledger->settle_absent_writers()).value(), 0);
  EXPECT_EQ(open_of(), 1);
  EXPECT_TRUE(lives.post({"living", 1}, delivered({.input = 10}))) << "it was there all the time";
  expect_intact(options, *stays.database);
  TestLedger again(gateway(store, "goes"));
  EXPECT_EQ(again.ledger->recovered(), 0);
}

TEST(OnPostgresLedger, AGatewayThatStartsAgainSettlesItsFormerLife) {
  const store::TestStore store(store::Engine::kPostgres);
  TestLedger other(gateway(store, "other"));
  ASSERT_TRUE(other.reserve(reservation("theirs", 1)));
  {
    TestLedger t(gateway(store, "one"));
    ASSERT_TRUE(t.reserve(reservation("mine", 1)));
  }
  TestLedger t(gateway(store, "one"));
  EXPECT_EQ(t.ledger->recovered(), 1);
  EXPECT_EQ(verify_rows(*t.database).value().open_attempts, 1);
  EXPECT_TRUE(other.void_attempt({"theirs", 1}));
}

struct Load {
  std::atomic<bool> stop = false;
  Books books;  // touched by the io thread only
  std::set<std::int64_t> refused;
};

Task<void> work_through(SqlLedger& ledger, std::int64_t request, Load& load) {
  boost::asio::steady_timer pause(co_await boost::asio::this_coro::executor);
  for (; !load.stop; request += 8) {
    pause.expires_after(milliseconds(4));
    co_await pause.async_wait(boost::asio::use_awaitable);
    const std::string id = std::to_string(request);
    const bool own = request % 2 != 0;
    const auto reserved =
        co_await ledger.reserve(own ? own_reservation(id, 1) : reservation(id, 1));
    if (!reserved) {
      EXPECT_EQ(reserved.error().code, ErrorCode::kUnavailable) << reserved.error().message;
      load.refused.insert(request);
      continue;
    }
    note(load.books, {request, -1});
    const auto posted =
        co_await ledger.post({id, 1}, delivered({.input = request % 977, .output = request % 89}));
    EXPECT_TRUE(posted) << posted.error().message;
    note(load.books, {request, posted ? posted->cost : 0});
  }
}

// The server is stopped as if it had crashed, again and again, while the ledger works.
TEST(OnPostgresLedger, HoldsWhatItAcknowledgedWhileTheServerCrashes) {
  store::TestPostgres& server = store::TestPostgres::shared();
  const store::TestStore store(store::Engine::kPostgres);
  const std::uint64_t seed = 1848;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  TestLedger t(gateway(store, "one"), true);
  Load load;
  std::thread traffic([&] {
    boost::asio::io_context io;
    for (std::int64_t i = 0; i < 8; ++i) {
      boost::asio::co_spawn(io, work_through(*t.ledger, 1 + i, load), boost::asio::detached);
    }
    io.run();
  });
  const int rounds = rounds_from("GENESIS_PG_STOPS", 6);
  for (int round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(milliseconds(100 + random.below(200)));
    server.stop(SIGQUIT);
    std::this_thread::sleep_for(milliseconds(random.below(100)));
    server.start();
  }
  std::this_thread::sleep_for(milliseconds(300));
  load.stop = true;
  traffic.join();
  for (int i = 0; i < 200 && !t.flush(); ++i) {
    std::this_thread::sleep_for(milliseconds(50));
  }
  std::printf("%d stops: %zu attempts acknowledged, %zu refused\n",
              rounds,
              load.books.size(),
              load.refused.size());
  EXPECT_GT(load.refused.size(), 0U);
  expect_booked(*t.database, load.books);
  expect_intact(gateway(store, "one"), *t.database);
}

}  // namespace

}  // namespace genesis::ledger
