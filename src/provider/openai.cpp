#include "provider/openai.h"

#include "base/log.h"
#include "net/sse.h"
#include "provider/openai_errors.h"
#include "provider/openai_request.h"
#include "provider/openai_response.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace genesis::provider {

namespace {

namespace asio = boost::asio;

constexpr std::string_view kDone = "[DONE]";
// The most that is read of a refusal.
constexpr std::size_t kMaxErrorBody = 256 * 1024;
// What an upstream may still send after [DONE] before its connection is closed instead of reused.
constexpr std::size_t kMaxAfterDone = 16 * 1024;

enum class BodyKind : std::uint8_t { kEvents, kJson, kOther };

BodyKind kind_of(const net::Headers& headers, bool stream) {
  const auto type = headers.get("Content-Type");
  if (!type) {
    return stream ? BodyKind::kEvents : BodyKind::kJson;
  }
  std::string_view media = type->substr(0, type->find(';'));
  media = media.substr(0, media.find_last_not_of(" \t") + 1);
  if (net::equal_names(media, "text/event-stream")) {
    return BodyKind::kEvents;
  }
  return net::equal_names(media, "application/json") ? BodyKind::kJson : BodyKind::kOther;
}

bool carries_something(const ChatDelta& delta) {
  return !delta.text.empty() || !delta.reasoning.empty() || !delta.tool_calls_json.empty() ||
         !delta.tokens.empty() || !delta.prompt_tokens.empty() || delta.finish.has_value();
}

// Calls `on_time` once, unless it is destroyed before.
class Alarm {
 public:
  Alarm(const Executor& executor, std::chrono::milliseconds after, std::function<void()> on_time)
      : armed_(std::make_shared<bool>(true)), timer_(executor, after) {
    timer_.async_wait([armed = armed_, call = std::move(on_time)](boost::system::error_code error) {
      if (!error && *armed) {
        call();
      }
    });
  }

  ~Alarm() { *armed_ = false; }

  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

 private:
  std::shared_ptr<bool> armed_;
  asio::steady_timer timer_;
};

// Hands deltas to the sink, and knows when every choice has ended.
class Delivery {
 public:
  Delivery(const ChatRequest& request, ChatSink& sink, const ServedBy& served)
      : sink_(sink), served_(served), finished_(static_cast<std::size_t>(std::max(request.n, 1))) {}

  Task<Result<void>> deliver(const ChatDelta& delta) {
    if (!carries_something(delta)) {
      co_return Result<void>{};
    }
    const auto at = static_cast<std::size_t>(delta.index);
    if (finished_[at]) {
      if (delta.text.empty() && delta.reasoning.empty() && delta.tool_calls_json.empty()) {
        co_return Result<void>{};  // some servers repeat the finish_reason beside the usage
      }
      co_return fail(ErrorCode::kUpstream,
                     fmt::format("endpoint '{}' went on after a finish_reason", served_.endpoint));
    }
    if (!std::exchange(begun_, true)) {
      GENESIS_CO_TRY_VOID(co_await sink_.begin(served_));
    }
    tokens_ += static_cast<std::int64_t>(delta.tokens.size());
    ++deltas_;
    finished_[at] = delta.finish.has_value();
    open_ -= delta.finish ? 1U : 0U;
    co_return co_await sink_.write(delta);
  }

  bool complete() const { return open_ == 0; }

  std::size_t choices() const { return finished_.size(); }

  // What was seen, for upstreams that do not tell.
  Usage counted() const { return {.output = tokens_ > 0 ? tokens_ : deltas_}; }

 private:
  ChatSink& sink_;
  const ServedBy& served_;
  std::vector<bool> finished_;
  std::size_t open_ = finished_.size();
  bool begun_ = false;
  std::int64_t tokens_ = 0;
  std::int64_t deltas_ = 0;
};

// Reads what is left of a finished answer, so that its connection can be used again.
Task<void> drain(std::unique_ptr<net::ClientResponse> response,
                 CancelSource stop,
                 std::chrono::milliseconds limit) {
  const Alarm alarm(co_await asio::this_coro::executor, limit, [stop]() mutable { stop.cancel(); });
  std::size_t left = kMaxAfterDone;
  for (;;) {
    const auto piece = co_await response->read_some();
    if (!piece || !*piece || (*piece)->size() > left) {
      co_return;
    }
    left -= (*piece)->size();
  }
}

// One dispatch, from the response's head to its end.
class Answer {
 public:
  Answer(const OpenAiOptions& options,
         const ChatRequest& request,
         ChatSink& sink,
         CancelSource stop)
      : options_(options),
        stop_(std::move(stop)),
        delivery_(request, sink, options.served),
        reader_(request, options.served.endpoint) {}

