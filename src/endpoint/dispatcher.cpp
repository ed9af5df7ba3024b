#include "endpoint/dispatcher.h"

#include "base/log.h"
#include "endpoint/attempt_log.h"
#include "endpoint/features.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

namespace genesis::endpoint {

namespace {

// More than this of one answer is not kept for a client that does not stream.
constexpr std::size_t kMaxHeldBytes = 64 * 1024 * 1024;

// Owns the commit point. A streamed answer is committed by its first byte; one that is not streamed
// is held back until it is whole, so that an attempt which breaks off costs the client nothing.
class CommitSink final : public ChatSink {
 public:
  CommitSink(ChatSink& inner, bool stream) : inner_(inner), stream_(stream) {}

  Task<Result<void>> begin(const ServedBy& served) override {
    if (on_first_token_) {
      on_first_token_();
    }
    if (stream_) {
      committed_ = true;
      co_return co_await inner_.begin(served);
    }
    served_ = served;
    co_return Result<void>{};
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    if (stream_) {
      co_return co_await inner_.write(delta);
    }
    held_bytes_ += sizeof(ChatDelta) + delta.text.size() + delta.reasoning.size() +
                   delta.tool_calls_json.size() + sizeof(TokenInfo) * delta.tokens.size();
    if (held_bytes_ > kMaxHeldBytes) {
      co_return fail(ErrorCode::kUpstream, "the answer is larger than the gateway keeps");
    }
    held_.push_back(delta);
    co_return Result<void>{};
  }

  CancelToken cancel_token() const override { return inner_.cancel_token(); }

  bool committed() const { return committed_; }

  void on_first_token(std::function<void()> call) { on_first_token_ = std::move(call); }

  // Forgets what a failed attempt had said.
  void start_over() {
    served_.reset();
    held_.clear();
    held_bytes_ = 0;
  }

  // Hands over an answer that was held back.
  Task<Result<void>> release() {
    if (stream_ || !served_) {
      co_return Result<void>{};
    }
    committed_ = true;
    GENESIS_CO_TRY_VOID(co_await inner_.begin(*served_));
    for (const ChatDelta& delta : held_) {
      GENESIS_CO_TRY_VOID(co_await inner_.write(delta));
    }
    co_return Result<void>{};
  }

