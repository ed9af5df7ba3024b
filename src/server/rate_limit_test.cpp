// Rate limits with a clock turned by hand, against a naive count, and through the gateway.
#include "server/rate_limit.h"

#include "base/random.h"
#include "server/server_fixture.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

namespace genesis::server {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RateLimit, AKeyWithoutLimitsIsNeverRefused) {
  ManualClock clock(0);
  RateLimiter limiter(clock);
  net::Headers headers;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(limiter.admit("k", {}, 1'000'000));
  }
  limiter.add_headers("k", {}, headers);
  EXPECT_TRUE(headers.all().empty());
}

TEST(RateLimit, RequestsComeBackEvenly) {
  ManualClock clock(0);
  RateLimiter limiter(clock);
  const RateLimits limits{.requests_per_minute = 60};
  for (int i = 0; i < 60; ++i) {
    EXPECT_TRUE(limiter.admit("k", limits, 5)) << i;
  }
  const auto refused = limiter.admit("k", limits, 5);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kRateLimited);
  EXPECT_EQ(refused.error().param, "requests");
  EXPECT_EQ(refused.error().retry_after, milliseconds(1000));
  EXPECT_TRUE(limiter.admit("other", limits, 5)) << "each key has its own";
  clock.advance(milliseconds(999));
  EXPECT_FALSE(limiter.admit("k", limits, 5));
  clock.advance(milliseconds(1));
  EXPECT_TRUE(limiter.admit("k", limits, 5));
  EXPECT_FALSE(limiter.admit("k", limits, 5));
  clock.advance(std::chrono::hours(1));
  net::Headers headers;
  limiter.add_headers("k", limits, headers);
  EXPECT_EQ(headers.get("x-ratelimit-limit-requests"), "60");
  EXPECT_EQ(headers.get("x-ratelimit-remaining-requests"), "60");
  EXPECT_EQ(headers.get("x-ratelimit-reset-requests"), "0ms");
  EXPECT_FALSE(headers.get("x-ratelimit-limit-tokens"));
}

TEST(RateLimit, TokensSettleToWhatWasUsed) {
  ManualClock clock(0);
  RateLimiter limiter(clock);
  const RateLimits limits{.tokens_per_minute = 600};
  auto ticket = limiter.admit("k", limits, 500);
  ASSERT_TRUE(ticket);
  EXPECT_FALSE(limiter.admit("k", limits, 200));
  ticket->settle(100);
  ASSERT_TRUE(limiter.admit("k", limits, 400));
  net::Headers headers;
  limiter.add_headers("k", limits, headers);
  EXPECT_EQ(headers.get("x-ratelimit-remaining-tokens"), "100");
  EXPECT_EQ(headers.get("x-ratelimit-reset-tokens"), "50s");
  ticket = limiter.admit("k", limits, 100);
  ASSERT_TRUE(ticket);
  ticket->settle(400);
  const auto refused = limiter.admit("k", limits, 60);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().retry_after, milliseconds(36'000))
      << "300 overdrawn and 60, at 10 a second";
  clock.advance(seconds(120));
  EXPECT_TRUE(limiter.admit("k", limits, 1'000'000)) << "more than a minute's worth takes it all";
  EXPECT_FALSE(limiter.admit("k", limits, 1));
}

TEST(RateLimit, PlacesInFlightComeBack) {
  ManualClock clock(0);
  RateLimiter limiter(clock);
  const RateLimits limits{.parallel = 2};
  auto a = limiter.admit("k", limits, 1);
  auto b = limiter.admit("k", limits, 1);
  ASSERT_TRUE(a && b);
  const auto refused = limiter.admit("k", limits, 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "parallel");
  *a = RateTicket();
  EXPECT_TRUE(limiter.admit("k", limits, 1));
}

// In any window of a minute no more than twice the limit pass, and over many minutes the limit
// does.
TEST(RateLimit, HoldsTheRateUnderRandomLoad) {
  const std::uint64_t seed = 31;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  ManualClock clock(0);
  RateLimiter limiter(clock);
  const RateLimits limits{.requests_per_minute = 100};
  std::deque<std::int64_t> passed;
  std::int64_t now = 0;
  std::int64_t total = 0;
  while (now < 30 * 60'000) {
    const auto step = static_cast<std::int64_t>(random.below(200));
    clock.advance(milliseconds(step));
    now += step;
    if (limiter.admit("k", limits, 1)) {
      passed.push_back(now);
      ++total;
    }
    while (!passed.empty() && passed.front() <= now - 60'000) {
      passed.pop_front();
    }
    EXPECT_LE(passed.size(), 200U);
  }
  EXPECT_GE(total, 30 * 100 - 100);
  EXPECT_LE(total, 30 * 100 + 100);
}

TEST(RateLimit, TheGatewayAnswers429WithItsHeaders) {
  World world;
  world.limits = {.requests_per_minute = 2, .tokens_per_minute = 100'000};
  const std::string body =
      R"({"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":5})";
  for (int i = 0; i < 2; ++i) {
    const auto good = world.post("/v1/chat/completions", body);
    EXPECT_EQ(good->status, 200) << good->body;
    EXPECT_EQ(good->header("x-ratelimit-limit-requests"), "2");
    EXPECT_EQ(good->header("x-ratelimit-remaining-requests"), i == 0 ? "1" : "0");
  }
  const auto refused = world.post("/v1/chat/completions", body);
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->header("Retry-After"), "30");
  EXPECT_EQ(refused->header("x-ratelimit-remaining-requests"), "0");
  EXPECT_NE(refused->body.find("\"code\":\"rate_limit_exceeded\""), std::string::npos)
      << refused->body;
  EXPECT_EQ(world.chat.seen.size(), 2U) << "a refused request reaches no model";
}

}  // namespace

}  // namespace genesis::server
