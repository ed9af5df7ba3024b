// Any changed byte of the file or its log is found; nothing legitimate is taken for damage.
#include "store/file_check.h"

#include "base/random.h"
#include "store/database.h"
#include "store/page_check.h"
#include "store/seal.h"
#include "store/sqlite_connection.h"
#include "store/test_database.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <thread>

namespace genesis::store {

namespace {

void fill(const DatabaseOptions& options, std::int64_t first, std::int64_t rows) {
  auto database = Database::open(options);
  ASSERT_TRUE(database) << database.error().message;
  for (std::int64_t n = first; n < first + rows; ++n) {
    (*database)->submit(insert_number(n, std::string(100, 'r')), [](Result<void>) {});
  }
}

// What check_file() finds wrong, if anything.
std::optional<ErrorCode> finding(const std::filesystem::path& path) {
  const auto report = check_file(path);
  return report ? std::nullopt : std::optional(report.error().code);
}

void flip(const std::filesystem::path& path, std::uint64_t bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte ^ (1 << (bit % 8))));
}

TEST(FileCheck, FindsEachOfAThousandFlippedBits) {
  const TestFolder folder;
  const auto options = numbers_options(folder / "a.db");
  fill(options, 1, 500);
  const auto clean = check_file(options.path);
  ASSERT_TRUE(clean) << clean.error().message;
  EXPECT_EQ(clean->seal, SealState::kSealed);
  const std::uint64_t bits = std::filesystem::file_size(options.path) * 8;
  Random random(7);
  int found = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t bit = random.below(bits);
    flip(options.path, bit);
    // check_file() looks three times to be sure, so only a sample goes the whole way.
    if (i % 20 == 0) {
      EXPECT_EQ(finding(options.path), ErrorCode::kDataLoss) << "bit " << bit;
    }
    const auto raw = SqliteConnection::open({.path = options.path, .read_only = true});
    const auto look = check_pages(options.path, **raw);
    found += look && !look->damage.empty() ? 1 : 0;
    flip(options.path, bit);
  }
  EXPECT_EQ(found, 1000);
  EXPECT_TRUE(check_file(options.path));
}

TEST(FileCheck, DamageThatAStartFoundIsNotForgotten) {
  const TestFolder folder;
  const auto options = numbers_options(folder / "a.db");
  fill(options, 1, 500);
  // Another hand changes a byte while nobody looks, then an owner works on and seals again.
  flip(options.path, (std::filesystem::file_size(options.path) - 100) * 8);
  fill(options, 501, 500);
  const auto report = check_file(options.path);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kDataLoss);
  EXPECT_NE(report.error().message.find("found at a start"), std::string::npos);
  fill(options, 1001, 1);
  EXPECT_EQ(finding(options.path), ErrorCode::kDataLoss);
}

TEST(FileCheck, AnEmptiedDatabaseDoesNotStartAnew) {
  const TestFolder folder;
  const auto options = numbers_options(folder / "a.db");
  fill(options, 1, 10);
  std::filesystem::resize_file(options.path, 0);
  EXPECT_EQ(finding(options.path), ErrorCode::kDataLoss);
  EXPECT_EQ(Database::open(options).error().code, ErrorCode::kDataLoss);
  std::filesystem::remove(options.path);
  EXPECT_EQ(finding(options.path), ErrorCode::kDataLoss);
  EXPECT_EQ(Database::open(options).error().code, ErrorCode::kDataLoss);
  std::filesystem::remove(seal_path(options.path));
  EXPECT_TRUE(Database::open(options)) << "without its seal it is a new one";
}

TEST(FileCheck, AnOwnerThatDiedWhileItMadeTheFirstSealLeftNone) {
  const TestFolder folder;
  const auto options = numbers_options(folder / "a.db");
  fill(options, 1, 10);
  // What is on disk just before the seal gets its name: a part of it under another one.
  std::filesystem::rename(seal_path(options.path), seal_path(options.path).string() + ".new");
  std::filesystem::resize_file(seal_path(options.path).string() + ".new", 100);
  EXPECT_EQ(check_file(options.path).value().seal, SealState::kUnsealed);
  fill(options, 11, 10);
  EXPECT_EQ(check_file(options.path).value().seal, SealState::kSealed);
  EXPECT_FALSE(std::filesystem::exists(seal_path(options.path).string() + ".new"));
}

