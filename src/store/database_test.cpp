// Migrations, modes, group commit, savepoints, the queue's bound, and coroutines.
#include "store/database.h"

#include "store/test_database.h"

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

std::unique_ptr<Database> must_open(DatabaseOptions options) {
  auto database = Database::open(std::move(options));
  EXPECT_TRUE(database) << database.error().message;
  return database ? std::move(*database) : nullptr;
}

TEST(Database, KeepsWhatWasWritten) {
  const TestFolder folder;
  {
    auto database = must_open(numbers_options(folder / "a.db"));
    ASSERT_TRUE(database->write_blocking(insert_number(1)));
    ASSERT_TRUE(database->write_blocking(insert_number(2, std::string("nul \0 in it", 11))));
    EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1, 2}));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a.db-wal")) << "a clean close leaves one file";
  auto database = must_open(numbers_options(folder / "a.db"));
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1, 2}));
}

TEST(Database, ColumnsKeepTheirTypes) {
  const TestFolder folder;
  auto database = must_open(numbers_options(folder / "a.db"));
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

TEST(Database, OneFailedWorkUndoesOnlyItself) {
  const TestFolder folder;
  auto database = must_open(numbers_options(folder / "a.db"));
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

TEST(Database, AConstraintIsAConflictAndReadersCannotWrite) {
  const TestFolder folder;
  auto database = must_open(numbers_options(folder / "a.db"));
  ASSERT_TRUE(database->write_blocking(insert_number(1)));
  EXPECT_EQ(database->write_blocking(insert_number(1)).error().code, ErrorCode::kConflict);
  EXPECT_EQ(database->read(insert_number(2)).error().code, ErrorCode::kIo);
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1}));
}

TEST(Database, QueueIsBoundedAndCompletionsGoFirst) {
  const TestFolder folder;
  auto options = numbers_options(folder / "a.db");
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

TEST(Database, ManyWritesShareCommits) {
  const TestFolder folder;
  auto database = must_open(numbers_options(folder / "a.db"));
  std::atomic<int> done = 0;
  for (std::int64_t n = 0; n < 2000; ++n) {
    database->submit(insert_number(n), [&](Result<void> result) { done += result ? 1 : 0; });
  }
  ASSERT_TRUE(database->write_blocking(insert_number(5000)));
  EXPECT_EQ(done, 2000);
  EXPECT_LT(database->stats().commits, 1000U);
}

TEST(Database, CoroutineResumesOnItsExecutor) {
  const TestFolder folder;
  auto database = must_open(numbers_options(folder / "a.db"));
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

TEST(Database, AnIoContextMayEndBeforeTheWrite) {
  const TestFolder folder;
  auto database = must_open(numbers_options(folder / "a.db"));
  auto io = std::make_unique<boost::asio::io_context>();
  boost::asio::co_spawn(
      *io,
      [&]() -> Task<void> { co_await database->write(insert_number(1)); },
      boost::asio::detached);
  io->poll();
  database.reset();
  io.reset();
  database = must_open(numbers_options(folder / "a.db"));
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{1}));
}

TEST(Database, MigratesForwardWithABackup) {
  const TestFolder folder;
  must_open(numbers_options(folder / "a.db"))->write_blocking(insert_number(7)).value();
  const std::array<std::string_view, 2> two = {
      kNumbers[0], "ALTER TABLE numbers ADD COLUMN extra INTEGER NOT NULL DEFAULT 5"};
  auto options = numbers_options(folder / "a.db");
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
  const auto refused = Database::open(numbers_options(folder / "a.db"));
  ASSERT_FALSE(refused) << "an older program must not touch it";
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  auto backup = must_open(numbers_options(folder / "a.db.numbers.v1.bak"));
  EXPECT_EQ(read_numbers(*backup), (std::set<std::int64_t>{7}));
}

TEST(Database, AFailedMigrationChangesNothing) {
  const TestFolder folder;
  must_open(numbers_options(folder / "a.db"))->write_blocking(insert_number(7)).value();
  const std::array<std::string_view, 3> broken = {
      kNumbers[0], "CREATE TABLE more(x INTEGER)", "CREATE TABLE numbers(again INTEGER)"};
  auto options = numbers_options(folder / "a.db");
  options.schemas[0].migrations = broken;
  EXPECT_FALSE(Database::open(options));
  auto database = must_open(numbers_options(folder / "a.db"));
  EXPECT_EQ(read_numbers(*database), (std::set<std::int64_t>{7}));
  EXPECT_FALSE(database->read([](Transaction& tx) -> Result<void> {
    GENESIS_TRY(const Statement select, tx.prepare("SELECT * FROM more"));
    return {};
  }));
}

TEST(Database, RefusesForeignAndMissingFiles) {
  const TestFolder folder;
  auto reader = numbers_options(folder / "none.db");
  reader.mode = OpenMode::kReadOnly;
  EXPECT_EQ(Database::open(reader).error().code, ErrorCode::kNotFound);
  reader.mode = OpenMode::kGuest;
  EXPECT_EQ(Database::open(reader).error().code, ErrorCode::kNotFound);
  std::FILE* file = std::fopen((folder / "text.db").c_str(), "w");
  std::fputs("this is not a database, but long enough to look like a file of its own\n", file);
  std::fclose(file);
  EXPECT_EQ(Database::open(numbers_options(folder / "text.db")).error().code, ErrorCode::kDataLoss);
}

TEST(Database, OneOwnerAndGuestsBesideIt) {
  const TestFolder folder;
  auto owner = must_open(numbers_options(folder / "a.db"));
  ASSERT_TRUE(owner->write_blocking(insert_number(1)));
  EXPECT_EQ(Database::open(numbers_options(folder / "a.db")).error().code, ErrorCode::kConflict);
  auto options = numbers_options(folder / "a.db");
  options.mode = OpenMode::kOwnerOrGuest;
  {
    auto guest = must_open(options);
    EXPECT_FALSE(guest->is_owner());
    EXPECT_TRUE(guest->write_blocking(insert_number(2)));
    EXPECT_EQ(guest->checkpoint().error().code, ErrorCode::kPermissionDenied);
  }
  options.mode = OpenMode::kReadOnly;
  auto reader = must_open(options);
  EXPECT_EQ(read_numbers(*reader), (std::set<std::int64_t>{1, 2}));
  EXPECT_EQ(reader->write_blocking(insert_number(3)).error().code, ErrorCode::kPermissionDenied);
  ASSERT_TRUE(owner->write_blocking(insert_number(3)));
  EXPECT_EQ(read_numbers(*reader), (std::set<std::int64_t>{1, 2, 3}));
  reader.reset();
  owner.reset();
  options.mode = OpenMode::kOwnerOrGuest;
  EXPECT_TRUE(must_open(options)->is_owner());
}

TEST(Database, GuestsGetThroughUnderLoad) {
  const TestFolder folder;
  auto options = numbers_options(folder / "a.db");
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

TEST(Database, AReaderKeepsItsSnapshotAndNeverWaits) {
  const TestFolder folder;
  auto database = must_open(numbers_options(folder / "a.db"));
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

}  // namespace

}  // namespace genesis::store
