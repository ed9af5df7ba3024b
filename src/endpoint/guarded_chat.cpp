#include "endpoint/guarded_chat.h"

#include "base/random.h"

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::endpoint {

namespace {

using Milliseconds = std::chrono::milliseconds;

// Which budget ran out.
enum class Expired : std::uint8_t { kNone, kFirstToken, kBetweenTokens, kTotal };

// Owned by the attempt and by its timer's handler, whichever lives longer. Budgets are renewed with
// every token, so that only sets `due`: the timer sleeps on and looks at it when it wakes.
struct Watch {
  Watch(const Executor& executor, const Budgets& limits, SteadyTime end)
      : timer(executor), budgets(limits), deadline(end) {}

  boost::asio::steady_timer timer;
  Budgets budgets;
  SteadyTime deadline;
  SteadyTime due;
  SteadyTime wakes = SteadyTime::max();
  CancelSource source;
  Expired next = Expired::kTotal;  // which budget ends at `due`
  Expired expired = Expired::kNone;
  bool done = false;
};

void sleep_until_due(const std::shared_ptr<Watch>& watch) {
  watch->wakes = watch->due;
  watch->timer.expires_at(watch->due);
  watch->timer.async_wait([watch](const boost::system::error_code& error) {
    if (error || watch->done) {
      return;
    }
    if (std::chrono::steady_clock::now() < watch->due) {
      sleep_until_due(watch);
      return;
    }
    watch->expired = watch->next;
    watch->source.cancel();
  });
}

void arm(const std::shared_ptr<Watch>& watch, Milliseconds budget, Expired kind) {
  const SteadyTime now = std::chrono::steady_clock::now();
  const bool total_first = watch->deadline - now < budget;
  watch->due = total_first ? watch->deadline : now + budget;
  watch->next = total_first ? Expired::kTotal : kind;
  if (watch->due < watch->wakes) {
    sleep_until_due(watch);
  }
}

// Restarts the clock between tokens and passes everything on.
class WatchedSink final : public ChatSink {
 public:
  WatchedSink(ChatSink& inner, std::shared_ptr<Watch> watch)
      : inner_(inner), watch_(std::move(watch)) {
    hook_ = inner_.cancel_token().on_cancel([state = watch_] { state->source.cancel(); });
  }

  Task<Result<void>> begin(const ServedBy& served) override {
    first_token_at_ = std::chrono::steady_clock::now();
    pause();
    auto result = co_await inner_.begin(served);
    resume();
    co_return result;
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    last_token_at_ = std::chrono::steady_clock::now();
    ++tokens_;
    // A slow reader is not the endpoint's fault: the budget stands still while the client takes it.
    pause();
    auto result = co_await inner_.write(delta);
    resume();
    co_return result;
  }

  CancelToken cancel_token() const override { return watch_->source.token(); }

  std::optional<SteadyTime> first_token_at() const { return first_token_at_; }

  // Nullopt for fewer than two.
  std::optional<double> ms_between_tokens() const {
    if (!first_token_at_ || tokens_ < 2) {
      return std::nullopt;
    }
    const std::chrono::duration<double, std::milli> took = last_token_at_ - *first_token_at_;
    return took.count() / (tokens_ - 1);
  }

 private:
  void pause() {
    watch_->due = watch_->deadline;
    watch_->next = Expired::kTotal;
  }

  void resume() { arm(watch_, watch_->budgets.between_tokens, Expired::kBetweenTokens); }

  ChatSink& inner_;
  std::shared_ptr<Watch> watch_;
  CancelHook hook_;
  std::optional<SteadyTime> first_token_at_;
  SteadyTime last_token_at_;
  int tokens_ = 0;
};

// Over about the last five answers.
void average(double& value, double next) {
  value = value == 0 ? next : 0.8 * value + 0.2 * next;
}

Error timeout_error(Expired expired, const Budgets& budgets, const std::string& endpoint) {
  Error error;
  error.code = ErrorCode::kTimeout;
  switch (expired) {
    case Expired::kFirstToken:
      error.message = fmt::format(
          "endpoint '{}' sent no first token within {} ms", endpoint, budgets.first_token.count());
      error.param = "first_token_ms";
      break;
    case Expired::kBetweenTokens:
      error.message = fmt::format("endpoint '{}' fell silent for {} ms within its answer",
                                  endpoint,
                                  budgets.between_tokens.count());
      error.param = "between_tokens_ms";
      break;
    case Expired::kTotal:
    case Expired::kNone:
      error.message = fmt::format("endpoint '{}' did not finish within the total budget", endpoint);
      error.param = "total_ms";
      break;
  }
  error.hint = fmt::format("raise budgets.{} or add an endpoint to the route", error.param);
  return error;
}

// Says nothing about the endpoint: the caller left, or asked for something impossible.
bool is_neutral(const Error& error) {
  return !error.retryable() && error.code != ErrorCode::kInternal;
}

}  // namespace

GuardedChat::GuardedChat(Executor executor, const Clock& clock, ChatModel& inner, Options options)
    : executor_(std::move(executor)),
      clock_(clock),
      inner_(inner),
      options_(std::move(options)),
      breaker_(options_.breaker, std::hash<std::string>{}(options_.identity.name)) {}

Task<Result<Usage>> GuardedChat::chat(const ChatRequest& request, ChatSink& sink) {
  if (auto refused = refusal(request)) {
    co_return std::unexpected(std::move(*refused));
  }
  const SteadyTime start = std::chrono::steady_clock::now();
  const SteadyTime deadline = std::min(request.deadline, start + options_.budgets.total);
  auto watch = std::make_shared<Watch>(executor_, options_.budgets, deadline);
  WatchedSink watched(sink, watch);
  breaker_.on_dispatch(clock_.steady());
  ++in_flight_;
  if (request.stream || options_.always_streams) {
    arm(watch, options_.budgets.first_token, Expired::kFirstToken);
  } else {
    arm(watch, options_.budgets.total, Expired::kTotal);
  }
  Result<Usage> result = co_await inner_.chat(request, watched);
  --in_flight_;
  watch->done = true;
  watch->timer.cancel();
  const bool timed_out =
      !result && watch->expired != Expired::kNone && !sink.cancel_token().cancelled();
  if (timed_out) {
    Error error = timeout_error(watch->expired, options_.budgets, options_.identity.name);
    error.upstream_status = result.error().upstream_status;
    result = std::unexpected(std::move(error));
  }
  if (const auto first = watched.first_token_at()) {
    average(first_token_ms_, std::chrono::duration<double, std::milli>(*first - start).count());
  }
  if (const auto between = watched.ms_between_tokens()) {
    average(token_ms_, *between);
  }
  settle(result, timed_out);
  co_return result;
}

std::optional<Error> GuardedChat::refusal(const ChatRequest& request) const {
  if (options_.max_in_flight > 0 && in_flight_ >= options_.max_in_flight) {
    Error error = fail(ErrorCode::kOverloaded,
                       fmt::format("endpoint '{}' has {} requests in flight, its most",
                                   options_.identity.name,
                                   in_flight_),
                       "raise the endpoint's max_in_flight or add an endpoint to the route")
                      .error();
    error.retry_after = Milliseconds(1'000);
    return error;
  }
  // Between the plan and now another request may have taken the probe, or failed.
  if (const auto why = breaker_.blocked(clock_.steady()); why && !request.last_resort) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("endpoint '{}' is left alone: {}", options_.identity.name, *why))
        .error();
  }
  return std::nullopt;
}

