// The Nth write, sync or truncate fails: nothing acknowledged is lost, nothing is acknowledged that
// is not there, and the database works again as soon as the disk does.
#include "store/database.h"
#include "store/fault_vfs.h"
#include "store/file_check.h"
#include "store/test_database.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

namespace genesis::store {

namespace {

constexpr std::int64_t kRows = 12;

struct Outcome {
  bool hit = false;
  std::set<std::int64_t> acknowledged;
  std::set<std::int64_t> refused;
};

// Writes rows with a checkpoint in the middle while `plan` is armed.
Outcome write_under_fault(Database& database, const FaultPlan& plan) {
  Outcome outcome;
  arm_fault(plan);
  for (std::int64_t n = 1; n <= kRows; ++n) {
    const auto written = database.write_blocking(insert_number(n, std::string(3000, 'x')));
    (written ? outcome.acknowledged : outcome.refused).insert(n);
    if (!written) {
      const ErrorCode code = written.error().code;
      EXPECT_TRUE(code == ErrorCode::kResourceExhausted || code == ErrorCode::kIo)
          << written.error().message;
    }
    if (n == kRows / 2) {
      [[maybe_unused]] const auto may_fail = database.checkpoint();
    }
  }
  outcome.hit = fault_hit();
  disarm_fault();
  return outcome;
}

void expect_recovered(Database& database, const Outcome& outcome, std::int64_t next) {
  const auto after = database.write_blocking(insert_number(next));
  EXPECT_TRUE(after) << after.error().message;
  const auto numbers = read_numbers(database);
  for (const std::int64_t n : outcome.acknowledged) {
    EXPECT_TRUE(numbers.contains(n)) << "acknowledged row " << n << " is gone";
  }
}

// True when the fault was reached, so the caller may go on to the next N.
bool run_one(FaultPlan plan) {
  const TestFolder folder;
  auto options = numbers_options(folder / "a.db");
  options.vfs = fault_vfs_name();
  options.idle_checkpoint = std::chrono::hours(1);
  Outcome outcome;
  {
    auto database = Database::open(options);
    EXPECT_TRUE(database) << database.error().message;
    outcome = write_under_fault(**database, plan);
    expect_recovered(**database, outcome, 1000);
  }
  const auto report = check_file(folder / "a.db");
  EXPECT_TRUE(report) << report.error().message;
  auto again = Database::open(options);
  EXPECT_TRUE(again) << again.error().message;
  expect_recovered(**again, outcome, 1001);
  return outcome.hit;
}

void run_all(FaultOperation operation, int result, int repeat) {
  int n = 0;
  while (n < 120 &&
         run_one({.operation = operation, .result = result, .countdown = n, .repeat = repeat})) {
    // Every call at first, then a sample: the later ones repeat the same few places.
    n += n < 16 ? 1 : 9;
    if (testing::Test::HasFailure()) {
      FAIL() << "at call " << n;
    }
  }
  EXPECT_GT(n, 5) << "the fault must have been reached at several calls";
}

TEST(Fault, DiskFullAtTheNthWrite) {
  run_all(FaultOperation::kWrite, SQLITE_FULL, 1);
}

TEST(Fault, DiskFullForAWhile) {
  run_all(FaultOperation::kWrite, SQLITE_FULL, 9);
}

TEST(Fault, InputOutputErrorAtTheNthWrite) {
  run_all(FaultOperation::kWrite, SQLITE_IOERR_WRITE, 1);
}

TEST(Fault, SyncFailsAtTheNthCall) {
  run_all(FaultOperation::kSync, SQLITE_IOERR_FSYNC, 1);
}

TEST(Fault, SyncFailsForAWhile) {
  run_all(FaultOperation::kSync, SQLITE_IOERR_FSYNC, 5);
}

}  // namespace

}  // namespace genesis::store
