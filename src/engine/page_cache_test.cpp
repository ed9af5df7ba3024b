// Pages: given once, shared by name, kept while there is room, and the least worth goes first.
#include "engine/page_cache.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace genesis::engine {

namespace {

constexpr std::int32_t kPage = 4;

BlockHash name(int number) {
  return sha256(std::to_string(number));
}

// Takes, publishes and lets go of a chain of blocks with these names; they stay as kept pages.
void keep(PageCache& cache, std::span<const int> chain) {
  std::vector<std::int32_t> pages;
  for (const int number : chain) {
    const auto start = static_cast<std::int32_t>(pages.size()) * kPage;
    if (const auto known = cache.find(name(number))) {
      pages.push_back(*known);
      continue;
    }
    const std::int32_t before = pages.empty() ? -1 : pages.back();
    pages.push_back(cache.publish(cache.take().value(), name(number), before, start));
  }
  for (; !pages.empty(); pages.pop_back()) {
    cache.give_back(pages.back());
  }
  cache.check_invariants();
}

TEST(PageCache, GivesEachPageOnceAndTakesItBack) {
  PageCache cache(3, kPage);
  EXPECT_EQ(cache.take(), 0);
  EXPECT_EQ(cache.take(), 1);
  EXPECT_EQ(cache.take(), 2);
  EXPECT_EQ(cache.take(), std::nullopt);
  cache.give_back(1);
  EXPECT_EQ(cache.available(), 1);
  EXPECT_EQ(cache.take(), 1);
}

TEST(PageCacheDeathTest, ReturningAPageTwiceStopsTheProcess) {
  PageCache cache(2, kPage);
  const auto page = cache.take();
  cache.give_back(*page);
  EXPECT_DEATH(cache.give_back(*page), "holders");
}

TEST(PageCache, ANamedPageIsFoundAndHeldByMany) {
  PageCache cache(4, kPage);
  const auto page = cache.take().value();
  EXPECT_EQ(cache.publish(page, name(1), -1, 0), page);
  EXPECT_EQ(cache.find(name(1)), page);
  EXPECT_EQ(cache.holders(page), 2);
  cache.give_back(page);
  EXPECT_EQ(cache.available(), 3);
  cache.give_back(page);
  EXPECT_EQ(cache.available(), 4);
  EXPECT_EQ(cache.kept(), 1);
  EXPECT_EQ(cache.find(name(2)), std::nullopt);
}

TEST(PageCache, TheSameBlockComputedTwiceBecomesOnePage) {
  PageCache cache(4, kPage);
  const auto first = cache.take().value();
  const auto second = cache.take().value();
  EXPECT_EQ(cache.publish(first, name(1), -1, 0), first);
  EXPECT_EQ(cache.publish(second, name(1), -1, 0), first);
  EXPECT_EQ(cache.holders(first), 2);
  EXPECT_EQ(cache.holders(second), 0);
  cache.check_invariants();
}

TEST(PageCache, KeptPagesGoWhenNothingIsFreeAndFollowersGoFirst) {
  PageCache cache(3, kPage);
  keep(cache, std::array{1, 2, 3});
  EXPECT_EQ(cache.kept(), 3);
  ASSERT_TRUE(cache.take());
  EXPECT_EQ(cache.look_up(name(3)), std::nullopt);
  EXPECT_TRUE(cache.evicted_lately(name(3)));
  EXPECT_TRUE(cache.look_up(name(1)) && cache.look_up(name(2)));
  ASSERT_TRUE(cache.take());
  EXPECT_EQ(cache.look_up(name(2)), std::nullopt);
  ASSERT_TRUE(cache.take());
  EXPECT_EQ(cache.take(), std::nullopt);
  EXPECT_EQ(cache.evictions(), 3U);
  cache.check_invariants();
}

TEST(PageCache, APageThatIsNotFullIsForOneWhoGoesOn) {
  PageCache cache(4, kPage);
  const auto page = cache.take().value();
  cache.give_back_part(page, name(1), std::array{5, 6});
  cache.check_invariants();
  EXPECT_EQ(cache.available(), 4);
  EXPECT_EQ(cache.kept(), 1);
  EXPECT_FALSE(cache.take_part(name(2), std::array{5, 6, 7}));
  EXPECT_FALSE(cache.take_part(name(1), std::array{5, 7, 6}));
  EXPECT_FALSE(cache.take_part(name(1), std::array{5}));
  const auto part = cache.take_part(name(1), std::array{5, 6, 7});
  ASSERT_TRUE(part);
  EXPECT_EQ(part->page, page);
  EXPECT_EQ(part->tokens, 2);
  EXPECT_FALSE(cache.take_part(name(1), std::array{5, 6, 7})) << "one writes to it";
  EXPECT_EQ(cache.publish(page, name(3), -1, 0), page);
  cache.give_back(page);
  cache.check_invariants();
}

TEST(PageCache, TheLongestPartIsTaken) {
  PageCache cache(4, kPage);
  const auto first = cache.take().value();
  const auto second = cache.take().value();
  cache.give_back_part(first, name(1), std::array{5, 6});
  cache.give_back_part(second, name(1), std::array{5, 6, 7});
  EXPECT_EQ(cache.take_part(name(1), std::array{5, 6, 7})->page, second);
  // What is left makes room when it must.
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(cache.take());
  }
  EXPECT_FALSE(cache.take_part(name(1), std::array{5, 6, 7}));
  cache.check_invariants();
}

