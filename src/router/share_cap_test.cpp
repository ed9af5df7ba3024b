// Unit tests of the share cap: its floor, its window, and for random traffic that it is never
// passed, measured against a plain list of everything that happened.
#include "router/share_cap.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <thread>
#include <vector>

namespace genesis::router {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr SteadyTime kStart{hours(1'000)};

TEST(ShareCap, TheFirstRequestOfADayMayUseIt) {
  ShareCap cap({.max_share_ppm = 10'000, .min_requests = 2});
  EXPECT_TRUE(cap.take(kStart));
  cap.count_request(kStart);
  EXPECT_TRUE(cap.take(kStart));
  cap.count_request(kStart);
  EXPECT_FALSE(cap.take(kStart));
  EXPECT_TRUE(cap.state(kStart).full());
}

TEST(ShareCap, GrowsWithTheTraffic) {
  ShareCap cap({.max_share_ppm = 10'000, .min_requests = 0});
  int taken = 0;
  for (int i = 0; i < 1'000; ++i) {
    taken += cap.take(kStart + milliseconds(i)) ? 1 : 0;
    cap.count_request(kStart + milliseconds(i));
  }
  EXPECT_EQ(taken, 10);
}

TEST(ShareCap, RoomComesBackWhenTheWindowHasPassed) {
  ShareCap cap({.max_share_ppm = 0, .window = hours(24), .min_requests = 1});
  ASSERT_TRUE(cap.take(kStart));
  const ShareCapState full = cap.state(kStart);
  ASSERT_TRUE(full.full());
  EXPECT_GE(full.next_room, hours(24));
  EXPECT_LE(full.next_room, hours(24) + std::chrono::minutes(1));
  EXPECT_FALSE(cap.take(kStart + hours(24) - milliseconds(1)));
  EXPECT_TRUE(cap.take(kStart + full.next_room));
}

TEST(ShareCap, TimeThatStandsStillOrRunsBackIsHarmless) {
  ShareCap cap({.max_share_ppm = 0, .min_requests = 1});
  ASSERT_TRUE(cap.take(kStart));
  EXPECT_FALSE(cap.take(kStart - hours(48)));
  EXPECT_FALSE(cap.take(SteadyTime{}));
}

TEST(ShareCap, AHundredPercentIsNoCap) {
  ShareCap cap({.max_share_ppm = 1'000'000, .min_requests = 0});
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(cap.take(kStart));
  }
  EXPECT_FALSE(cap.state(kStart).limited);
}

TEST(ShareCap, RemembersWhatAnEarlierProcessCounted) {
  ShareCap cap({.max_share_ppm = 10'000, .window = hours(24), .min_requests = 0});
  cap.restore(kStart, hours(2), 300, 3);
  cap.restore(kStart, hours(30), 100'000, 0);  // too old to count
  EXPECT_EQ(cap.state(kStart).requests, 301);
  EXPECT_EQ(cap.state(kStart).commercial, 3);
  EXPECT_FALSE(cap.take(kStart));
  // Two hours before it happened a day ago, the old traffic leaves the window.
  EXPECT_EQ(cap.state(kStart + hours(23)).commercial, 0);
}

TEST(ShareCap, ParallelTakersDoNotPassIt) {
  ShareCap cap({.max_share_ppm = 0, .min_requests = 50});
  std::atomic<int> taken = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 1'000; ++k) {
          taken += cap.take(kStart) ? 1 : 0;
        }
      });
    }
  }
  EXPECT_EQ(taken, 50);
}

// At every dispatch that the cap lets through, the exact sliding window holds no more dispatches
// than the share of its requests, or the floor. Requests overlap and are counted when they end.
TEST(ShareCap, RandomTrafficNeverPassesIt) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Random random(seed);
  std::int64_t passed = 0;
  for (int round = 0; round < 30; ++round) {
    const ShareCapOptions options{.max_share_ppm = static_cast<std::int64_t>(random.below(200'000)),
                                  .window = milliseconds(1 + random.below(100'000)),
                                  .min_requests = static_cast<std::int64_t>(random.below(4))};
    ShareCap cap(options);
    std::deque<SteadyTime> requests;
    std::deque<SteadyTime> commercial;
    std::vector<SteadyTime> open;
    SteadyTime now = kStart;
    for (int i = 0; i < 3'000; ++i) {
      // Bursts, steady flow and long silences.
      now += milliseconds(random.below(random.below(40) == 0 ? 60'000 : 60));
      const auto drop = [&](std::deque<SteadyTime>& times) {
        while (!times.empty() && times.front() <= now - options.window) {
          times.pop_front();
        }
      };
      requests.push_back(now);
      drop(requests);
      drop(commercial);
      if (random.below(3) != 0 && cap.take(now)) {
        commercial.push_back(now);
        ++passed;
        const auto used = static_cast<std::int64_t>(commercial.size());
        const auto total = static_cast<std::int64_t>(requests.size());
        ASSERT_TRUE(used <= options.min_requests ||
                    used * 1'000'000 <= total * options.max_share_ppm)
            << used << " of " << total << ", " << options.max_share_ppm << " ppm, window "
            << options.window.count() << " ms";
      }
      open.push_back(now);
      while (!open.empty() && random.below(2) == 0) {
        std::swap(open[random.below(open.size())], open.back());
        cap.count_request(open.back());
        open.pop_back();
      }
    }
  }
  EXPECT_GT(passed, 1'000) << "the cap must also let through what is allowed";
}

}  // namespace
}  // namespace genesis::router
