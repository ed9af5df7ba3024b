// On both engines: migrations, group commit, savepoints, the queue's bound, and coroutines.
#include "store/database.h"

#include "store/test_store.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <vector>

namespace genesis::store {

namespace {

class OnEngine : public EngineTest {};

TEST_P(OnEngine, KeepsWhatWasWritten) {
  {
    auto database = must_open(numbers_options(store.options()));
    ASSERT_TRUE(database->write_blocking(insert_number(1)));
    ASSERT_TRUE(database->write_blocking(insert_number(2, "quote ' backslash \\ umlaut \u00e4")));
    EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1, 2}));
  }
  auto database = must_open(numbers_options(store.options()));
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1, 2}));
}

TEST_P(OnEngine, ColumnsKeepTheirTypes) {
  auto database = must_open(numbers_options(store.options()));
  const std::array<std::uint8_t, 3> bytes = {0, 255, 7};
  const auto outcome = database->read([&](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement row, tx.prepare("SELECT ?1, ?2, ?3, ?4, ?5, ?6"));
    row.bind(1, std::int64_t{INT64_MIN}).bind(2, "").bind_blob(3, bytes).bind_null(4);
    row.bind(5, std::optional<std::int64_t>()).bind(6, std::optional<std::int64_t>(9));
    GENESIS_TRY(const bool any, row.step());
    EXPECT_TRUE(any);
    EXPECT_EQ(row.integer(0), INT64_MIN);
    EXPECT_EQ(row.type(1), ColumnType::kText);
    EXPECT_EQ(row.type(2), ColumnType::kBlob);
    EXPECT_EQ(row.blob(2).size(), 3U);
    EXPECT_EQ(row.type(3), ColumnType::kNull);
    EXPECT_EQ(row.type(4), ColumnType::kNull);
    EXPECT_EQ(row.integer(5), 9);
    return {};
  });
  EXPECT_TRUE(outcome);
}

TEST_P(OnEngine, OneFailedWorkUndoesOnlyItself) {
  auto database = must_open(numbers_options(store.options()));
  std::vector<std::future<Result<void>>> futures;
  for (const std::int64_t n : {1, 2, 3}) {
    auto promise = std::make_shared<std::promise<Result<void>>>();
    futures.push_back(promise->get_future());
    database->submit(
        [n](Transaction& tx) -> Result<void> {
          GENESIS_TRY_VOID(insert_number(n)(tx));
          if (n == 2) {
            return fail(ErrorCode::kConflict, "two is refused after its row was written");
          }
          return {};
        },
        [promise](Result<void> result) { promise->set_value(std::move(result)); });
  }
  EXPECT_TRUE(futures[0].get());
  const auto refused = futures[1].get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(futures[2].get());
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1, 3}));
}

TEST_P(OnEngine, AConstraintIsAConflictAndReadersCannotWrite) {
  auto database = must_open(numbers_options(store.options()));
  ASSERT_TRUE(database->write_blocking(insert_number(1)));
  EXPECT_EQ(database->write_blocking(insert_number(1)).error().code, ErrorCode::kConflict);
  EXPECT_EQ(database->read(insert_number(2)).error().code, ErrorCode::kIo);
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1}));
}

TEST_P(OnEngine, QueueIsBoundedAndCompletionsGoFirst) {
  auto options = numbers_options(store.options());
  options.max_queue = 2;
  auto database = must_open(std::move(options));
  std::promise<void> started;
  std::promise<void> release;
  std::atomic<int> done = 0;
  std::atomic<int> overloaded = 0;
  const auto count = [&](Result<void> result) {
    done += result ? 1 : 0;
    overloaded += !result && result.error().code == ErrorCode::kOverloaded ? 1 : 0;
  };
  database->submit(
      [&](Transaction&) -> Result<void> {
        started.set_value();
        release.get_future().wait();
        return {};
      },
      count);
  started.get_future().wait();
  for (std::int64_t n = 1; n <= 3; ++n) {
    database->submit(insert_number(n), count);
  }
  EXPECT_EQ(overloaded, 1);
  database->submit(insert_number(10), count, Urgency::kCompletion);
  database->submit(insert_number(11), count, Urgency::kCompletion);
  EXPECT_EQ(overloaded, 1) << "completions have room of their own";
  database->submit(insert_number(12), count, Urgency::kCompletion);
  EXPECT_EQ(overloaded, 2) << "which is bounded too";
  release.set_value();
  database.reset();
  EXPECT_EQ(done, 5);
}

