// Unit tests of breaker, budgets and the walk along a plan before the first byte.
#include "endpoint/endpoint_fixture.h"

namespace genesis::endpoint {
namespace {

TEST_F(EndpointTest, FallsBackBeforeTheFirstByte) {
  add("a", {{.before = error_of(ErrorCode::kUnavailable, 503)}});
  add("b", {{.deltas = 3}});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_TRUE(result);
  EXPECT_EQ(sink.text, "xxx");
  EXPECT_EQ(sink.served.model, "b-model");
  EXPECT_EQ(scripts_[0]->attempts, (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(scripts_[1]->attempts, (std::vector<std::uint32_t>{2}));
}

TEST_F(EndpointTest, TheTraceTellsEveryAttempt) {
  add("a", {{.before = error_of(ErrorCode::kUnavailable, 503)}});
  add("b", {{.deltas = 3}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(observer_.dispatches, (std::vector<std::string>{"req-1 a", "req-1 b"}));
  ASSERT_EQ(observer_.traces.size(), 1U);
  const RequestTrace& trace = observer_.traces.front();
  EXPECT_EQ(trace.outcome, "delivered");
  EXPECT_EQ(trace.served_by, "b");
  EXPECT_EQ(trace.plan.steps.size(), 2U);
  ASSERT_EQ(trace.attempts.size(), 2U);
  EXPECT_EQ(trace.attempts[0].kind, AttemptKind::kFirst);
  EXPECT_EQ(trace.attempts[0].outcome, "unavailable");
  EXPECT_EQ(trace.attempts[0].first_token_ms, -1);
  EXPECT_EQ(trace.attempts[1].kind, AttemptKind::kFallback);
  EXPECT_EQ(trace.attempts[1].outcome, "delivered");
  EXPECT_EQ(trace.attempts[1].usage.output, 3);
  EXPECT_GE(trace.attempts[1].first_token_ms, 0);
}

TEST_F(EndpointTest, ARequestWithoutAPlanIsTracedToo) {
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  ASSERT_EQ(observer_.traces.size(), 1U);
  EXPECT_TRUE(observer_.traces[0].attempts.empty());
  EXPECT_EQ(observer_.traces[0].outcome, error_code_name(result.error().code));
}

TEST_F(EndpointTest, WithoutRescueACutAnswerEndsInItsError) {
  router_.rescue = false;
  add("a", {{.deltas = 2, .after = error_of(ErrorCode::kUnavailable)}});
  add("b", {});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(sink.text, "xx");
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, ALone500IsTriedAgainAtTheSameEndpoint) {
  add("a", {{.before = error_of(ErrorCode::kUnavailable, 500)}, {}});
  add("b", {});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(scripts_[0]->attempts.size(), 2U);
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, TheCallersOwnErrorIsNotRoutedAround) {
  add("a", {{.before = error_of(ErrorCode::kInvalidArgument, 400)}});
  add("b", {});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, WhatOneEndpointCannotDoAnotherIsAskedFor) {
  GuardedChat& a = add("a", {{.before = error_of(ErrorCode::kUnsupported, 400)}});
  add("b", {});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.served.model, "b-model");
  EXPECT_TRUE(a.snapshot().usable);
}

TEST_F(EndpointTest, AnAnswerThatIsNotStreamedFailsOverToItsEnd) {
  add("a", {{.deltas = 2, .after = error_of(ErrorCode::kUnavailable)}});
  add("b", {{.deltas = 3}});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink, /*stream=*/false));
  EXPECT_EQ(sink.text, "xxx") << "nothing of the broken answer";
  EXPECT_EQ(sink.begins, 1);
}

TEST_F(EndpointTest, AnEndpointThatWentDownIsPutBehindTheOthers) {
  bool down = false;
  add("a", {{.before = error_of(ErrorCode::kUnavailable, 500)}, {}}, {}, [&] {
    return down ? std::string("crashed") : std::string();
  });
  add("b", {});
  permission_ = [&](const ChatRequest&, const DispatchTarget&) -> Result<void> {
    down = true;  // as soon as the first attempt is on its way
    return {};
  };
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.served.model, "b-model") << "no second try where nobody is";
  EXPECT_EQ(scripts_[0]->attempts.size(), 1U);
}

TEST_F(EndpointTest, TotalFailureListsTheAttemptsAndSaysWhenToRetry) {
  add("a", {{.before = error_of(ErrorCode::kTimeout)}});
  add("b",
      {{.before = error_of(ErrorCode::kUnavailable)},
       {.before = error_of(ErrorCode::kUnavailable)}});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().type, "all_upstreams_unavailable");
  EXPECT_NE(result.error().message.find("[a]"), std::string::npos);
  EXPECT_TRUE(result.error().retry_after);
  EXPECT_EQ(scripts_[0]->attempts.size(), 1U) << "a silent route is not tried again";
  EXPECT_EQ(scripts_[1]->attempts.size(), 2U);
  EXPECT_EQ(sink.begins, 0);
}

TEST_F(EndpointTest, AMissingBookingIsNamedAmongOtherFailures) {
  Error unbooked = error_of(ErrorCode::kUnavailable);
  unbooked.type = kLedgerUnavailable;
  add("a", {{.before = error_of(ErrorCode::kTimeout)}});
  add("b", {{.before = unbooked}, {.before = unbooked}});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(result.error().type, kLedgerUnavailable);
}

TEST_F(EndpointTest, RetryAfterCoolsTheEndpointDown) {
  Error limited = error_of(ErrorCode::kRateLimited, 429);
  limited.retry_after = milliseconds(2'000);
  GuardedChat& a = add("a", {{.before = limited}});
  add("b", {});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_FALSE(a.snapshot().usable);
  clock_.advance(milliseconds(2'001));
  EXPECT_TRUE(a.snapshot().usable);
}

TEST_F(EndpointTest, PermissionIsAskedForTheResolvedEndpoint) {
  add("a", {{.before = error_of(ErrorCode::kUnavailable)}});
  add("b", {});
  permission_ = [](const ChatRequest& request, const DispatchTarget& to) -> Result<void> {
    if (to.name == "b" && request.model == "b-model") {
      return fail(ErrorCode::kPermissionDenied, "not this one");
    }
    return {};
  };
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kPermissionDenied);
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, FirstTokenBudgetFailsOver) {
  add("a", {{.silence_before = milliseconds(60'000)}}, {.first_token = milliseconds(20)});
  add("b", {});
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(scripts_[0]->attempts.size(), 1U);
  EXPECT_EQ(sink.served.model, "b-model");
}

TEST_F(EndpointTest, BetweenTokensBudgetEndsTheAnswerWithAnError) {
  router_.rescue = false;
  add("a",
      {{.deltas = 2, .silence_between = milliseconds(60'000)}},
      {.between_tokens = milliseconds(20)});
  add("b", {});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(result.error().param, "between_tokens_ms");
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, AClientThatLeavesIsNotAFailureOfTheEndpoint) {
  GuardedChat& a = add("a", {{.silence_before = milliseconds(60'000)}});
  CollectingSink sink;
  boost::asio::steady_timer leave(io_, milliseconds(5));
  leave.async_wait([&](const boost::system::error_code&) { sink.source.cancel(); });
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(a.snapshot().usable);
  EXPECT_EQ(a.snapshot().in_flight, 0);
}

TEST(Breaker, EjectsAfterFailuresInARowAndProbesOnce) {
  Breaker breaker({.failures_to_eject = 3, .first_ejection = milliseconds(1'000)}, 7);
  const SteadyTime start{std::chrono::hours(1)};
  breaker.on_failure(start - milliseconds(500));
  breaker.on_failure(start);
  EXPECT_FALSE(breaker.blocked(start));
  breaker.on_failure(start);
  EXPECT_TRUE(breaker.blocked(start));
  const SteadyTime later = start + milliseconds(1'001);
  EXPECT_FALSE(breaker.blocked(later));
  breaker.on_dispatch(later);
  EXPECT_TRUE(breaker.blocked(later)) << "one probe at a time";
  breaker.on_success(later);
  EXPECT_FALSE(breaker.blocked(later));
}

TEST(Breaker, AFailedProbeEjectsForLonger) {
  Breaker breaker({.failures_to_eject = 1, .first_ejection = milliseconds(1'000)}, 7);
  SteadyTime now{std::chrono::hours(1)};
  breaker.on_failure(now);
  now += milliseconds(1'001);
  breaker.on_dispatch(now);
  breaker.on_failure(now);
  EXPECT_TRUE(breaker.blocked(now + milliseconds(999))) << "second ejection lasts 1 to 2 s";
  EXPECT_FALSE(breaker.blocked(now + milliseconds(2'001)));
}

TEST(Breaker, ComesBackBitByBit) {
  Breaker breaker({.failures_to_eject = 1, .ramp = milliseconds(10'000)}, 7);
  SteadyTime now{std::chrono::hours(1)};
  EXPECT_EQ(breaker.ramp(now), 1);
  breaker.on_failure(now);
  now += milliseconds(1'001);
  breaker.on_dispatch(now);
  breaker.on_success(now);
  EXPECT_FALSE(breaker.blocked(now));
  EXPECT_NEAR(breaker.ramp(now), 0.1, 1e-9);
  EXPECT_NEAR(breaker.ramp(now + milliseconds(5'000)), 0.55, 1e-9);
  EXPECT_EQ(breaker.ramp(now + milliseconds(10'000)), 1);
}

TEST(Breaker, AFewLostAmongManyAreNoOutage) {
  Breaker busy({}, 7);
  SteadyTime now{std::chrono::hours(1)};
  Random random(5);
  for (int i = 0; i < 100'000; ++i) {  // 1,000 a second, one of four lost
    now += milliseconds(1);
    random.uniform() < 0.25 ? busy.on_failure(now) : busy.on_success(now);
    ASSERT_FALSE(busy.blocked(now)) << i;
  }
  EXPECT_NEAR(busy.failure_rate(), 0.25, 0.2);
  for (int i = 0; i < 15; ++i) {
    EXPECT_FALSE(busy.blocked(now));
    busy.on_failure(now);
  }
  EXPECT_TRUE(busy.blocked(now)) << "everything lost at once is one";
}

TEST(Breaker, EjectsWhatFailsMoreOftenThanNot) {
  Breaker breaker({}, 7);
  const SteadyTime now{std::chrono::hours(1)};
  int attempts = 0;
  while (!breaker.blocked(now) && attempts < 1'000) {
    ++attempts % 3 == 0 ? breaker.on_success(now) : breaker.on_failure(now);
  }
  EXPECT_GE(attempts, 50) << "not judged on a few";
  EXPECT_LT(attempts, 300);
}

TEST(Breaker, FailuresFromBeforeAnEjectionDoNotProlongIt) {
  Breaker breaker({.failures_to_eject = 3, .first_ejection = milliseconds(1'000)}, 7);
  const SteadyTime now{std::chrono::hours(1)};
  for (int i = 0; i < 100; ++i) {
    breaker.on_failure(now);
  }
  EXPECT_FALSE(breaker.blocked(now + milliseconds(1'001)));
}

TEST(Breaker, ARetryAfterNeedsNoRamp) {
  Breaker breaker({}, 7);
  SteadyTime now{std::chrono::hours(1)};
  breaker.on_retry_after(now, milliseconds(500));
  now += milliseconds(501);
  breaker.on_dispatch(now);
  breaker.on_success(now);
  EXPECT_EQ(breaker.ramp(now), 1);
}

TEST_F(EndpointTest, ASmallContextIsFollowedByALargerOne) {
  add("small", {{.before = error_of(ErrorCode::kContextLength, 400)}}, {}, {}, 4'096);
  add("same", {}, {}, {}, 4'096);
  add("large", {}, {}, {}, 131'072);
  CollectingSink sink;
  ASSERT_TRUE(dispatch(sink));
  EXPECT_EQ(sink.served.model, "large-model");
  EXPECT_EQ(scripts_[0]->attempts.size(), 1U);
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, WithoutALargerContextTheCallerIsTold) {
  add("small", {{.before = error_of(ErrorCode::kContextLength, 400)}});
  add("same", {});
  CollectingSink sink;
  const auto result = dispatch(sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kContextLength);
  EXPECT_TRUE(scripts_[1]->attempts.empty());
}

TEST_F(EndpointTest, OnlyOneRequestProbes) {
  GuardedChat& a = add("a", {});
  for (int i = 0; i < 3; ++i) {
    scripts_[0]->add({.before = error_of(ErrorCode::kUnavailable, 503)});
  }
  CollectingSink sink;
  for (int i = 0; i < 3; ++i) {
    ChatRequest request;
    request.id = "req";
    (void)run(a, request, sink);
    clock_.advance(milliseconds(250));
  }
  ASSERT_FALSE(a.snapshot().usable);
  EXPECT_GT(a.snapshot().failure_rate, 0.2);
  clock_.advance(milliseconds(1'001));
  scripts_[0]->add({.silence_before = milliseconds(20)});
  std::vector<bool> answered;
  for (int i = 0; i < 3; ++i) {
    boost::asio::co_spawn(
        io_,
        [&]() -> Task<void> {
          CollectingSink each;
          answered.push_back((co_await a.chat(ChatRequest{}, each)).has_value());
        },
        boost::asio::detached);
  }
  io_.run();
  EXPECT_EQ(std::ranges::count(answered, true), 1);
  EXPECT_NEAR(a.snapshot().ramp, 0.1, 1e-6);
}

TEST_F(EndpointTest, AFullEndpointIsPassedOver) {
  GuardedChat guard(io_.get_executor(),
                    clock_,
                    *scripts_.emplace_back(std::make_unique<ScriptedChat>(
                        io_.get_executor(), std::deque<Act>{{.silence_before = milliseconds(20)}})),
                    {.identity = {.name = "one"}, .max_in_flight = 1});
  std::vector<Result<Usage>> results;
  for (int i = 0; i < 2; ++i) {
    boost::asio::co_spawn(
        io_,
        [&]() -> Task<void> {
          CollectingSink each;
          results.push_back(co_await guard.chat(ChatRequest{}, each));
        },
        boost::asio::detached);
  }
  io_.run();
  ASSERT_EQ(results.size(), 2U);
  ASSERT_FALSE(results[0]) << "the second is refused at once";
  EXPECT_EQ(results[0].error().code, ErrorCode::kOverloaded);
  EXPECT_TRUE(results[1]);
}

}  // namespace
}  // namespace genesis::endpoint
