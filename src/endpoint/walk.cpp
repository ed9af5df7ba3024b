#include "endpoint/walk.h"

#include "base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace genesis::endpoint {

namespace {

using std::chrono::milliseconds;

// net::Client's words for a request that never left: a kept connection that the peer had closed
// meanwhile, and a way that has become longer than it was. A second try opens a new connection with
// the whole connect budget.
constexpr std::string_view kStaleConnection = "stale_connection";
constexpr std::string_view kConnectTimeout = "connect_timeout";

bool never_left(const Error& error) {
  return error.type == kStaleConnection || error.type == kConnectTimeout;
}

// A replay costs a prompt; three find any endpoint that repeats itself.
constexpr int kMaxRescues = 3;

// Worth asking the very same endpoint again: it answered, or broke, rather than staying silent.
bool same_may_help(const Error& error) {
  return never_left(error) || (error.retryable() && error.code != ErrorCode::kTimeout);
}

// Another endpoint may have what this one lacks: a model it does not know, a key it does not
// accept, a feature it does not have, room for a longer prompt. Everything else is the caller's
// own.
bool is_final(const Error& error) {
  return !error.retryable() && error.code != ErrorCode::kInternal &&
         error.code != ErrorCode::kUnsupported && error.code != ErrorCode::kContextLength;
}

// The upstream had taken the work on when it failed, so it may bill it.
bool may_be_billed(const Error& error) {
  return (error.code == ErrorCode::kTimeout && !never_left(error)) ||
         (error.upstream_status >= 200 && error.upstream_status <= 299);
}

void log_failure(const ChatRequest& request, const DispatchTarget& to, const Error& error) {
  log(LogLevel::kWarn,
      "attempt failed",
      {{"request_id", request.id},
       {"attempt", request.attempt},
       {"endpoint", to.name},
       {"error", error_code_name(error.code)},
       {"reason", error.message}});
}

}  // namespace

// Two attempts under way; whoever shows the first token wins.
struct Walk::Race {
  explicit Race(const Executor& executor) : wake(executor) {}

  boost::asio::steady_timer wake;
  const Run* winner = nullptr;
  int running = 0;
};

// One attempt: what is asked of whom, and its way to the gate.
struct Walk::Run final : public ChatSink {
  Run(Walk& owner, const DispatchTarget& endpoint, Race* contest)
      : walk(owner),
        to(endpoint),
        request(owner.request_),
        race(contest),
        on_leave(
            owner.client_.cancel_token().on_cancel([stop = stop]() mutable { stop.cancel(); })) {}

  Task<Result<void>> begin(const ServedBy& served) override {
    if (race != nullptr &&
        std::exchange(race->winner, race->winner ? race->winner : this) == nullptr) {
      race->wake.cancel();
    }
    if (called_off || (race != nullptr && race->winner != this)) {
      co_return fail(ErrorCode::kCancelled, "another attempt was faster");
    }
    walk.log_.first_token(place);
    co_return co_await walk.gate_.begin(served);
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    if (called_off) {
      co_return fail(ErrorCode::kCancelled, "another attempt was faster");
    }
    co_return co_await walk.gate_.write(delta);
  }

  CancelToken cancel_token() const override { return stop.token(); }

  // Ends it, upstream included.
  void call_off() {
    if (!result) {
      called_off = true;
      stop.cancel();
    }
  }

  Walk& walk;
  const DispatchTarget& to;
  ChatRequest request;
  Race* race;
  std::size_t place = 0;
  CancelSource stop;
  CancelHook on_leave;
  bool called_off = false;
  std::optional<Result<Usage>> result;
};