TEST_P(OnEngine, ManyWritesShareCommits) {
  auto database = must_open(numbers_options(store.options()));
  std::atomic<int> done = 0;
  for (std::int64_t n = 0; n < 2000; ++n) {
    database->submit(insert_number(n), [&](Result<void> result) { done += result ? 1 : 0; });
  }
  ASSERT_TRUE(database->write_blocking(insert_number(5000)));
  EXPECT_EQ(done, 2000);
  EXPECT_LT(database->stats().commits, 1000U);
}

TEST_P(OnEngine, CoroutineResumesOnItsExecutor) {
  auto database = must_open(numbers_options(store.options()));
  boost::asio::io_context io;
  const auto io_thread = std::this_thread::get_id();
  int good = 0;
  boost::asio::co_spawn(
      io,
      [&]() -> Task<void> {
        for (std::int64_t n = 0; n < 20; ++n) {
          const auto outcome = co_await database->write(insert_number(n));
          EXPECT_TRUE(std::this_thread::get_id() == io_thread);
          good += outcome ? 1 : 0;
        }
        const auto again = co_await database->write(insert_number(0));
        EXPECT_FALSE(again);
      },
      boost::asio::detached);
  io.run();
  EXPECT_EQ(good, 20);
}

TEST_P(OnEngine, AnIoContextMayEndBeforeTheWrite) {
  auto database = must_open(numbers_options(store.options()));
  auto io = std::make_unique<boost::asio::io_context>();
  boost::asio::co_spawn(
      *io,
      [&]() -> Task<void> { co_await database->write(insert_number(1)); },
      boost::asio::detached);
  io->poll();
  database.reset();
  io.reset();
  database = must_open(numbers_options(store.options()));
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1}));
}

TEST_P(OnEngine, MigratesForward) {
  must_open(numbers_options(store.options()))->write_blocking(insert_number(7)).value();
  const std::array<std::string_view, 2> two = {
      kNumbers[0], "ALTER TABLE numbers ADD COLUMN extra INTEGER NOT NULL DEFAULT 5"};
  auto options = numbers_options(store.options());
  options.schemas[0].migrations = two;
  {
    auto database = must_open(options);
    EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{7}));
    EXPECT_TRUE(database->read([](Transaction& tx) -> Result<void> {
      GENESIS_TRY(Statement select, tx.prepare("SELECT extra FROM numbers"));
      GENESIS_TRY(const bool row, select.step());
      EXPECT_TRUE(row && select.integer(0) == 5);
      return {};
    }));
  }
  const auto refused = Database::open(numbers_options(store.options()));
  ASSERT_FALSE(refused) << "an older program must not touch it";
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  if (store.is_sqlite()) {
    auto backup = must_open(numbers_options(store.path().string() + ".numbers.v1.bak"));
    EXPECT_EQ(read_numbers(*backup), (std::set<std::int64_t>{7}));
  }
}

TEST_P(OnEngine, AFailedMigrationChangesNothing) {
  must_open(numbers_options(store.options()))->write_blocking(insert_number(7)).value();
  const std::array<std::string_view, 3> broken = {
      kNumbers[0], "CREATE TABLE more(x INTEGER)", "CREATE TABLE numbers(again INTEGER)"};
  auto options = numbers_options(store.options());
  options.schemas[0].migrations = broken;
  EXPECT_FALSE(Database::open(options));
  auto database = must_open(numbers_options(store.options()));
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{7}));
  EXPECT_FALSE(database->read([](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement select, tx.prepare("SELECT * FROM more"));
    return select.run();
  }));
}

TEST_P(OnEngine, GuestsGetThroughUnderLoad) {
  auto options = numbers_options(store.options());
  options.checkpoint_frames = 20;
  auto owner = must_open(options);
  std::atomic<bool> stop = false;
  std::thread load([&] {
    for (std::int64_t n = 1000; !stop; ++n) {
      EXPECT_TRUE(owner->write_blocking(insert_number(n)));
    }
  });
  options.mode = OpenMode::kGuest;
  for (std::int64_t n = 0; n < 20; ++n) {
    auto guest = must_open(options);
    const auto outcome = guest->write_blocking(insert_number(n));
    EXPECT_TRUE(outcome) << outcome.error().message;
  }
  stop = true;
  load.join();
  const auto numbers = read_numbers(*owner);
  for (std::int64_t n = 0; n < 20; ++n) {
    EXPECT_TRUE(numbers.contains(n));
  }
}

