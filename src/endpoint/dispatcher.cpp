#include "endpoint/dispatcher.h"

#include "base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace genesis::endpoint {

namespace {

// Remembers whether the commit point was passed.
class CommitSink final : public ChatSink {
 public:
  explicit CommitSink(ChatSink& inner) : inner_(inner) {}

  Task<Result<void>> begin(const ServedBy& served) override {
    committed_ = true;
    return inner_.begin(served);
  }

  Task<Result<void>> write(const ChatDelta& delta) override { return inner_.write(delta); }

  CancelToken cancel_token() const override { return inner_.cancel_token(); }

  bool committed() const { return committed_; }

 private:
  ChatSink& inner_;
  bool committed_ = false;
};

std::size_t prompt_bytes(const ChatInput& input) {
  std::size_t bytes = input.prompt.size() + 4 * input.prompt_tokens.size();
  for (const ChatMessage& message : input.messages) {
    bytes += message.content.size();
  }
  return bytes;
}

// net::Client's word for a kept connection that the peer had closed: says nothing about the
// endpoint.
constexpr std::string_view kStaleConnection = "stale_connection";

// Another endpoint may have what this one lacks: a model it does not know, a key it does not
// accept.
bool next_may_help(const Error& error) {
  return error.retryable() || error.code == ErrorCode::kInternal;
}

// Worth asking the very same endpoint again: it answered, or broke, rather than staying silent.
bool same_may_help(const Error& error) {
  return error.retryable() && error.code != ErrorCode::kTimeout;
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

// What went wrong so far, for the final error.
struct Dispatcher::Attempts {
  std::vector<std::pair<std::string, Error>> failed;

  std::optional<std::chrono::milliseconds> shortest_retry_after() const {
    std::optional<std::chrono::milliseconds> shortest;
    for (const auto& [name, error] : failed) {
      if (error.retry_after && (!shortest || *error.retry_after < *shortest)) {
        shortest = error.retry_after;
      }
    }
    return shortest;
  }

  Error summary() const {
    if (failed.size() == 1) {
      return failed.front().second;
    }
    const bool all_full = std::ranges::all_of(failed, [](const auto& attempt) {
      return attempt.second.code == ErrorCode::kRateLimited ||
             attempt.second.code == ErrorCode::kOverloaded;
    });
    Error error;
    error.code = all_full ? ErrorCode::kOverloaded : ErrorCode::kUnavailable;
    error.type = all_full ? "" : "all_upstreams_unavailable";
    error.message = fmt::format("all {} attempts failed:", failed.size());
    for (const auto& [name, cause] : failed) {
      error.message += fmt::format(" [{}] {};", name, cause.message);
    }
    error.message.pop_back();
    error.hint = "try again, or add an endpoint to the route";
    error.retry_after = shortest_retry_after().value_or(std::chrono::milliseconds(1'000));
    return error;
  }
};

Dispatcher::Dispatcher(Executor executor,
                       const Router& router,
                       std::vector<DispatchTarget> targets,
                       DispatchOptions options,
                       Permission permission)
    : executor_(std::move(executor)),
      router_(router),
      targets_(std::move(targets)),
      options_(options),
      permission_(std::move(permission)),
      random_(targets_.size()) {}

const DispatchTarget* Dispatcher::target(std::string_view name) const {
  const auto at = std::ranges::find(targets_, name, &DispatchTarget::name);
  return at == targets_.end() ? nullptr : &*at;
}

Task<Result<Usage>> Dispatcher::chat(const ChatRequest& request, ChatSink& sink) {
  std::vector<EndpointSnapshot> snapshots;
  for (const DispatchTarget& each : targets_) {
    snapshots.push_back(each.snapshot());
  }
  const RouteFeatures features{.route = request.route,
                               .tenant = request.tenant,
                               .dialect = request.dialect,
                               .prompt_bytes = prompt_bytes(*request.input)};
  GENESIS_CO_TRY(const Plan plan, router_.plan(features, snapshots));

  ChatRequest current = request;
  Attempts attempts;
  CommitSink commit(sink);
  std::size_t step = 0;
  int tries_here = 0;
  while (step < plan.steps.size() && static_cast<int>(current.attempt) < options_.max_attempts) {
    const DispatchTarget* to = target(plan.steps[step].endpoint);
    ++current.attempt;
    ++tries_here;
    current.model = to->model;
    Result<Usage> result = co_await attempt(current, *to, commit);
    if (result || commit.committed() || sink.cancel_token().cancelled() ||
        !next_may_help(result.error())) {
      co_return result;
    }
    const Error& error = result.error();
    log_failure(current, *to, error);
    attempts.failed.emplace_back(to->name, error);
    // A lone 500 anywhere, or a reset at the last endpoint left, deserves one more try there
    // (failoverbench S03 and S05); everything else moves on at once.
    const bool last_step = step + 1 == plan.steps.size();
    const bool again =
        tries_here == 1 && same_may_help(error) &&
        (last_step || error.upstream_status == 500 || error.type == kStaleConnection) &&
        co_await pause_before_retry(error, request);
    if (sink.cancel_token().cancelled()) {
      co_return fail(ErrorCode::kCancelled, "the client is gone");
    }
    if (std::chrono::steady_clock::now() >= request.deadline) {
      break;
    }
    if (!again) {
      ++step;
      tries_here = 0;
    }
  }
  co_return std::unexpected(attempts.summary());
}

Task<Result<Usage>> Dispatcher::attempt(const ChatRequest& request,
                                        const DispatchTarget& to,
                                        ChatSink& sink) {
  if (permission_) {
    GENESIS_CO_TRY_VOID(permission_(request, to));
  }
  co_return co_await to.chat->chat(request, sink);
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
  boost::asio::steady_timer timer(executor_, wait);
  co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  co_return true;
}

}  // namespace genesis::endpoint
