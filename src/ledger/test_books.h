// A child process that reserves and posts without end and tells what was acknowledged, and the
// check that the ledger holds it. For the tests that kill.
#pragma once

#include "base/random.h"
#include "ledger/test_ledger.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <set>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace genesis::ledger {

struct Told {
  std::int64_t request = 0;
  std::int64_t amount = 0;  // -1: reserved, else posted
};

// What was told: attempts by request, with their amount or -1.
using Books = std::map<std::int64_t, std::int64_t>;

inline void note(Books& books, const Told& told) {
  std::int64_t& amount = books.try_emplace(told.request, -1).first->second;
  amount = std::max(told.amount, amount);
}

// Several requests at once, each reserving and posting without end; every other one at an endpoint
// of our own, whose rows the ring acknowledges.
inline Task<void> work(SqlLedger& ledger, std::int64_t request, int out) {
  for (;; request += 8) {
    const std::string id = std::to_string(request);
    if (!co_await ledger.reserve(request % 2 == 0 ? reservation(id, 1) : own_reservation(id, 1))) {
      ::_exit(4);
    }
    Told told{request, -1};
    [[maybe_unused]] ssize_t n = ::write(out, &told, sizeof told);
    const auto outcome = delivered({.input = request % 977, .output = request % 89});
    const auto posted = co_await ledger.post({id, 1}, outcome);
    told.amount = posted ? posted->cost : 0;
    n = ::write(out, &told, sizeof told);
  }
}

class WorkingChild {
 public:
  // Forks. `first` is the number of its first request.
  WorkingChild(const store::DatabaseOptions& where, std::int64_t first) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      run(where, first, ends[1]);
    }
    ::close(ends[1]);
    in_ = ends[0];
  }

  WorkingChild(const WorkingChild&) = delete;
  WorkingChild& operator=(const WorkingChild&) = delete;

  ~WorkingChild() {
    if (pid_ > 0) {
      Books ignored;
      kill(ignored);
    }
  }

  // Waits for so many more acknowledgements.
  void listen(Books& books, std::uint64_t count) const {
    Told told;
    while (count > 0 && ::read(in_, &told, sizeof told) == static_cast<ssize_t>(sizeof told)) {
      note(books, told);
      --count;
    }
    EXPECT_EQ(count, 0U) << "the child stopped by itself";
  }

  // kill -9, and what it still said.
  void kill(Books& books) {
    ::kill(pid_, SIGKILL);
    Told told;
    while (::read(in_, &told, sizeof told) == static_cast<ssize_t>(sizeof told)) {
      note(books, told);
    }
    ::close(in_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    pid_ = 0;
  }

 private:
  [[noreturn]] static void run(const store::DatabaseOptions& where, std::int64_t first, int out) {
    TestLedger t(where, true);
    boost::asio::io_context io;
    for (std::int64_t i = 0; i < 8; ++i) {
      boost::asio::co_spawn(io, work(*t.ledger, first + i, out), boost::asio::detached);
    }
    io.run();
    ::_exit(5);
  }

  pid_t pid_ = 0;
  int in_ = -1;
};

// Every acknowledged reserve and post is in the database with its amount, once.
inline void expect_booked(const store::Database& database, const Books& books) {
  std::map<std::string, std::vector<std::pair<std::string, std::int64_t>>> rows;
  const auto read = database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select,
                tx.prepare("SELECT request_id, kind, amount_nano FROM entries ORDER BY seq"));
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      rows[std::string(select.text(0))].emplace_back(select.text(1), select.integer(2));
    }
  });
  ASSERT_TRUE(read) << read.error().message;
  for (const auto& [request, amount] : books) {
    const auto& attempt = rows[std::to_string(request)];
    ASSERT_EQ(attempt.size(), 2U) << request << ": one reserve and one end";
    EXPECT_EQ(attempt[0].first, "reserve") << request;
    if (amount >= 0) {
      EXPECT_EQ(attempt[1].first, "post") << request;
      EXPECT_EQ(attempt[1].second, amount) << request;
    }
  }
}

}  // namespace genesis::ledger
