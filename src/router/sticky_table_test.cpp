// Unit tests of the sticky table: bounded, forgetting the oldest, expiring.
#include "router/sticky_table.h"

#include <gtest/gtest.h>

namespace genesis::router {
namespace {

constexpr SteadyTime kNow{std::chrono::hours(5)};

TEST(StickyTable, FindsWhatWasPinnedUntilItExpires) {
  StickyTable table({.capacity = 4, .ttl = std::chrono::minutes(15)});
  EXPECT_FALSE(table.find(1, kNow));
  table.pin(1, {.endpoint = "a", .tokens = 7}, kNow);
  EXPECT_EQ(table.find(1, kNow + std::chrono::minutes(15))->endpoint, "a");
  EXPECT_FALSE(table.find(1, kNow + std::chrono::minutes(16)));
}

TEST(StickyTable, IsBoundedAndForgetsTheLeastRecentlyUsed) {
  StickyTable table({.capacity = 3, .ttl = std::chrono::minutes(15)});
  for (std::uint64_t key = 1; key <= 3; ++key) {
    table.pin(key, {.endpoint = "a"}, kNow);
  }
  table.pin(1, {.endpoint = "b"}, kNow);
  table.pin(4, {.endpoint = "c"}, kNow);
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.find(1, kNow)->endpoint, "b");
  EXPECT_FALSE(table.find(2, kNow));
  EXPECT_TRUE(table.find(3, kNow));
  for (std::uint64_t key = 0; key < 10'000; ++key) {
    table.pin(key, {.endpoint = "a"}, kNow);
  }
  EXPECT_EQ(table.size(), 3U);
}

TEST(StickyTable, AFirstTurnDoesNotUnpin) {
  StickyTable table;
  table.pin(1, {.endpoint = "a", .tokens = 9}, kNow);
  table.pin_if_free(1, {.endpoint = "b"}, kNow);
  EXPECT_EQ(table.find(1, kNow)->endpoint, "a");
  table.pin_if_free(1, {.endpoint = "b"}, kNow + std::chrono::hours(1));
  EXPECT_EQ(table.find(1, kNow + std::chrono::hours(1))->endpoint, "b");
}

}  // namespace
}  // namespace genesis::router
