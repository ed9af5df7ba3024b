// The pool: every item once, results visible, many short jobs in a row.
#include "model/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

namespace genesis::model {
namespace {

TEST(ThreadPool, RunsEveryItemOnceAndPublishesWhatItWrote) {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int round = 0; round < 300; ++round) {
      std::vector<int> count(static_cast<std::size_t>(round % 97), 0);
      pool.run(static_cast<int>(count.size()), [&](int item, int thread) {
        EXPECT_GE(thread, 0);
        EXPECT_LT(thread, threads);
        ++count[static_cast<std::size_t>(item)];
      });
      ASSERT_EQ(std::accumulate(count.begin(), count.end(), 0), round % 97);
      ASSERT_TRUE(std::ranges::all_of(count, [](int n) { return n == 1; }));
    }
  }
}

// A worker late from a short job must not take an item that only the next, longer job has.
TEST(ThreadPool, ShortJobsBeforeLongOnesLoseNoItemAndGainNone) {
  ThreadPool pool(2);
  for (int round = 0; round < 1'000'000; ++round) {
    const int items = round % 2 == 0 ? 2 : 9;
    std::atomic<int> ran{0};
    pool.run(items, [&](int, int) { ran.fetch_add(1, std::memory_order_relaxed); });
    ASSERT_EQ(ran.load(), items) << "round " << round;
  }
}

TEST(ThreadPool, WakesSleepers) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long enough for all to sleep
    std::atomic<int> sum{0};
    pool.run(50, [&](int item, int) { sum += item; });
    EXPECT_EQ(sum.load(), 1225);
  }
}

TEST(ThreadPool, LeavesLateHelpersAloneForAWhile) {
  ThreadPool pool(2);
  EXPECT_EQ(pool.solo_jobs(), 0);
  // The helper keeps whatever item it gets for 20 ms, the caller holds its own until then.
  for (int round = 0; round < 20 && pool.solo_jobs() == 0; ++round) {
    std::atomic<bool> helper_has_one{false};
    pool.run(2, [&](int, int thread) {
      if (thread != 0) {
        helper_has_one = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      } else {
        while (!helper_has_one) {
          std::this_thread::yield();
        }
      }
    });
  }
  ASSERT_GT(pool.solo_jobs(), 0);
  const int solo = pool.solo_jobs();
  pool.run(8, [](int, int thread) { EXPECT_EQ(thread, 0); });
  EXPECT_EQ(pool.solo_jobs(), solo - 1);
}

TEST(ThreadPool, EndsWhileIdleOrNeverUsed) {
  for (int i = 0; i < 20; ++i) {
    const ThreadPool pool(4);
  }
}

}  // namespace
}  // namespace genesis::model