Walk::Walk(WalkPorts ports, const ChatRequest& request, RequestTrace& trace, ChatSink& client)
    : ports_(ports),
      request_(request),
      trace_(trace),
      client_(client),
      log_(trace, ports.parts.clock),
      gate_(client,
            {.stream = request.stream,
             .hold = trace.plan.hold,
             .remember = trace.plan.rescue,
             .choices = request.n,
             .max_remembered = ports.options.max_remembered_bytes}) {
  for (const PlanStep& step : trace.plan.steps) {
    if (const DispatchTarget* to = target(step.endpoint)) {
      left_.push_back({.to = to, .may_hedge = step.may_hedge});
    }
  }
}

const DispatchTarget* Walk::target(std::string_view name) const {
  const auto& targets = ports_.parts.targets;
  const auto at = std::ranges::find(targets, name, &DispatchTarget::name);
  return at == targets.end() ? nullptr : &*at;
}

bool Walk::out_of_time() const {
  return std::chrono::steady_clock::now() >= request_.deadline;
}

Task<Result<Usage>> Walk::run() {
  const RetryBudget::Permit active = ports_.budget.request();
  Result<Usage> result = co_await until_commit();
  if (result) {
    GENESIS_CO_TRY_VOID(co_await gate_.release());
  } else if (gate_.can_replay() && !client_gone()) {
    result = co_await rescue(std::move(result).error());
  }
  if (result && served_ != nullptr) {
    trace_.served_by = served_->name;
  }
  co_return result;
}

Task<Result<Usage>> Walk::until_commit() {
  const DispatchTarget* previous = nullptr;
  AttemptKind kind = AttemptKind::kFirst;
  while (!left_.empty() && static_cast<int>(attempts_) < ports_.options.max_attempts) {
    const Step step = left_.front();
    const bool first_try = std::exchange(previous, step.to) != step.to;
    gate_.start_over();
    const bool hedge =
        trace_.plan.hedge_after.count() > 0 && left_.size() > 1 && left_[1].may_hedge && first_try;
    const bool last_resort = left_.size() == 1 || !step.to->snapshot().usable;
    Result<Usage> result = hedge ? co_await race(kind, *step.to, *left_[1].to)
                                 : co_await attempt(kind, *step.to, last_resort);
    extra_.reset();
    if (result || gate_.committed() || client_gone() || !next_may_help(result.error(), *step.to)) {
      co_return result;
    }
    const bool again = co_await same_again(result.error(), *step.to, first_try);
    if (client_gone()) {
      co_return fail(ErrorCode::kCancelled, "the client is gone");
    }
    if (out_of_time()) {
      break;
    }
    if (!again) {
      std::erase_if(left_, [&](const Step& each) { return each.to == step.to; });
      if (may_be_billed(result.error())) {
        extra_ = ports_.budget.count();
      }
    }
    kind = again ? AttemptKind::kRetry : AttemptKind::kFallback;
    // The attempt may have shown what the plan could not know, a crash for one: endpoints that
    // cannot take work now go behind those that can.
    put_usable_first();
  }
  if (!log_.any_failed()) {
    co_return fail(ErrorCode::kUnavailable, "the plan for this request has no endpoint to ask");
  }
  co_return std::unexpected(log_.summary());
}

Result<std::shared_ptr<Walk::Run>> Walk::prepare(AttemptKind kind,
                                                 const DispatchTarget& to,
                                                 bool last_resort,
                                                 Race* race) {
  auto run = std::make_shared<Run>(*this, to, race);
  run->request.attempt = ++attempts_;
  run->request.model = to.model;
  run->request.last_resort = last_resort;
  if (ports_.parts.permission) {
    GENESIS_TRY_VOID(ports_.parts.permission(run->request, to));
  }
  const EndpointSnapshot snapshot = to.snapshot();
  for (RequestObserver* observer : ports_.parts.observers) {
    observer->on_dispatch(trace_.features, snapshot);
  }
  run->place = log_.begin(kind, run->request.attempt, snapshot);
  return run;
}

