// Unit tests of breaker, budgets and the walk along a plan, with scripted endpoints.
#include "endpoint/breaker.h"
#include "endpoint/dispatcher.h"
#include "endpoint/guarded_chat.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include <deque>
#include <memory>

namespace genesis::endpoint {
namespace {

using std::chrono::milliseconds;

// What a scripted endpoint does for one attempt.
struct Act {
  std::optional<Error> before;  // fail before the first token
  int deltas = 1;               // then so many pieces
  std::optional<Error> after;   // then fail
  milliseconds silence_before{0};
  milliseconds silence_between{0};
};

class ScriptedChat final : public ChatModel {
 public:
  ScriptedChat(Executor executor, std::deque<Act> acts)
      : executor_(executor), acts_(std::move(acts)) {}

  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override {
    attempts.push_back(request.attempt);
    Act act = acts_.empty() ? Act{} : acts_.front();
    if (!acts_.empty()) {
      acts_.pop_front();
    }
    GENESIS_CO_TRY_VOID(co_await wait(act.silence_before, sink));
    if (act.before) {
      co_return std::unexpected(*act.before);
    }
    const ServedBy served{
        .endpoint = "scripted", .model = request.model, .tier = Tier::kSelfHosted};
    GENESIS_CO_TRY_VOID(co_await sink.begin(served));
    for (int i = 0; i < act.deltas; ++i) {
      ChatDelta delta;
      delta.text = "x";
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
      GENESIS_CO_TRY_VOID(co_await wait(act.silence_between, sink));
    }
    if (act.after) {
      co_return std::unexpected(*act.after);
    }
    co_return Usage{.input = 1, .output = act.deltas};
  }

  std::vector<std::uint32_t> attempts;

 private:
  Task<Result<void>> wait(milliseconds time, ChatSink& sink) {
    boost::asio::steady_timer timer(executor_, time);
    const CancelHook hook = sink.cancel_token().on_cancel([&timer] { timer.cancel(); });
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    if (sink.cancel_token().cancelled()) {
      co_return fail(ErrorCode::kCancelled, "cancelled");
    }
    co_return Result<void>{};
  }

  Executor executor_;
  std::deque<Act> acts_;
};

class CollectingSink final : public ChatSink {
 public:
  Task<Result<void>> begin(const ServedBy& by) override {
    served = by;
    ++begins;
    co_return Result<void>{};
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    text += delta.text;
    co_return Result<void>{};
  }

  CancelToken cancel_token() const override { return source.token(); }

  CancelSource source;
  ServedBy served;
  int begins = 0;
  std::string text;
};

class RecordingObserver final : public RequestObserver {
 public:
  void on_dispatch(const RouteFeatures& features, const EndpointSnapshot& endpoint) override {
    dispatches.push_back(features.request_id + " " + endpoint.name);
  }

  void on_finished(const RequestTrace& trace) override { traces.push_back(trace); }

  std::vector<std::string> dispatches;
  std::vector<RequestTrace> traces;
};

// Plans all endpoints in the order given.
class FixedRouter final : public Router {
 public:
  Result<Plan> plan(const RouteFeatures&,
                    std::span<const EndpointSnapshot> endpoints) const override {
    if (endpoints.empty()) {
      return fail(ErrorCode::kNotFound, "no endpoints");
    }
    Plan plan;
    for (const auto& endpoint : endpoints) {
      plan.steps.push_back({endpoint.name, "fixed"});
    }
    return plan;
  }
};

Error error_of(ErrorCode code, int status = 0) {
  Error error;
  error.code = code;
  error.message = "scripted";
  error.upstream_status = status;
  return error;
}

class EndpointTest : public ::testing::Test {
 protected:
  GuardedChat& add(const std::string& name,
                   std::deque<Act> acts,
                   Budgets budgets = {},
                   LifeCycle life_cycle = {}) {
    scripts_.push_back(std::make_unique<ScriptedChat>(io_.get_executor(), std::move(acts)));
    guards_.push_back(std::make_unique<GuardedChat>(
        io_.get_executor(),
        clock_,
        *scripts_.back(),
        GuardedChat::Options{.identity = {.name = name, .model = name + "-model"},
                             .budgets = budgets,
                             .breaker = {},
                             .life_cycle = std::move(life_cycle)}));
    return *guards_.back();
  }

  Result<Usage> dispatch(CollectingSink& sink, bool stream = true) {
    std::vector<DispatchTarget> targets;
    for (const auto& guard : guards_) {
      targets.push_back({.name = guard->identity().name,
                         .model = guard->identity().model,
                         .chat = guard.get(),
                         .snapshot = [g = guard.get()] { return g->snapshot(); }});
    }
    const FixedRouter router;
    Dispatcher dispatcher({.executor = io_.get_executor(),
                           .clock = clock_,
                           .router = router,
                           .targets = targets,
                           .permission = permission_,
                           .observers = {&observer_}},
                          {.retry_pause = milliseconds(1)});
    ChatRequest request;
    request.id = "req-1";
    request.stream = stream;
    return run(dispatcher, request, sink);
  }

  Result<Usage> run(ChatModel& model, const ChatRequest& request, CollectingSink& sink) {
    std::optional<Result<Usage>> out;
    boost::asio::co_spawn(
        io_,
        [&]() -> Task<void> { out = co_await model.chat(request, sink); },
        boost::asio::detached);
    io_.run();
    io_.restart();
    return *out;
  }

  boost::asio::io_context io_;
  ManualClock clock_{0};
  Permission permission_;
  RecordingObserver observer_;
  std::vector<std::unique_ptr<ScriptedChat>> scripts_;
  std::vector<std::unique_ptr<GuardedChat>> guards_;
};

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

TEST_F(EndpointTest, NeverFallsBackAfterTheFirstByte) {
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
  breaker.on_failure(start);
  breaker.on_failure(start);
  EXPECT_FALSE(breaker.blocked(start));
  breaker.on_failure(start);
  EXPECT_TRUE(breaker.blocked(start));
  const SteadyTime later = start + milliseconds(1'001);
  EXPECT_FALSE(breaker.blocked(later));
  breaker.on_dispatch(later);
  EXPECT_TRUE(breaker.blocked(later)) << "one probe at a time";
  breaker.on_success();
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

}  // namespace
}  // namespace genesis::endpoint
