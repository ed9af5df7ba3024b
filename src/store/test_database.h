// What the room's tests share: a folder that goes away, and a database of numbered rows.
#pragma once

#include "store/database.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <unistd.h>

namespace genesis::store {

class TestFolder {
 public:
  TestFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "genesis-store-XXXXXX").string();
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

inline constexpr std::array<std::string_view, 1> kNumbers = {
    "CREATE TABLE numbers(n INTEGER PRIMARY KEY, text TEXT NOT NULL)"};

inline DatabaseOptions numbers_options(const std::filesystem::path& path) {
  DatabaseOptions options;
  options.path = path;
  options.schemas = {{.component = "numbers", .migrations = kNumbers}};
  return options;
}

inline DatabaseOptions numbers_options(DatabaseOptions options) {
  options.schemas = {{.component = "numbers", .migrations = kNumbers}};
  return options;
}

inline std::unique_ptr<Database> must_open(DatabaseOptions options) {
  auto database = Database::open(std::move(options));
  EXPECT_TRUE(database) << database.error().message;
  return database ? std::move(*database) : nullptr;
}

inline Database::Work insert_number(std::int64_t n, std::string text = "text") {
  return [n, text = std::move(text)](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement insert, tx.prepare("INSERT INTO numbers VALUES(?1, ?2)"));
    return insert.bind(1, n).bind(2, text).run();
  };
}

inline std::set<std::int64_t> read_numbers(const Database& database) {
  std::set<std::int64_t> numbers;
  const auto outcome = database.read([&](Transaction& tx) -> Result<void> {
    GENESIS_TRY(Statement select, tx.prepare("SELECT n FROM numbers"));
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      numbers.insert(select.integer(0));
    }
  });
  EXPECT_TRUE(outcome) << outcome.error().message;
  return numbers;
}

}  // namespace genesis::store