 private:
  ChatSink& inner_;
  const bool stream_;
  std::function<void()> on_first_token_;
  bool committed_ = false;
  std::optional<ServedBy> served_;
  std::vector<ChatDelta> held_;
  std::size_t held_bytes_ = 0;
};

// net::Client's word for a kept connection that the peer had closed: says nothing about the
// endpoint.
constexpr std::string_view kStaleConnection = "stale_connection";

// Another endpoint may have what this one lacks: a model it does not know, a key it does not
// accept, a feature it does not have.
bool next_may_help(const Error& error) {
  return error.retryable() || error.code == ErrorCode::kInternal ||
         error.code == ErrorCode::kUnsupported;
}

// Worth asking the very same endpoint again: it answered, or broke, rather than staying silent.
bool same_may_help(const Error& error) {
  return error.retryable() && error.code != ErrorCode::kTimeout;
}

std::deque<const DispatchTarget*> usable_first(const std::deque<const DispatchTarget*>& targets) {
  std::deque<const DispatchTarget*> usable;
  std::deque<const DispatchTarget*> unusable;
  for (const DispatchTarget* each : targets) {
    (each->snapshot().usable ? usable : unusable).push_back(each);
  }
  usable.insert(usable.end(), unusable.begin(), unusable.end());
  return usable;
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

Dispatcher::Dispatcher(DispatcherParts parts, DispatchOptions options)
    : parts_(std::move(parts)), options_(options), random_(options.seed) {}

const DispatchTarget* Dispatcher::target(std::string_view name) const {
  const auto at = std::ranges::find(parts_.targets, name, &DispatchTarget::name);
  return at == parts_.targets.end() ? nullptr : &*at;
}

Task<Result<Usage>> Dispatcher::chat(const ChatRequest& request, ChatSink& sink) {
  std::vector<EndpointSnapshot> snapshots;
  for (const DispatchTarget& each : parts_.targets) {
    snapshots.push_back(each.snapshot());
  }
  RequestTrace trace{.unix_ms = parts_.clock.unix_ms(),
                     .features = make_features(request, random_.uniform(), parts_.clock.steady()),
                     .traceparent = request.traceparent};
  AttemptLog attempts(trace, parts_.clock);
  auto plan = parts_.router.plan(trace.features, snapshots);
  Result<Usage> result = std::unexpected(plan ? Error{} : plan.error());
  if (plan) {
    trace.plan = std::move(*plan);
    result = co_await walk(request, trace, attempts, sink);
  }
  trace.outcome = result ? "delivered" : error_code_name(result.error().code);
  trace.total_ms = attempts.elapsed_ms();
  for (RequestObserver* observer : parts_.observers) {
    observer->on_finished(trace);
  }
  co_return result;
}

Task<Result<Usage>> Dispatcher::walk(const ChatRequest& request,
                                     RequestTrace& trace,
                                     AttemptLog& attempts,
                                     ChatSink& sink) {
  ChatRequest current = request;
  CommitSink commit(sink, request.stream);
  // What is left of the plan; its front is next.
  std::deque<const DispatchTarget*> left;
  for (const PlanStep& step : trace.plan.steps) {
    left.push_back(target(step.endpoint));
  }
  const DispatchTarget* previous = nullptr;
  while (!left.empty() && static_cast<int>(current.attempt) < options_.max_attempts) {
    const DispatchTarget* to = left.front();
    const bool first_try_here = std::exchange(previous, to) != to;
    const AttemptKind kind = current.attempt == 0 ? AttemptKind::kFirst
                             : first_try_here     ? AttemptKind::kFallback
                                                  : AttemptKind::kRetry;
    ++current.attempt;
    current.model = to->model;
    const EndpointSnapshot snapshot = to->snapshot();
    current.last_resort = left.size() == 1 || !snapshot.usable;
    commit.start_over();
    if (parts_.permission) {
      GENESIS_CO_TRY_VOID(parts_.permission(current, *to));
    }
    for (RequestObserver* observer : parts_.observers) {
      observer->on_dispatch(trace.features, snapshot);
    }
    const std::size_t place = attempts.begin(kind, current.attempt, snapshot);
    commit.on_first_token([&attempts, place] { attempts.first_token(place); });
    Result<Usage> result = co_await to->chat->chat(current, commit);
    attempts.end(place, result);
    if (result) {
      trace.served_by = to->name;
      GENESIS_CO_TRY_VOID(co_await commit.release());
      co_return result;
    }
    if (commit.committed() || sink.cancel_token().cancelled() || !next_may_help(result.error())) {
      co_return result;
    }
    const Error& error = result.error();
    log_failure(current, *to, error);
    // A lone 500 anywhere, or a reset at the last endpoint left, deserves one more try there
    // (failoverbench S03 and S05); everything else moves on at once, and so does what has shown
    // that nobody is there.
    const bool alone = left.size() == 1;
    const bool stale = error.type == kStaleConnection;
    const bool worth_it =
        alone || (to->snapshot().usable && (error.upstream_status == 500 || stale));
    const bool again = first_try_here && same_may_help(error) && worth_it &&
                       (stale || co_await pause_before_retry(error, request));
    if (sink.cancel_token().cancelled()) {
      co_return fail(ErrorCode::kCancelled, "the client is gone");
    }
    if (std::chrono::steady_clock::now() >= request.deadline) {
      break;
    }
    if (!again) {
      left.pop_front();
    }
    // The attempt may have shown what the plan could not know, a crash for one: endpoints that
    // cannot take work now go behind those that can.
    left = usable_first(left);
  }
  co_return std::unexpected(attempts.summary());
}

Task<bool> Dispatcher::pause_before_retry(const Error& error, const ChatRequest& request) {
  const double jitter = 0.5 + random_.uniform();
  auto wait = std::chrono::milliseconds(
      static_cast<std::int64_t>(static_cast<double>(options_.retry_pause.count()) * jitter));
  if (error.retry_after) {
    if (*error.retry_after > options_.longest_retry_after) {
      co_return false;
    }
    wait = std::max(wait, *error.retry_after);
  }
  if (std::chrono::steady_clock::now() + wait >= request.deadline) {
    co_return false;
  }
  boost::asio::steady_timer timer(parts_.executor, wait);
  co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  co_return true;
}

}  // namespace genesis::endpoint