TEST_P(OnEngine, AReaderKeepsItsSnapshotAndNeverWaits) {
  auto database = must_open(numbers_options(store.options()));
  ASSERT_TRUE(database->write_blocking(insert_number(1)));
  const auto outcome = database->read([&](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement count, tx.prepare("SELECT count(*) FROM numbers"));
    GENESIS_TRY(bool row, count.step());
    EXPECT_TRUE(row && count.integer(0) == 1);
    EXPECT_TRUE(database->write_blocking(insert_number(2)));
    EXPECT_TRUE(database->checkpoint());
    count.reset();
    GENESIS_TRY(row, count.step());
    EXPECT_TRUE(row && count.integer(0) == 1);
    return {};
  });
  EXPECT_TRUE(outcome);
  EXPECT_EQ(read_numbers(*database).size(), 2U);
}

TEST_P(OnEngine, AZeroByteInATextIsKeptOrRefusedButNeverCut) {
  auto database = must_open(numbers_options(store.options()));
  const auto written = database->write_blocking(insert_number(1, std::string("a\0b", 3)));
  if (!written) {
    EXPECT_EQ(written.error().code, ErrorCode::kInvalidArgument) << written.error().message;
    EXPECT_TRUE(read_numbers(*database).empty());
    return;
  }
  EXPECT_TRUE(database->read([](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement select, tx.prepare("SELECT text FROM numbers"));
    GENESIS_TRY(const bool row, select.step());
    EXPECT_TRUE(row && select.text(0).size() == 3);
    return {};
  }));
}

TEST_P(OnEngine, SumsAreIntegersAndOverflowIsAnError) {
  auto database = must_open(numbers_options(store.options()));
  constexpr std::int64_t kLarge = INT64_MAX / 2;
  for (const std::int64_t n : {kLarge, kLarge + 1, std::int64_t{-5'000'123'400'000'001}}) {
    ASSERT_TRUE(database->write_blocking(insert_number(n)));
  }
  const auto sum = [&](std::int64_t least) -> Result<std::int64_t> {
    std::int64_t value = 0;
    GENESIS_TRY_VOID(database->read([&](Transaction& tx) -> Result<void> {
      GENESIS_TRY(Statement select,
                  tx.prepare("SELECT coalesce(sum(n), 0) FROM numbers WHERE n >= ?1"));
      GENESIS_TRY(const bool row, select.bind(1, least).step());
      EXPECT_TRUE(row && select.type(0) == ColumnType::kInteger);
      value = select.integer(0);
      return {};
    }));
    return value;
  };
  EXPECT_EQ(sum(INT64_MIN).value(), INT64_MAX - 5'000'123'400'000'001);
  EXPECT_EQ(sum(INT64_MAX).value(), 0);
  ASSERT_TRUE(database->write_blocking(insert_number(9)));
  EXPECT_EQ(sum(0).has_value(), false) << "one more than 64 bits hold";
}

TEST_P(OnEngine, AStatementMayRunInsideTheRowsOfAnother) {
  auto database = must_open(numbers_options(store.options()));
  for (std::int64_t n = 0; n < 2500; ++n) {
    database->submit(insert_number(n), [](Result<void> result) { EXPECT_TRUE(result); });
  }
  ASSERT_TRUE(database->write_blocking(insert_number(2500)));
  std::int64_t rows = 0;
  const auto walked = database->read([&](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement all, tx.prepare("SELECT n FROM numbers ORDER BY n"));
    while (true) {
      GENESIS_TRY(const bool more, all.step());
      if (!more) {
        return {};
      }
      GENESIS_TRY(Statement one, tx.prepare("SELECT text FROM numbers WHERE n = ?1"));
      GENESIS_TRY(const bool there, one.bind(1, all.integer(0)).step());
      EXPECT_TRUE(there && all.integer(0) == rows) << rows;
      ++rows;
    }
  });
  EXPECT_TRUE(walked) << walked.error().message;
  EXPECT_EQ(rows, 2501);
}

INSTANTIATE_TEST_SUITE_P(OnSqlite, OnEngine, testing::Values(Engine::kSqlite));
INSTANTIATE_TEST_SUITE_P(OnPostgres, OnEngine, testing::Values(Engine::kPostgres));

}  // namespace

}  // namespace genesis::store
