// Retry-After follows the measured speed of the queue.
#include "engine/drain_meter.h"

#include <gtest/gtest.h>

namespace genesis::engine {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(DrainMeter, HalfTheQueueAtTheMeasuredSpeed) {
  ManualClock clock(0);
  DrainMeter meter;
  for (int i = 0; i < 50; ++i) {
    meter.left(clock.steady());
    clock.advance(milliseconds(500));
  }
  EXPECT_EQ(meter.retry_after(39, clock.steady()), seconds(10));
  EXPECT_EQ(meter.retry_after(0, clock.steady()), seconds(1));
  EXPECT_EQ(meter.retry_after(1'000'000, clock.steady()), seconds(60));
}

TEST(DrainMeter, FollowsAChangeOfSpeed) {
  ManualClock clock(0);
  DrainMeter meter;
  const auto leave_every = [&](milliseconds gap, int times) {
    for (int i = 0; i < times; ++i) {
      clock.advance(gap);
      meter.left(clock.steady());
    }
  };
  leave_every(milliseconds(100), 50);
  EXPECT_EQ(meter.retry_after(39, clock.steady()).count() / 100, 20);
  leave_every(milliseconds(1'000), 50);
  EXPECT_NEAR(static_cast<double>(meter.retry_after(39, clock.steady()).count()), 20'000.0, 100.0);
}

TEST(DrainMeter, GuessesBeforeAnythingWasMeasuredAndForgetsIdleTime) {
  ManualClock clock(0);
  DrainMeter meter;
  EXPECT_EQ(meter.retry_after(9, clock.steady()), seconds(5));
  meter.left(clock.steady());
  meter.idle();
  clock.advance(seconds(3'600));
  meter.left(clock.steady());
  EXPECT_EQ(meter.retry_after(9, clock.steady()), seconds(5));
}

}  // namespace

}  // namespace genesis::engine
