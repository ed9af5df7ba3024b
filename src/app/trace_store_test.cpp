// Unit tests of traces: written in groups, bounded, pruned, read back by explain beside the
// ledger's rows.
#include "app/trace_store.h"

#include "app/explain.h"
#include "app/share_history.h"
#include "base/json.h"
#include "base/random.h"
#include "ledger/schema.h"
#include "ledger/sql_ledger.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <filesystem>

namespace genesis::app {
namespace {

namespace fs = std::filesystem;

class TraceStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / new_id("genesis-traces-");
    fs::create_directories(folder_);
    auto opened = store::Database::open(
        {.path = folder_ / "genesis.db", .schemas = {ledger::schema(), trace_schema()}});
    ASSERT_TRUE(opened) << opened.error().message;
    database_ = std::move(*opened);
  }

  void TearDown() override {
    database_.reset();
    fs::remove_all(folder_);
  }

  static RequestTrace trace(const std::string& id, std::int64_t unix_ms) {
    RequestTrace trace{.unix_ms = unix_ms,
                       .features = {.request_id = id, .route = "auto", .tenant = "default"},
                       .plan = {.route = "auto", .policy = "rule", .steps = {}},
                       .attempts = {{.attempt = 1, .endpoint = "local", .outcome = "delivered"}},
                       .outcome = "delivered",
                       .served_by = "local",
                       .total_ms = 12};
    trace.plan.alternatives = {{.endpoint = "local", .chosen = true, .reason = "first of two"},
                               {.endpoint = "paid",
                                .tier = Tier::kCommercial,
                                .reason = "ruled out, commercial share used up",
                                .predicted_cost = 1'500}};
    return trace;
  }

  // Runs the store's own loop until everything that waits is written.
  void settle(TraceStore& traces) {
    CancelSource stop;
    stop.cancel();
    io_.restart();
    boost::asio::co_spawn(io_, traces.run(stop.token()), boost::asio::detached);
    io_.run();
  }

  std::int64_t count() {
    std::int64_t rows = 0;
    EXPECT_TRUE(database_->read([&](store::Transaction& tx) -> Result<void> {
      GENESIS_TRY(store::Statement select, tx.prepare("SELECT count(*) FROM traces"));
      GENESIS_TRY(const bool row, select.step());
      rows = row ? select.integer(0) : -1;
      return {};
    }));
    return rows;
  }

  fs::path folder_;
  boost::asio::io_context io_;
  MetricsRegistry metrics_;
  std::unique_ptr<store::Database> database_;
};

TEST_F(TraceStoreTest, WhatWasWrittenIsExplained) {
  TraceStore traces(io_.get_executor(), *database_, metrics_, {});
  traces.on_finished(trace("req-A1", 1'000));
  traces.on_finished(trace("req-B2", 2'000));
  settle(traces);
  for (const char* asked : {"req-B2", "chatcmpl-B2", "last", ""}) {
    const auto json = explain_json(*database_, asked);
    ASSERT_TRUE(json) << json.error().message;
    const auto parsed = parse_json(*json);
    ASSERT_TRUE(parsed) << *json;
    const auto& root = parsed->as_object();
    EXPECT_EQ(root.at("request_id").as_string(), "req-B2");
    const auto& told = root.at("trace").as_object();
    EXPECT_EQ(told.at("served_by").as_string(), "local");
    EXPECT_EQ(told.at("alternatives").as_array().at(1).as_object().at("predicted_nano"), 1'500);
  }
  const auto text = explain_text(*explain_json(*database_, "req-A1"));
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("delivered by local after 12 ms"), std::string::npos) << *text;
  EXPECT_NE(text->find("commercial share used up"), std::string::npos) << *text;
  const auto none = explain_json(*database_, "req-C3");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
}

TEST_F(TraceStoreTest, TheQueueIsBoundedAndKeepsRoomForTrouble) {
  TraceStore traces(io_.get_executor(), *database_, metrics_, {.max_pending = 8});
  for (int i = 0; i < 20; ++i) {
    traces.on_finished(trace("req-routine" + std::to_string(i), 1'000));
  }
  for (int i = 0; i < 20; ++i) {
    RequestTrace failed = trace("req-failed" + std::to_string(i), 1'000);
    failed.outcome = "unavailable";
    traces.on_finished(failed);
  }
  settle(traces);
  EXPECT_EQ(count(), 8);
  EXPECT_TRUE(explain_json(*database_, "req-failed3"));
  EXPECT_FALSE(explain_json(*database_, "req-failed4"));
  EXPECT_NE(metrics_.expose().find("genesis_traces_total{state=\"dropped\"} 32"),
            std::string::npos);
}

TEST_F(TraceStoreTest, TheOldestGoFirst) {
  TraceStore traces(io_.get_executor(),
                    *database_,
                    metrics_,
                    {.max_requests = 10, .max_age = std::chrono::hours(1)});
  for (int i = 0; i < 30; ++i) {
    traces.on_finished(trace("req-" + std::to_string(i), 1'000 + i));
  }
  settle(traces);
  EXPECT_EQ(count(), 10);
  EXPECT_FALSE(explain_json(*database_, "req-19"));
  EXPECT_TRUE(explain_json(*database_, "req-20"));
  traces.on_finished(trace("req-late", 1'000 + 2 * 3'600'000));
  settle(traces);
  EXPECT_EQ(count(), 1) << "all others are older than an hour";
}

TEST_F(TraceStoreTest, NothingIsKeptWhenNothingIsAskedFor) {
  TraceStore traces(io_.get_executor(), *database_, metrics_, {.max_requests = 0});
  traces.on_finished(trace("req-A", 1));
  settle(traces);
  EXPECT_EQ(count(), 0);
}

// The cap of a new process knows what the ledger booked before it.
TEST_F(TraceStoreTest, TheShareCapRemembersTheLedger) {
  ManualClock clock(1'700'000'000'000);
  ASSERT_TRUE(database_->write_blocking([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(
        store::Statement insert,
        tx.prepare("INSERT INTO entries(unix_ms, kind, request_id, attempt, tenant, key_id, route,"
                   " endpoint, tier, model, input, cached_input, cache_write, output, reasoning,"
                   " debit_account, credit_account, price_id, baseline_model, baseline_price_id,"
                   " finish, delivered, first_token_ms, total_ms, note, prev_hash, hash)"
                   " VALUES(?1, 'reserve', ?2, ?3, '', '', '', '', ?4, '', 0, 0, 0, 0, 0, 'a', 'b',"
                   " '', '', '', '', 0, 0, 0, '', x'', x'')"));
    const auto add = [&](std::int64_t ago_ms, int n, std::int64_t attempt, const char* tier) {
      return insert.bind(1, clock.unix_ms() - ago_ms)
          .bind(2, "req-" + std::to_string(n))
          .bind(3, attempt)
          .bind(4, tier)
          .run();
    };
    for (int n = 0; n < 300; ++n) {
      GENESIS_TRY_VOID(add(n * 1'000, n, 1, "self_hosted"));
    }
    GENESIS_TRY_VOID(add(1'000, 1, 2, "commercial"));
    GENESIS_TRY_VOID(add(2'000, 2, 2, "commercial"));
    return add(2 * 86'400'000, 1'000, 1, "commercial");  // two days ago
  }));
  Config config;
  config.commercial_cap = router::ShareCapOptions{.min_requests = 0};
  const auto cap = make_share_cap(config, nullptr, *database_, clock);
  ASSERT_TRUE(cap) << cap.error().message;
  const auto state = (*cap)->state(clock.steady());
  EXPECT_EQ(state.requests, 301);
  EXPECT_EQ(state.commercial, 2);
  EXPECT_EQ(state.allowed, 3);
  EXPECT_EQ(*make_share_cap(config, *cap, *database_, clock), *cap) << "a reload keeps it";
  config.commercial_cap.reset();
  EXPECT_EQ(*make_share_cap(config, *cap, *database_, clock), nullptr);
}

}  // namespace
}  // namespace genesis::app
