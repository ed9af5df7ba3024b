// kill -9 in a loop: a child writes and tells which rows were acknowledged; all of them must be
// there.
#include "base/random.h"
#include "store/database.h"
#include "store/file_check.h"
#include "store/test_database.h"

#include <gtest/gtest.h>

#include <csignal>
#include <fcntl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace genesis::store {

namespace {

[[noreturn]] void child(const DatabaseOptions& options, std::int64_t first, int out) {
  auto database = Database::open(options);
  if (!database) {
    ::_exit(3);
  }
  const std::int64_t ready = 0;
  [[maybe_unused]] ssize_t told = ::write(out, &ready, sizeof ready);
  for (std::int64_t n = first;; ++n) {
    // Several in flight, so that commits hold more than one row.
    (*database)->submit(insert_number(n), [n, out](Result<void> result) {
      if (result) {
        [[maybe_unused]] const ssize_t written = ::write(out, &n, sizeof n);
      }
    });
    if (n % 8 == 0) {
      [[maybe_unused]] const auto waited = (*database)->write_blocking(insert_number(-n));
    }
  }
}

// When to kill: a while after so many acknowledgements.
struct Moment {
  std::uint64_t acknowledged = 0;
  std::chrono::microseconds delay{0};
};

// Starts a child, kills it, and returns what it was told is durable.
std::set<std::int64_t> run_and_kill(const DatabaseOptions& options,
                                    std::int64_t first,
                                    Moment moment) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    child(options, first, ends[1]);
  }
  ::close(ends[1]);
  std::set<std::int64_t> acknowledged;
  std::int64_t n = 0;
  EXPECT_EQ(::read(ends[0], &n, sizeof n), static_cast<ssize_t>(sizeof n))
      << "the child did not start";
  while (acknowledged.size() < moment.acknowledged &&
         ::read(ends[0], &n, sizeof n) == static_cast<ssize_t>(sizeof n)) {
    acknowledged.insert(n);
  }
  std::this_thread::sleep_for(moment.delay);
  ::kill(pid, SIGKILL);
  while (::read(ends[0], &n, sizeof n) == static_cast<ssize_t>(sizeof n)) {
    acknowledged.insert(n);
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  return acknowledged;
}

TEST(Crash, AcknowledgedRowsSurviveKillInALoop) {
  const TestFolder folder;
  auto options = numbers_options(folder / "a.db");
  options.checkpoint_frames = 30;  // so that many kills fall into a checkpoint
  const std::uint64_t seed = 20251104;
  Random random(seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::set<std::int64_t> expected;
  int sealed = 0;
  for (int loop = 0; loop < 100; ++loop) {
    const Moment moment{.acknowledged = random.below(60),
                        .delay = std::chrono::microseconds(random.below(2'000))};
    expected.merge(run_and_kill(options, 1 + 1'000'000 * (loop + 1), moment));
    const auto report = check_file(options.path);
    ASSERT_TRUE(report) << "loop " << loop << ": " << report.error().message;
    sealed += report->seal == SealState::kSealed ? 1 : 0;
    ASSERT_NE(report->seal, SealState::kStale);
    if (loop % 10 == 9) {
      auto database = Database::open(options);
      ASSERT_TRUE(database) << database.error().message;
      const auto numbers = read_numbers(**database);
      for (const std::int64_t n : expected) {
        ASSERT_TRUE(numbers.contains(n)) << "acknowledged row " << n << " is gone, loop " << loop;
      }
    }
  }
  std::printf("%zu rows acknowledged in 100 lives, file sealed after %d of them\n",
              expected.size(),
              sealed);
  EXPECT_GT(expected.size(), 1000U);
}

}  // namespace

}  // namespace genesis::store
