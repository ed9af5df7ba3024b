// What only a database in a file has: modes by lock files, and files that are not ours.
#include "store/test_database.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace genesis::store {

namespace {

TEST(SqliteDatabase, ACleanCloseLeavesOneFile) {
  const TestFolder folder;
  ASSERT_TRUE(must_open(numbers_options(folder / "a.db"))->write_blocking(insert_number(1)));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.db-wal"));
}

TEST(SqliteDatabase, RefusesForeignAndMissingFiles) {
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

TEST(SqliteDatabase, OneOwnerAndGuestsBesideIt) {
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

}  // namespace

}  // namespace genesis::store
