#include "provider/upstream.h"

#include "base/log.h"
#include "base/sha256.h"
#include "base/trace_context.h"
#include "provider/upstream_errors.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace genesis::provider {

namespace {

namespace asio = boost::asio;

// The most that is read of a refusal.
constexpr std::size_t kMaxErrorBody = 256 * 1024;
// What an upstream may still send after its last event before its connection is closed instead of
// reused.
constexpr std::size_t kMaxAfterEnd = 16 * 1024;
// Events without content (a role, a message_start) that are kept for the commit point; an upstream
// that sends more of them commits the answer.
constexpr std::size_t kMaxHeldEvents = 16;
constexpr std::size_t kMaxHeldBytes = 64 * 1024;

enum class BodyKind : std::uint8_t { kEvents, kJson, kOther };

BodyKind kind_of(const net::Headers& headers, bool stream) {
  const auto coding = headers.get("Content-Encoding");
  if (coding && !net::equal_names(*coding, "identity")) {
    return BodyKind::kOther;
  }
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

bool says_something(const ChatDelta& delta) {
  return !delta.text.empty() || !delta.reasoning.empty() || !delta.tool_calls_json.empty();
}

bool carries_something(const ChatDelta& delta) {
  return says_something(delta) || !delta.tokens.empty() || !delta.prompt_tokens.empty() ||
         delta.finish.has_value() || delta.embed != nullptr;
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

  Task<Result<void>> deliver(ChatDelta& delta);

  bool complete() const { return open_ == 0; }

  std::size_t choices() const { return finished_.size(); }

  // What was seen, for upstreams that do not tell.
  Usage counted() const { return {.output = tokens_ > 0 ? tokens_ : deltas_}; }

 private:
  bool hold(ChatDelta& delta);
  Task<Result<void>> begin();

  ChatSink& sink_;
  const ServedBy& served_;
  std::vector<bool> finished_;
  std::size_t open_ = finished_.size();
  bool begun_ = false;
  std::vector<ChatDelta> held_;  // raw events from before the commit point
  std::size_t held_bytes_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t deltas_ = 0;
};

// Keeps an event without content back, so that it does not commit the answer.
bool Delivery::hold(ChatDelta& delta) {
  if (held_.size() == kMaxHeldEvents || held_bytes_ + delta.raw.size() > kMaxHeldBytes) {
    return false;
  }
  held_bytes_ += delta.raw.size();
  held_.push_back(std::move(delta));
  return true;
}

Task<Result<void>> Delivery::begin() {
  begun_ = true;
  GENESIS_CO_TRY_VOID(co_await sink_.begin(served_));
  for (const ChatDelta& delta : std::exchange(held_, {})) {
    GENESIS_CO_TRY_VOID(co_await sink_.write(delta));
  }
  co_return Result<void>{};
}

Task<Result<void>> Delivery::deliver(ChatDelta& delta) {
  const bool carries = carries_something(delta);
  if (!carries && (delta.raw.empty() || (!begun_ && hold(delta)))) {
    co_return Result<void>{};
  }
  const auto at = static_cast<std::size_t>(delta.index);
  if (finished_[at]) {
    if (says_something(delta)) {
      co_return fail(ErrorCode::kUpstream,
                     fmt::format("endpoint '{}' went on after a finish_reason", served_.endpoint));
    }
    // Some servers repeat the finish_reason beside the usage.
    delta.finish.reset();
    delta.tokens.clear();
    co_return delta.raw.empty() ? Result<void>{} : co_await sink_.write(delta);
  }
  if (!begun_) {
    GENESIS_CO_TRY_VOID(co_await begin());
  }
  if (carries) {
    tokens_ += static_cast<std::int64_t>(delta.tokens.size());
    deltas_ += delta.embed ? 0 : 1;
    finished_[at] = delta.finish.has_value();
    open_ -= delta.finish ? 1U : 0U;
  }
  co_return co_await sink_.write(delta);
}

// Reads what is left of a finished answer, so that its connection can be used again.
Task<void> drain(std::unique_ptr<net::ClientResponse> response,
                 CancelSource stop,
                 std::chrono::milliseconds limit) {
  const Alarm alarm(co_await asio::this_coro::executor, limit, [stop]() mutable { stop.cancel(); });
  std::size_t left = kMaxAfterEnd;
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
  Answer(const UpstreamOptions& options,
         const ChatRequest& request,
         ChatSink& sink,
         AnswerReader& reader,
         CancelSource stop)
      : options_(options),
        stop_(std::move(stop)),
        delivery_(request, sink, options.served),
        reader_(reader) {}

  Task<Result<Usage>> read_stream(std::unique_ptr<net::ClientResponse> response);
  Task<Result<Usage>> read_whole(std::unique_ptr<net::ClientResponse> response);

 private:
  Task<Result<void>> take(AnswerPart& part);
  Error cut(std::string_view why) const;

  Usage usage() const { return usage_.value_or(delivery_.counted()); }

  const UpstreamOptions& options_;
  CancelSource stop_;
  Delivery delivery_;
  AnswerReader& reader_;
  std::optional<Usage> usage_;
};

Error Answer::cut(std::string_view why) const {
  return fail(ErrorCode::kUnavailable,
              fmt::format("endpoint '{}': the stream ended before the answer was complete ({})",
                          options_.served.endpoint,
                          why))
      .error();
}

Task<Result<void>> Answer::take(AnswerPart& part) {
  if (part.error) {
    co_return std::unexpected(std::move(*part.error));
  }
  for (ChatDelta& delta : part.deltas) {
    GENESIS_CO_TRY_VOID(co_await delivery_.deliver(delta));
  }
  if (part.usage) {
    usage_ = part.usage;
  }
  if (part.absurd_usage) {
    log(LogLevel::kWarn,
        "upstream reported an absurd usage",
        {{"endpoint", options_.served.endpoint}});
  }
  co_return Result<void>{};
}

Task<Result<Usage>> Answer::read_stream(std::unique_ptr<net::ClientResponse> response) {
  const Executor executor = co_await asio::this_coro::executor;
  net::SseReader sse(options_.max_event_bytes);
  std::optional<Alarm> usage_alarm;
  bool ended = false;
  while (!ended) {
    const auto piece = co_await response->read_some();
    if (!piece || !*piece) {
      // Only the usage or the closing event is missing: the answer is whole.
      if (delivery_.complete()) {
        co_return usage();
      }
      if (!piece && piece.error().code != ErrorCode::kUnavailable) {
        co_return std::unexpected(piece.error());
      }
      co_return std::unexpected(cut(piece ? "the connection was closed" : piece.error().message));
    }
    GENESIS_CO_TRY(auto events, sse.push(**piece));
    for (net::SseEvent& event : events) {
      GENESIS_CO_TRY(AnswerPart part, reader_.read_event(event));
      GENESIS_CO_TRY_VOID(co_await take(part));
      if (part.end && !delivery_.complete()) {
        co_return std::unexpected(cut("its closing event came without a finish"));
      }
      ended = part.end || (delivery_.complete() && usage_.has_value());
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
  GENESIS_CO_TRY(std::string body, co_await net::read_body(*response, options_.max_body_bytes));
  GENESIS_CO_TRY(auto part, reader_.read_body(body, response->headers()));
  // Everything is checked before the first delta, while failing over is still free.
  const auto unfinished = [](const ChatDelta& delta) { return !delta.finish.has_value(); };
  std::string_view flaw;
  if (part.absurd_usage) {
    flaw = "with an absurd usage";
  } else if (part.deltas.size() != delivery_.choices()) {
    flaw = "with fewer choices than asked for";
  } else if (std::ranges::any_of(part.deltas, unfinished)) {
    flaw = "without a finish_reason";
  }
  if (!flaw.empty() && !part.error) {
    co_return fail(ErrorCode::kUpstream,
                   fmt::format("endpoint '{}' sent an answer {}", options_.served.endpoint, flaw));
  }
  GENESIS_CO_TRY_VOID(co_await take(part));
  co_return usage();
}

// Whose request it is, for an engine that keeps tenants apart and agents fairly served.
void tell_engine(const ChatRequest& request, net::Headers& headers) {
  headers.set(kTenantHeader, to_hex(sha256(request.tenant)));
  if (!request.caller.agent.empty()) {
    headers.set(kAgentHeader, request.caller.agent);
  }
  if (request.caller.priority != Priority::kNormal) {
    headers.set(kPriorityHeader, priority_name(request.caller.priority));
  }
}

net::ClientRequest make_http(const UpstreamOptions& options,
                             const ChatRequest& request,
                             UpstreamCall call) {
  net::ClientRequest http;
  http.method = "POST";
  http.base = options.base;
  http.target = std::move(call.target);
  http.body = std::move(call.body);
  http.headers.set("Content-Type", "application/json");
  http.headers.set("Accept", call.stream ? "text/event-stream" : "application/json");
  for (const auto& [name, value] : call.headers.all()) {
    http.headers.set(name, value);
  }
  if (!request.id.empty()) {
    http.headers.set("X-Request-Id", fmt::format("{}-{}", request.id, request.attempt));
    // The ledger's own id, so that an upstream's records can be reconciled row by row.
    http.headers.set("X-Genesis-Attempt", fmt::format("{}/{}", request.id, request.attempt));
  }
  if (options.tell_tenant) {
    tell_engine(request, http.headers);
  }
  if (auto context = parse_traceparent(request.traceparent)) {
    context->span_id = span_id_of(request.id, request.attempt);
    http.headers.set("traceparent", context->to_string());
  }
  for (const auto& [name, value] : options.headers) {
    http.headers.set(name, value);
  }
  return http;
}

Error not_json(const UpstreamOptions& options, const net::ClientResponse& response) {
  const auto coding = response.headers().get("Content-Encoding");
  Error error;
  error.code = ErrorCode::kUpstream;
  error.message =
      fmt::format("endpoint '{}' answered with '{}' instead of JSON",
                  options.served.endpoint,
                  coding ? *coding : response.headers().get("Content-Type").value_or(""));
  error.hint = "check the endpoint's `url` and `dialect` in genesis.toml";
  error.upstream_status = response.status();
  return error;
}

Task<Result<Usage>> run(net::Client& client,
                        const UpstreamOptions& options,
                        const ChatRequest& request,
                        ChatSink& sink,
                        UpstreamCall call,
                        AnswerReader& reader) {
  const bool stream = call.stream;
  CancelSource stop;
  const CancelHook hook = sink.cancel_token().on_cancel([stop]() mutable { stop.cancel(); });
  GENESIS_CO_TRY(auto response,
                 co_await client.send(make_http(options, request, std::move(call)), stop.token()));
  const int status = response->status();
  if (status < 200 || status > 299) {
    const auto said = co_await net::read_body(*response, kMaxErrorBody);
    if (!said && said.error().code == ErrorCode::kCancelled) {
      co_return std::unexpected(said.error());
    }
    co_return std::unexpected(reader.read_refusal(status, response->headers(), said.value_or("")));
  }
  const BodyKind kind = kind_of(response->headers(), stream);
  if (kind == BodyKind::kOther) {
    co_return std::unexpected(not_json(options, *response));
  }
  Answer answer(options, request, sink, reader, stop);
  auto result = kind == BodyKind::kEvents ? co_await answer.read_stream(std::move(response))
                                          : co_await answer.read_whole(std::move(response));
  // Whoever books this attempt must know that the upstream had taken it on.
  if (!result && result.error().upstream_status == 0) {
    result.error().upstream_status = status;
  }
  co_return result;
}

}  // namespace

Task<Result<Usage>> dispatch_call(net::Client& client,
                                  const UpstreamOptions& options,
                                  const ChatRequest& request,
                                  ChatSink& sink,
                                  UpstreamCall call,
                                  AnswerReader& reader) {
  auto result = co_await run(client, options, request, sink, std::move(call), reader);
  if (!result) {
    redact_secrets(result.error(), options);
  }
  co_return result;
}

std::string to_one_line(std::string json) {
  // Between tokens a blank means the same; inside strings JSON has no line breaks.
  std::ranges::replace_if(json, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return json;
}

const std::string& model_of(const UpstreamOptions& options, const ChatRequest& request) {
  return options.model.empty() ? request.model : options.model;
}

std::unexpected<Error> cannot(const UpstreamOptions& options,
                              std::string_view what,
                              std::string param) {
  return fail_param(std::move(param),
                    fmt::format("endpoint '{}' cannot {}", options.served.endpoint, what),
                    ErrorCode::kUnsupported);
}

void redact_secrets(Error& error, const UpstreamOptions& options) {
  const auto hide = [&](std::string_view secret) {
    redact(error.message, secret);
    redact(error.type, secret);
    redact(error.param, secret);
  };
  hide(options.api_key);
  for (const auto& [name, value] : options.headers) {
    // Short values are versions and flags, not secrets, and may be parts of ordinary words.
    hide(value.size() >= kMinSecretBytes ? std::string_view(value) : std::string_view());
  }
}

}  // namespace genesis::provider
