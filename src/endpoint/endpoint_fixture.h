// What the unit tests of this room share: scripted endpoints behind real guards and a dispatcher.
#pragma once

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

#include <algorithm>
#include <deque>
#include <memory>

namespace genesis::endpoint {

using std::chrono::milliseconds;

// What a scripted endpoint does for one attempt.
struct Act {
  std::optional<Error> before;     // fail before the first token
  int deltas = 1;                  // then so many pieces
  std::vector<std::string> texts;  // or these
  std::optional<Error> after;      // then fail
  milliseconds silence_before{0};
  milliseconds silence_between{0};
};

class ScriptedChat final : public ChatModel {
 public:
  ScriptedChat(Executor executor, std::deque<Act> acts)
      : executor_(executor), acts_(std::move(acts)) {}

  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override {
    attempts.push_back(request.attempt);
    last_resort = request.last_resort;
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
    if (act.texts.empty()) {
      act.texts.assign(static_cast<std::size_t>(act.deltas), "x");
    }
    for (const std::string& text : act.texts) {
      ChatDelta delta;
      delta.text = text;
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
      GENESIS_CO_TRY_VOID(co_await wait(act.silence_between, sink));
    }
    if (act.after) {
      co_return std::unexpected(*act.after);
    }
    co_return Usage{.input = 1, .output = std::ssize(act.texts)};
  }

  void add(Act act) { acts_.push_back(std::move(act)); }

  std::vector<std::uint32_t> attempts;
  bool last_resort = false;
  int cancelled = 0;

 private:
  Task<Result<void>> wait(milliseconds time, ChatSink& sink) {
    boost::asio::steady_timer timer(executor_, time);
    const CancelHook hook = sink.cancel_token().on_cancel([&timer] { timer.cancel(); });
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    if (sink.cancel_token().cancelled()) {
      ++cancelled;
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
    plan.hedge_after = hedge_after;
    plan.rescue = rescue;
    plan.hold = hold;
    return plan;
  }

  milliseconds hedge_after{0};
  bool rescue = true;
  bool hold = false;
};

inline Error error_of(ErrorCode code, int status = 0) {
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
                   LifeCycle life_cycle = {},
                   std::int64_t max_context = 0) {
    scripts_.push_back(std::make_unique<ScriptedChat>(io_.get_executor(), std::move(acts)));
    guards_.push_back(std::make_unique<GuardedChat>(
        io_.get_executor(),
        clock_,
        *scripts_.back(),
        GuardedChat::Options{.identity = {.name = name, .model = name + "-model", .tier = tier_},
                             .budgets = budgets,
                             .breaker = {},
                             .life_cycle = std::move(life_cycle),
                             .max_context = max_context}));
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
    Dispatcher dispatcher({.executor = io_.get_executor(),
                           .clock = clock_,
                           .router = router_,
                           .targets = targets,
                           .permission = permission_,
                           .observers = {&observer_}},
                          {.retry_pause = milliseconds(1), .retry_budget = budget_});
    ChatRequest request;
    request.id = "req-1";
    request.stream = stream;
    if (greedy_) {
      request.sampling.temperature = 0;
    }
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
  FixedRouter router_;
  RetryBudgetOptions budget_;
  Tier tier_ = Tier::kSelfHosted;
  bool greedy_ = false;
  std::vector<std::unique_ptr<ScriptedChat>> scripts_;
  std::vector<std::unique_ptr<GuardedChat>> guards_;
};

}  // namespace genesis::endpoint