Task<void> Walk::carry_out(Run& run) {
  Result<Usage> result = co_await run.to.chat->chat(run.request, run);
  if (run.called_off) {
    log_.called_off(run.place, "slower");
  } else if (gate_.differed() || (result && !gate_.replayed())) {
    log_.called_off(run.place, "differs");
  } else {
    log_.end(run.place, result);
    if (result) {
      served_ = &run.to;
    } else if (!client_gone()) {
      log_failure(run.request, run.to, result.error());
    }
  }
  run.result = std::move(result);
}

Task<Result<Usage>> Walk::attempt(AttemptKind kind, const DispatchTarget& to, bool last_resort) {
  GENESIS_CO_TRY(const auto run, prepare(kind, to, last_resort, nullptr));
  co_await carry_out(*run);
  served_ = &to;
  co_return std::move(*run->result);
}

void Walk::start(const std::shared_ptr<Race>& race, const std::shared_ptr<Run>& run) {
  ++race->running;
  boost::asio::co_spawn(
      ports_.parts.executor,
      [this, race, run]() -> Task<void> {
        co_await carry_out(*run);
        --race->running;
        race->wake.cancel();
      },
      boost::asio::detached);
}

Task<void> Walk::wait_for(Race& race, SteadyTime until) {
  race.wake.expires_at(until);
  co_await race.wake.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
}

Task<Result<Usage>> Walk::race(AttemptKind kind,
                               const DispatchTarget& first,
                               const DispatchTarget& rival) {
  const auto race = std::make_shared<Race>(ports_.parts.executor);
  GENESIS_CO_TRY(const auto one, prepare(kind, first, !first.snapshot().usable, race.get()));
  start(race, one);
  const SteadyTime hedge_at = std::chrono::steady_clock::now() + trace_.plan.hedge_after;
  while (!one->result && race->winner == nullptr && !client_gone() &&
         std::chrono::steady_clock::now() < hedge_at) {
    co_await wait_for(*race, hedge_at);
  }
  std::shared_ptr<Run> two;
  if (!one->result && race->winner == nullptr && !client_gone() && rival.snapshot().usable) {
    extra_ = ports_.budget.take();
    auto hedge = extra_ ? prepare(AttemptKind::kHedge, rival, /*last_resort=*/false, race.get())
                        : Result<std::shared_ptr<Run>>(nullptr);
    if (hedge && *hedge) {
      two = *hedge;
      start(race, two);
    }
  }
  const auto decided = [&](const Run& run) {
    return race->winner == &run || (run.result && (*run.result || is_final(run.result->error())));
  };
  while (race->running > 0) {
    if (two && decided(*one)) {
      two->call_off();
    } else if (two && decided(*two)) {
      one->call_off();
    }
    co_await wait_for(*race, SteadyTime::max());
  }
  const bool second_counts = two && (race->winner == two.get() || (one->called_off));
  const Run& last = second_counts ? *two : *one;
  served_ = &last.to;
  if (two && !two->called_off && !*two->result) {
    std::erase_if(left_, [&](const Step& each) { return each.to == &rival; });
  }
  co_return *last.result;
}

bool Walk::next_may_help(const Error& error, const DispatchTarget& failed) {
  if (error.code != ErrorCode::kContextLength) {
    return !is_final(error);
  }
  // The request fits only into a larger context, where the configuration names one.
  const std::int64_t too_small = failed.snapshot().max_context;
  std::erase_if(left_, [&](const Step& each) {
    return each.to != &failed && each.to->snapshot().max_context <= too_small;
  });
  return std::ranges::any_of(left_, [&](const Step& each) { return each.to != &failed; });
}