// The state a killed owner leaves: file, log and seal copied from under it.
void copy_live(const TestFolder& folder, const DatabaseOptions& options, std::string_view to) {
  for (const std::string suffix : {"", "-wal", ".seal"}) {
    std::filesystem::copy_file(options.path.string() + suffix,
                               (folder / to).string() + suffix,
                               std::filesystem::copy_options::overwrite_existing);
  }
}

TEST(FileCheck, FindsFlippedBitsOfTheLog) {
  const TestFolder folder;
  auto options = numbers_options(folder / "a.db");
  options.idle_checkpoint = std::chrono::hours(1);
  auto database = Database::open(options);
  ASSERT_TRUE(database);
  ASSERT_TRUE((*database)->checkpoint());
  for (std::int64_t n = 0; n < 20; ++n) {
    ASSERT_TRUE((*database)->write_blocking(insert_number(n)));
  }
  copy_live(folder, options, "b.db");
  const auto path = folder / "b.db";
  const auto clean = check_file(path);
  ASSERT_TRUE(clean) << clean.error().message;
  EXPECT_GT(clean->log_frames, 20);
  Random random(8);
  const std::uint64_t bits = std::filesystem::file_size(log_path(path)) * 8;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t bit = i < 32 ? static_cast<std::uint64_t>(i) * 8 : random.below(bits);
    flip(log_path(path), bit);
    EXPECT_EQ(finding(path), ErrorCode::kDataLoss) << "bit " << bit;
    flip(log_path(path), bit);
  }
  EXPECT_TRUE(check_file(path));
}

TEST(FileCheck, AnotherProgramsCheckpointIsNotDamage) {
  const TestFolder folder;
  auto options = numbers_options(folder / "a.db");
  options.idle_checkpoint = std::chrono::hours(1);
  auto database = Database::open(options);
  ASSERT_TRUE(database);
  ASSERT_TRUE((*database)->checkpoint());
  ASSERT_TRUE((*database)->write_blocking(insert_number(1)));
  copy_live(folder, options, "b.db");
  const auto path = folder / "b.db";
  EXPECT_EQ(check_file(path).value().seal, SealState::kSealed);
  {
    sqlite3* shell = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &shell), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(shell, "SELECT * FROM numbers", nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(shell);
  }
  const auto stale = check_file(path);
  ASSERT_TRUE(stale) << stale.error().message;
  EXPECT_EQ(stale->seal, SealState::kStale);
  options.path = path;
  {
    ASSERT_TRUE(Database::open(options));
  }
  EXPECT_EQ(check_file(path).value().seal, SealState::kSealed) << "the next owner seals it anew";
}

TEST(FileCheck, ARowChangedWithAnotherProgramIsDamage) {
  const TestFolder folder;
  const auto options = numbers_options(folder / "a.db");
  fill(options, 1, 50);
  sqlite3* shell = nullptr;
  ASSERT_EQ(sqlite3_open(options.path.c_str(), &shell), SQLITE_OK);
  ASSERT_EQ(
      sqlite3_exec(shell, "UPDATE numbers SET text = 'y' WHERE n = 9", nullptr, nullptr, nullptr),
      SQLITE_OK);
  sqlite3_close(shell);
  EXPECT_EQ(finding(options.path), ErrorCode::kDataLoss);
}

TEST(FileCheck, WorksBesideABusyOwner) {
  const TestFolder folder;
  auto options = numbers_options(folder / "a.db");
  options.checkpoint_frames = 10;
  auto database = Database::open(options);
  ASSERT_TRUE(database);
  std::atomic<bool> stop = false;
  std::thread load([&] {
    for (std::int64_t n = 0; !stop; ++n) {
      EXPECT_TRUE((*database)->write_blocking(insert_number(n)));
    }
  });
  for (int i = 0; i < 300; ++i) {
    const auto report = check_file(options.path);
    EXPECT_TRUE(report) << report.error().message;
  }
  stop = true;
  load.join();
}

TEST(FileCheck, ADamagedSealSaysSo) {
  const TestFolder folder;
  const auto options = numbers_options(folder / "a.db");
  fill(options, 1, 5);
  flip(seal_path(options.path), 100);
  EXPECT_EQ(finding(options.path), ErrorCode::kDataLoss);
  std::filesystem::remove(seal_path(options.path));
  EXPECT_EQ(check_file(options.path).value().seal, SealState::kUnsealed);
}

}  // namespace

}  // namespace genesis::store