TEST(PageCache, WhatIsWantedOftenStaysAndWhatIsNotAgesOut) {
  PageCache cache(4, kPage);
  keep(cache, std::array{1});
  for (int i = 0; i < 3; ++i) {
    keep(cache, std::array{1});
  }
  // Three that come once each pass by, and 1 stays.
  for (int other = 10; other < 16; ++other) {
    keep(cache, std::array{other});
  }
  EXPECT_TRUE(cache.look_up(name(1)));
  // Nobody wants it any more: in time it goes.
  for (int other = 20; other < 60; ++other) {
    keep(cache, std::array{other});
  }
  EXPECT_EQ(cache.look_up(name(1)), std::nullopt);
}

TEST(PageCache, TheDearerBlockStays) {
  PageCache cache(1'000, kPage);
  std::vector<int> chain(900);
  for (std::size_t i = 0; i < chain.size(); ++i) {
    chain[i] = static_cast<int>(i);
  }
  keep(cache, chain);
  for (int other = 2'000; other < 2'100; ++other) {
    keep(cache, std::array{other});
  }
  // Full. The next to go are the cheap first blocks of others, not the end of the long chain.
  keep(cache, std::array{3'000});
  EXPECT_TRUE(cache.look_up(name(899)));
}

// Random chains of a family tree against a model that only knows names.
TEST(PageCache, RandomUseKeepsTheInvariants) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    PageCache cache(static_cast<std::int32_t>(3 + random.below(20)), kPage);
    std::vector<std::vector<std::int32_t>> holders;
    for (int round = 0; round < 300; ++round) {
      if (!holders.empty() && random.below(2) == 0) {
        auto& pages = holders[random.below(holders.size())];
        for (; !pages.empty(); pages.pop_back()) {
          cache.give_back(pages.back());
        }
        std::swap(pages, holders.back());
        holders.pop_back();
      } else {
        std::vector<std::int32_t> pages;
        int number = 0;
        for (std::uint64_t depth = 1 + random.below(6); depth > 0; --depth) {
          number = number * 3 + 1 + static_cast<int>(random.below(2));
          const auto start = static_cast<std::int32_t>(pages.size()) * kPage;
          if (const auto known = cache.find(name(number))) {
            pages.push_back(*known);
          } else if (const auto page = cache.take()) {
            pages.push_back(
                cache.publish(*page, name(number), pages.empty() ? -1 : pages.back(), start));
          } else {
            break;
          }
        }
        holders.push_back(std::move(pages));
      }
      cache.check_invariants();
    }
  }
}

}  // namespace

}  // namespace genesis::engine
