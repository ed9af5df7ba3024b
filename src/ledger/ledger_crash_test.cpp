// kill -9 in a loop: what the ledger acknowledged is what it holds, to the nano-USD.
#include "base/random.h"
#include "ledger/savings.h"
#include "ledger/test_books.h"
#include "ledger/test_ledger.h"
#include "ledger/verify.h"

#include <boost/asio/detached.hpp>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace genesis::ledger {

namespace {

TEST(LedgerCrash, HoldsWhatItAcknowledgedAfterAHundredKills) {
  const TestFolder folder;
  const auto path = folder / "l.db";
  const std::uint64_t seed = 4711;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Books books;
  for (std::int64_t loop = 0; loop < 100; ++loop) {
    WorkingChild child(ledger_options(path), 1'000'000 * (loop + 1));
    child.listen(books, 1 + random.below(60));
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(1'500)));
    child.kill(books);
    if (loop % 10 == 9) {
      const auto report = verify(path);
      ASSERT_TRUE(report) << "loop " << loop << ": " << report.error().message;
    }
  }
  TestLedger t(path, true);
  expect_booked(*t.database, books);
  const auto report = verify_rows(*t.database);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->open_attempts, 0);
  const Savings s = compute_savings(*t.database, {}).value();
  std::printf("%zu attempts acknowledged, %lld rows, %lld unconfirmed\n",
              books.size(),
              static_cast<long long>(report->rows),
              static_cast<long long>(s.unconfirmed));
  EXPECT_EQ(s.attempts, (report->rows - report->rows_by_kind.at("pin")) / 2)
      << "every reserve has exactly one end";
}

}  // namespace

}  // namespace genesis::ledger