  Task<Result<Usage>> read_stream(std::unique_ptr<net::ClientResponse> response);
  Task<Result<Usage>> read_whole(std::unique_ptr<net::ClientResponse> response);

 private:
  Task<Result<bool>> take_event(net::SseEvent event);
  Task<Result<void>> take_chunk(OpenAiChunk chunk);
  Error cut(std::string_view why) const;

  Usage usage() const { return usage_.value_or(delivery_.counted()); }

  const OpenAiOptions& options_;
  CancelSource stop_;
  Delivery delivery_;
  OpenAiReader reader_;
  std::optional<Usage> usage_;
};

Error Answer::cut(std::string_view why) const {
  return fail(ErrorCode::kUnavailable,
              fmt::format("endpoint '{}': the stream ended before the answer was complete ({})",
                          options_.served.endpoint,
                          why))
      .error();
}

Task<Result<void>> Answer::take_chunk(OpenAiChunk chunk) {
  if (chunk.error) {
    co_return std::unexpected(error_in_stream(*chunk.error, options_.served.endpoint));
  }
  for (const ChatDelta& delta : chunk.deltas) {
    GENESIS_CO_TRY_VOID(co_await delivery_.deliver(delta));
  }
  if (chunk.usage) {
    usage_ = chunk.usage;
  }
  if (chunk.absurd_usage) {
    log(LogLevel::kWarn,
        "upstream reported an absurd usage",
        {{"endpoint", options_.served.endpoint}});
  }
  co_return Result<void>{};
}

// True at the end of the stream.
Task<Result<bool>> Answer::take_event(net::SseEvent event) {
  const std::string_view data = event.data;
  if (data.substr(0, data.find_last_not_of(" \t") + 1) == kDone) {
    if (!delivery_.complete()) {
      co_return std::unexpected(cut("[DONE] came without a finish_reason"));
    }
    co_return true;
  }
  if (data.empty()) {
    co_return false;
  }
  GENESIS_CO_TRY(auto chunk, reader_.read(data));
  if (event.event == "error" && !chunk.error) {
    chunk.error = UpstreamError{};
  }
  GENESIS_CO_TRY_VOID(co_await take_chunk(std::move(chunk)));
  co_return delivery_.complete() && usage_.has_value();
}

Task<Result<Usage>> Answer::read_stream(std::unique_ptr<net::ClientResponse> response) {
  const Executor executor = co_await asio::this_coro::executor;
  net::SseReader sse(options_.max_event_bytes);
  std::optional<Alarm> usage_alarm;
  bool ended = false;
  while (!ended) {
    const auto piece = co_await response->read_some();
    if (!piece || !*piece) {
      // Only the usage or [DONE] is missing: the answer is whole.
      if (delivery_.complete()) {
        co_return usage();
      }
      if (!piece && piece.error().code != ErrorCode::kUnavailable) {
        co_return std::unexpected(piece.error());
      }
      co_return std::unexpected(cut(piece ? "the connection was closed" : piece.error().message));
    }
    GENESIS_CO_TRY(const auto events, sse.push(**piece));
    for (const net::SseEvent& event : events) {
      GENESIS_CO_TRY(ended, co_await take_event(event));
      if (ended) {
        break;
      }
    }
    if (delivery_.complete() && !usage_alarm && !ended) {
      usage_alarm.emplace(
          executor, options_.usage_wait, [stop = stop_]() mutable { stop.cancel(); });
    }
  }
  usage_alarm.reset();
  asio::co_spawn(executor, drain(std::move(response), stop_, options_.usage_wait), asio::detached);
  co_return usage();
}

Task<Result<Usage>> Answer::read_whole(std::unique_ptr<net::ClientResponse> response) {
  GENESIS_CO_TRY(const std::string body,
                 co_await net::read_body(*response, options_.max_body_bytes));
  GENESIS_CO_TRY(auto chunk, reader_.read(body));
  // Everything is checked before the first delta, while failing over is still free.
  const auto unfinished = [](const ChatDelta& delta) { return !delta.finish.has_value(); };
  std::string_view flaw;
  if (chunk.absurd_usage) {
    flaw = "with an absurd usage";
  } else if (chunk.deltas.size() != delivery_.choices()) {
    flaw = "with fewer choices than asked for";
  } else if (std::ranges::any_of(chunk.deltas, unfinished)) {
    flaw = "without a finish_reason";
  }
  if (!flaw.empty() && !chunk.error) {
    co_return fail(ErrorCode::kUpstream,
                   fmt::format("endpoint '{}' sent an answer {}", options_.served.endpoint, flaw));
  }
  GENESIS_CO_TRY_VOID(co_await take_chunk(std::move(chunk)));
  co_return usage();
}

net::ClientRequest make_http(const OpenAiOptions& options,
                             const ChatRequest& request,
                             std::string body) {
  net::ClientRequest http;
  http.method = "POST";
  http.base = options.base;
  http.target = std::string(openai_target(request.dialect));
  http.body = std::move(body);
  http.headers.add("Content-Type", "application/json");
  http.headers.add("Accept", request.stream ? "text/event-stream" : "application/json");
  if (!options.api_key.empty()) {
    http.headers.add("Authorization", "Bearer " + options.api_key);
  }
  if (!request.id.empty()) {
    http.headers.add("X-Request-Id", fmt::format("{}-{}", request.id, request.attempt));
    // The ledger's own id, so that an upstream's records can be reconciled row by row.
    http.headers.add("X-Genesis-Attempt", fmt::format("{}/{}", request.id, request.attempt));
  }
  return http;
}

Task<Result<Usage>> dispatch(net::Client& client,
                             const Clock& clock,
                             const OpenAiOptions& options,
                             ChatRequest request,
                             ChatSink& sink) {
  request.stream = request.stream || options.always_stream;
  const std::string& model = options.model.empty() ? request.model : options.model;
  GENESIS_CO_TRY(std::string body, openai_request_body(request, model, options.token_ids));
  CancelSource stop;
  const CancelHook hook = sink.cancel_token().on_cancel([stop]() mutable { stop.cancel(); });
  GENESIS_CO_TRY(auto response,
                 co_await client.send(make_http(options, request, std::move(body)), stop.token()));
  const int status = response->status();
  if (status < 200 || status > 299) {
    const auto said = co_await net::read_body(*response, kMaxErrorBody);
    if (!said && said.error().code == ErrorCode::kCancelled) {
      co_return std::unexpected(said.error());
    }
    co_return std::unexpected(error_from_response(
        status, response->headers(), said.value_or(""), options.served.endpoint, clock.unix_ms()));
  }
  const auto coding = response->headers().get("Content-Encoding");
  const BodyKind kind = coding && !net::equal_names(*coding, "identity")
                            ? BodyKind::kOther
                            : kind_of(response->headers(), request.stream);
  if (kind == BodyKind::kOther) {
    Error error;
    error.code = ErrorCode::kUpstream;
    error.message =
        fmt::format("endpoint '{}' answered with '{}' instead of JSON",
                    options.served.endpoint,
                    coding ? *coding : response->headers().get("Content-Type").value_or(""));
    error.hint = "check that the endpoint's `url` is the OpenAI base URL, with its /v1";
    error.upstream_status = status;
    co_return std::unexpected(std::move(error));
  }
  Answer answer(options, request, sink, stop);
  auto result = kind == BodyKind::kEvents ? co_await answer.read_stream(std::move(response))
                                          : co_await answer.read_whole(std::move(response));
  // Whoever books this attempt must know that the upstream had taken it on.
  if (!result && result.error().upstream_status == 0) {
    result.error().upstream_status = status;
  }
  co_return result;
}

}  // namespace

OpenAiProvider::OpenAiProvider(net::Client& client, const Clock& clock, OpenAiOptions options)
    : client_(client), clock_(clock), options_(std::move(options)) {}

Task<Result<Usage>> OpenAiProvider::chat(const ChatRequest& request, ChatSink& sink) {
  auto result = co_await dispatch(client_, clock_, options_, request, sink);
  if (!result) {
    redact(result.error().message, options_.api_key);
    redact(result.error().type, options_.api_key);
  }
  co_return result;
}

}  // namespace genesis::provider
