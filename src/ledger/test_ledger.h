// What the room's tests share: a folder, a database with the ledger's tables, a clock turned by
// hand, and a way to run one task to its end.
#pragma once

#include "base/clock.h"
#include "base/metrics.h"
#include "base/task.h"
#include "ledger/schema.h"
#include "ledger/sql_ledger.h"
#include "store/database.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>

namespace genesis::ledger {

inline constexpr std::int64_t kNoon = 1'762'257'600'000;  // 2025-11-04T12:00:00Z

class TestFolder {
 public:
  explicit TestFolder(
      const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    std::string pattern = (parent / "genesis-ledger-XXXXXX").string();
    const char* made = ::mkdtemp(pattern.data());
    path_ = made != nullptr ? made : "";
  }

  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

template <typename T>
T run_task(Task<T> task) {
  boost::asio::io_context io;
  std::optional<T> result;
  boost::asio::co_spawn(io, std::move(task), [&](std::exception_ptr error, T value) {
    EXPECT_FALSE(error);
    result.emplace(std::move(value));
  });
  io.run();
  return std::move(*result);
}

inline store::DatabaseOptions ledger_options(const std::filesystem::path& path) {
  store::DatabaseOptions options;
  options.path = path;
  options.schemas = {schema()};
  return options;
}

inline store::DatabaseOptions ledger_options(store::DatabaseOptions options) {
  options.schemas = {schema()};
  return options;
}

inline std::unique_ptr<store::Database> open_database(store::DatabaseOptions options) {
  auto database = store::Database::open(ledger_options(std::move(options)));
  EXPECT_TRUE(database) << database.error().message;
  return database ? std::move(*database) : nullptr;
}

inline std::unique_ptr<store::Database> open_database(const std::filesystem::path& path) {
  return open_database(ledger_options(path));
}

// Default prices, baseline gpt-4o, an own endpoint "local" billed by the hour.
inline SqlLedgerOptions test_options() {
  PriceTable prices = PriceTable::defaults();
  prices.set_endpoint_hourly("local", 50'000'000);
  return {.prices = std::make_shared<const PriceTable>(std::move(prices)),
          .baselines = {.model = "gpt-4o", .routes = {}}};
}

// A ledger with everything it stands on.
struct TestLedger {
  // With a ring: beside the database, as the gateway has it; else every call waits for its commit.
  explicit TestLedger(const std::filesystem::path& path, bool with_ring = false)
      : TestLedger(ledger_options(path), with_ring) {}

  explicit TestLedger(const store::DatabaseOptions& where, bool with_ring = false)
      : database(open_database(where)) {
    auto options = test_options();
    if (with_ring) {
      options.ring = where.path.string() + ".ring";
    }
    auto opened = SqlLedger::open(*database, clock, metrics, std::move(options));
    EXPECT_TRUE(opened) << opened.error().message;
    ledger = std::move(*opened);
  }

  Result<void> reserve(const Reservation& r) { return run_task(ledger->reserve(r)); }

  Result<NanoUsd> post(const AttemptId& id, const AttemptOutcome& o) {
    GENESIS_TRY(const Posted posted, run_task(ledger->post(id, o)));
    return posted.cost;
  }

  Result<void> flush() { return run_task(ledger->flush()); }

  Result<void> void_attempt(const AttemptId& id) {
    return run_task(ledger->void_attempt(id, "refused"));
  }

  ManualClock clock{kNoon};
  MetricsRegistry metrics;
  std::unique_ptr<store::Database> database;
  std::unique_ptr<SqlLedger> ledger;
};

inline Reservation reservation(std::string request,
                               std::uint32_t attempt,
                               std::string model = "gpt-4o") {
  return {.id = {std::move(request), attempt},
          .tenant = "acme",
          .key_id = "k1",
          .route = "auto",
          .endpoint = "openai",
          .tier = Tier::kCommercial,
          .model = std::move(model),
          .upper_bound = {.input = 2000, .output = 1000}};
}

// An attempt at an endpoint of our own, which costs hours and nothing for itself.
inline Reservation own_reservation(std::string request, std::uint32_t attempt) {
  Reservation r = reservation(std::move(request), attempt, "smollm2-135m-instruct");
  r.endpoint = "local";
  r.tier = Tier::kSelfHosted;
  return r;
}

inline AttemptOutcome delivered(Usage usage) {
  return {
      .usage = usage, .delivered = true, .finish = "stop", .first_token_ms = 20, .total_ms = 90};
}

}  // namespace genesis::ledger