// A lone 500 anywhere, or a reset at the last endpoint left, deserves one more try there
// (failoverbench S03 and S05); everything else moves on at once, and so does what has shown that
// nobody is there.
Task<bool> Walk::same_again(const Error& error, const DispatchTarget& failed, bool first_try) {
  const bool alone = left_.size() == 1;
  const bool stale = error.type == kStaleConnection;
  const bool free = stale || (alone && never_left(error));
  const bool worth_it =
      alone || (failed.snapshot().usable && (error.upstream_status == 500 || stale));
  if (!first_try || !same_may_help(error) || !worth_it) {
    co_return false;
  }
  if (free) {
    co_return true;
  }
  extra_ = ports_.budget.take();
  if (!extra_) {
    co_return false;
  }
  // Full jitter: anything from nothing to the whole pause, doubled with each attempt before.
  const int doublings = std::min<int>(static_cast<int>(attempts_) - 1, 6);
  const double longest = static_cast<double>(ports_.options.retry_pause.count() << doublings);
  auto wait = milliseconds(static_cast<std::int64_t>(longest * ports_.random.uniform()));
  if (error.retry_after) {
    wait += *error.retry_after;
  }
  const bool too_long = error.retry_after && wait > ports_.options.longest_retry_after;
  if (too_long || std::chrono::steady_clock::now() + wait >= request_.deadline) {
    extra_.reset();
    co_return false;
  }
  co_await pause(wait);
  co_return true;
}

Task<void> Walk::pause(milliseconds time) {
  boost::asio::steady_timer timer(ports_.parts.executor, time);
  const CancelHook hook = client_.cancel_token().on_cancel([&timer] { timer.cancel(); });
  co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
}

void Walk::put_usable_first() {
  std::deque<Step> usable;
  std::deque<Step> unusable;
  for (const Step& each : left_) {
    (each.to->snapshot().usable ? usable : unusable).push_back(each);
  }
  usable.insert(usable.end(), unusable.begin(), unusable.end());
  left_ = std::move(usable);
}

// Who may say the same once more, in this order: others with the same model; the one that was cut,
// if it did not fall silent and can be expected to repeat itself; others with other models.
std::vector<const DispatchTarget*> Walk::rescuers(const Error& cut) const {
  const bool repeats = request_.sampling.temperature == 0 || request_.sampling.seed ||
                       served_->snapshot().tier == Tier::kSelfHosted;
  const auto rank = [&](const DispatchTarget* each) {
    if (each == served_) {
      return repeats && cut.code != ErrorCode::kTimeout ? 2 : 4;
    }
    const bool same_model = each->model == served_->model;
    return (same_model ? 0 : 3) + (same_model && !each->snapshot().usable ? 1 : 0);
  };
  std::multimap<int, const DispatchTarget*> ranked;  // equal ranks stay in the plan's order
  for (const PlanStep& step : trace_.plan.steps) {
    if (const DispatchTarget* to = target(step.endpoint)) {
      ranked.emplace(rank(to), to);
    }
  }
  std::vector<const DispatchTarget*> order;
  for (const auto& [_, to] : ranked) {
    order.push_back(to);
  }
  return order;
}

Task<Result<Usage>> Walk::rescue(Error cut) {
  int rescues = 0;
  for (const DispatchTarget* to : rescuers(cut)) {
    if (rescues == kMaxRescues || static_cast<int>(attempts_) >= ports_.options.max_attempts ||
        out_of_time() || !gate_.can_replay()) {
      break;
    }
    // An endpoint of our own costs nothing by the token: its replays are not rationed.
    extra_ =
        to->snapshot().tier == Tier::kSelfHosted ? ports_.budget.count() : ports_.budget.take();
    if (!extra_) {
      continue;
    }
    ++rescues;
    gate_.start_over();
    auto result = co_await attempt(AttemptKind::kRescue, *to, /*last_resort=*/true);
    extra_.reset();
    if (result && gate_.replayed()) {
      log(LogLevel::kInfo,
          "a cut stream was rescued",
          {{"request_id", request_.id}, {"endpoint", to->name}});
      co_return result;
    }
    if (client_gone()) {
      co_return fail(ErrorCode::kCancelled, "the client is gone");
    }
  }
  co_return std::unexpected(std::move(cut));
}

}  // namespace genesis::endpoint