void GuardedChat::settle(const Result<Usage>& result, bool timed_out) {
  const SteadyTime now = clock_.steady();
  if (result) {
    breaker_.on_success(now);
  } else if (result.error().retry_after && !timed_out) {
    breaker_.on_retry_after(now, *result.error().retry_after);
  } else if (is_neutral(result.error())) {
    breaker_.on_neutral();
  } else {
    breaker_.on_failure(now);
  }
}

EndpointSnapshot GuardedChat::snapshot() const {
  const SteadyTime now = clock_.steady();
  EndpointSnapshot snapshot{.name = options_.identity.name,
                            .model = options_.identity.model,
                            .tier = options_.identity.tier,
                            .phase = options_.phase ? options_.phase() : EndpointPhase::kWarm,
                            .in_flight = in_flight_,
                            .max_in_flight = options_.max_in_flight,
                            .first_token_ms = first_token_ms_,
                            .token_ms = token_ms_,
                            .failure_rate = breaker_.failure_rate(),
                            .ramp = breaker_.ramp(now),
                            .max_context = options_.max_context};
  if (options_.life_cycle) {
    snapshot.why_not = options_.life_cycle();
  }
  if (snapshot.why_not.empty()) {
    snapshot.why_not = breaker_.blocked(now).value_or("");
  }
  snapshot.usable = snapshot.why_not.empty();
  return snapshot;
}

}  // namespace genesis::endpoint
