// kill -9 in a loop: what the ledger acknowledged is what it holds, to the nano-USD.
#include "base/random.h"
#include "ledger/savings.h"
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

struct Told {
  std::int64_t request = 0;
  std::int64_t amount = 0;  // -1: reserved, else posted
};

// Several requests at once, each reserving and posting without end; every other one at an endpoint
// of our own, whose rows the ring acknowledges.
Task<void> work(SqlLedger& ledger, std::int64_t request, int out) {
  for (;; request += 8) {
    const std::string id = std::to_string(request);
    if (!co_await ledger.reserve(request % 2 == 0 ? reservation(id, 1) : own_reservation(id, 1))) {
      ::_exit(4);
    }
    Told told{request, -1};
    [[maybe_unused]] ssize_t n = ::write(out, &told, sizeof told);
    const auto outcome = delivered({.input = request % 977, .output = request % 89});
    const auto cost = co_await ledger.post({id, 1}, outcome);
    told.amount = cost ? *cost : 0;
    n = ::write(out, &told, sizeof told);
  }
}

[[noreturn]] void child(const std::filesystem::path& path, std::int64_t first, int out) {
  TestLedger t(path, true);
  boost::asio::io_context io;
  for (std::int64_t i = 0; i < 8; ++i) {
    boost::asio::co_spawn(io, work(*t.ledger, first + i, out), boost::asio::detached);
  }
  io.run();
  ::_exit(5);
}

using Books = std::map<std::int64_t, std::int64_t>;

void run_and_kill(const std::filesystem::path& path,
                  std::int64_t first,
                  Random& random,
                  Books& books) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    child(path, first, ends[1]);
  }
  ::close(ends[1]);
  Told told;
  std::uint64_t left = 1 + random.below(60);
  while (left > 0 && ::read(ends[0], &told, sizeof told) == static_cast<ssize_t>(sizeof told)) {
    books[told.request] = std::max(told.amount, books.try_emplace(told.request, -1).first->second);
    --left;
  }
  EXPECT_EQ(left, 0U) << "the child stopped by itself";
  std::this_thread::sleep_for(std::chrono::microseconds(random.below(1'500)));
  ::kill(pid, SIGKILL);
  while (::read(ends[0], &told, sizeof told) == static_cast<ssize_t>(sizeof told)) {
    books[told.request] = std::max(told.amount, books.try_emplace(told.request, -1).first->second);
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
}

// Every acknowledged reserve and post is in the database with its amount.
void expect_booked(const store::Database& database, const Books& books) {
  ASSERT_TRUE(database.read([&](store::Transaction& tx) -> Result<void> {
    for (const auto& [request, amount] : books) {
      GENESIS_TRY(
          store::Statement select,
          tx.prepare("SELECT kind, amount_nano FROM entries WHERE request_id = ?1 ORDER BY seq"));
      GENESIS_TRY(bool row, select.bind(1, std::to_string(request)).step());
      EXPECT_TRUE(row && select.text(0) == "reserve") << request;
      GENESIS_TRY(row, select.step());
      EXPECT_TRUE(row) << request << " has no end after recovery";
      if (amount >= 0) {
        EXPECT_EQ(select.text(0), "post") << request;
        EXPECT_EQ(select.integer(1), amount) << request;
      }
    }
    return {};
  }));
}

TEST(LedgerCrash, HoldsWhatItAcknowledgedAfterAHundredKills) {
  const TestFolder folder;
  const auto path = folder / "l.db";
  const std::uint64_t seed = 4711;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Books books;
  for (std::int64_t loop = 0; loop < 100; ++loop) {
    run_and_kill(path, 1'000'000 * (loop + 1), random, books);
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
