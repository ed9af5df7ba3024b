#include "server/inference.h"

#include "base/random.h"
#include "base/trace_context.h"
#include "server/access.h"
#include "server/parse_openai.h"
#include "server/parse_tgi.h"
#include "server/stream_sink.h"
#include "server/write_openai.h"
#include "server/write_tgi.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace genesis::server {

namespace {

// A place among the requests in flight, taken without waiting and given back on every way out.
class Permit {
 public:
  Permit(int& in_flight, int limit) : in_flight_(in_flight), held_(in_flight < limit) {
    in_flight_ += held_ ? 1 : 0;
  }

  ~Permit() { in_flight_ -= held_ ? 1 : 0; }

  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;

  explicit operator bool() const { return held_; }

 private:
  int& in_flight_;
  bool held_;
};

Result<InferenceCall> parse(InferenceRoute route, std::string_view body) {
  switch (route) {
    case InferenceRoute::kChat:
      return parse_chat_request(body);
    case InferenceRoute::kCompletion:
      return parse_completion_request(body);
    case InferenceRoute::kTgiCompat:
      return parse_tgi_request(body, TgiRoute::kCompat);
    case InferenceRoute::kTgiGenerate:
      return parse_tgi_request(body, TgiRoute::kGenerate);
    case InferenceRoute::kTgiGenerateStream:
      return parse_tgi_request(body, TgiRoute::kGenerateStream);
  }
  return fail(ErrorCode::kInternal, "unknown inference route");
}

// TGI's clients write "tgi" into `model`, meaning "whatever you serve"; huggingface_hub writes
// "dummy" where it was given a URL.
std::string resolve_model(std::string_view asked, const InferenceContext& context) {
  if (asked.empty()) {
    return context.options.default_model;
  }
  if (asked == "tgi" || asked == "dummy") {
    const auto cards = context.ports.catalog.models();
    const bool real = std::ranges::count(cards, asked, &ModelCard::id) > 0;
    return real ? std::string(asked) : context.options.default_model;
  }
  return std::string(asked);
}

// TGI tells the seed it drew; 53 bits survive every JSON reader.
std::uint64_t draw_seed() {
  std::array<std::uint8_t, 8> bytes{};
  secure_random_bytes(bytes);
  std::uint64_t seed = 0;
  for (const std::uint8_t byte : bytes) {
    seed = seed << 8U | byte;
  }
  return seed >> 11U;
}

// The client's own trace context, or a new one where spans are exported; empty otherwise.
std::string trace_of(const InferenceContext& context, const Exchange& x) {
  const auto sent = parse_traceparent(x.request.headers.get("traceparent").value_or(""));
  if (sent) {
    return sent->to_string();
  }
  if (!context.options.trace) {
    return "";
  }
  return TraceContext{
      .trace_id = trace_id_of(x.record.id), .span_id = span_id_of(x.record.id, 0), .sampled = true}
      .to_string();
}

Result<InferenceCall> prepare(const InferenceContext& context, Exchange& x, InferenceRoute route) {
  GENESIS_TRY(auto call, parse(route, x.request.body));
  ChatRequest& request = call.request;
  request.route = resolve_model(request.route, context);
  x.record.model_asked = request.route;
  GENESIS_TRY_VOID(check_model_scope(x.principal, request.route));
  request.id = x.record.id;
  request.traceparent = trace_of(context, x);
  request.tenant = x.principal.tenant;
  request.key_id = x.principal.key_id;
  request.caller.team = x.principal.team;
  if (!x.principal.models.empty()) {
    request.allowed_models = std::make_shared<const std::vector<std::string>>(x.principal.models);
  }
  request.deadline = context.ports.clock.steady() + context.options.total_budget;
  if (call.wire.sampled && !request.sampling.seed) {
    request.sampling.seed = draw_seed();
  }
  x.record.parsed = context.ports.clock.steady();
  return call;
}

// What the key's limits say; they are told in every answer from here on.
Result<RateTicket> admit(InferenceContext& context, Exchange& x, const InferenceCall& call) {
  const RateLimits& limits = x.principal.limits;
  // Four bytes a token, and what may be generated as far as the request says.
  const ChatRequest& request = call.request;
  const std::int64_t tokens = std::ssize(x.request.body) / 4 +
                              std::int64_t{request.sampling.max_tokens.value_or(0)} * request.n;
  auto ticket = context.limiter.admit(x.principal.key_id, limits, tokens);
  context.limiter.add_headers(x.principal.key_id, limits, x.rate);
  return ticket;
}

AnswerMeta make_meta(const InferenceContext& context, const InferenceCall& call) {
  const std::string_view prefix =
      call.request.dialect == Dialect::kOpenAiChat ? "chatcmpl-" : "cmpl-";
  std::string_view serial = call.request.id;
  serial.remove_prefix(std::min(serial.size(), std::string_view("req-").size()));
  return AnswerMeta{.call = call,
                    .id = fmt::format("{}{}", prefix, serial),
                    .created = context.ports.clock.unix_ms() / 1000,
                    .fingerprint = "genesis-" + context.options.version};
}

std::unique_ptr<StreamFormat> make_format(const AnswerMeta& meta) {
  switch (meta.call.request.dialect) {
    case Dialect::kOpenAiChat:
      return make_chat_stream(meta);
    case Dialect::kOpenAiCompletion:
      return make_completion_stream(meta);
    case Dialect::kTgi:
      return make_tgi_stream(meta);
    default:
      break;
  }
  return make_chat_stream(meta);
}

std::int64_t count_characters(std::string_view text) {
  return std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

void add_compute_headers(const InferenceContext& context,
                         const InferenceCall& call,
                         net::Headers& headers) {
  headers.add("x-compute-type", header_safe(context.ports.info().isa));
  headers.add("x-compute-characters",
              fmt::format("{}", count_characters(call.request.input->prompt)));
}

// TGI's timing headers of a whole answer; milliseconds, x-compute-time in seconds.
void add_timing_headers(const RequestRecord& record, SteadyTime now, net::Headers& headers) {
  const auto ms = [](SteadyTime from, SteadyTime to) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count();
  };
  const SteadyTime begun = record.times.begun.value_or(now);
  const std::int64_t tokens = std::max<std::int64_t>(record.usage.output, 1);
  const double total = std::chrono::duration<double>(now - record.started).count();
  headers.add("x-compute-time", fmt::format("{}", total));
  headers.add("x-total-time", fmt::format("{}", ms(record.started, now)));
  headers.add("x-validation-time", fmt::format("{}", ms(record.started, record.parsed)));
  headers.add("x-queue-time", fmt::format("{}", ms(record.parsed, begun)));
  headers.add("x-inference-time", fmt::format("{}", ms(begun, now)));
  headers.add("x-time-per-token", fmt::format("{}", ms(begun, now) / tokens));
  headers.add("x-prompt-tokens", fmt::format("{}", record.usage.input));
  headers.add("x-generated-tokens", fmt::format("{}", record.usage.output));
}

// An answer whose producer reported success must also have ended by its own word.
Result<Usage> checked(Result<Usage> outcome, const AnswerSink& sink, const InferenceCall& call) {
  if (outcome && !sink.complete()) {
    return std::unexpected(incomplete_answer());
  }
  if (!outcome && outcome.error().code == ErrorCode::kContextLength &&
      outcome.error().param.empty()) {
    const Dialect dialect = call.request.dialect;
    outcome.error().param = dialect == Dialect::kOpenAiChat         ? "messages"
                            : dialect == Dialect::kOpenAiCompletion ? "prompt"
                                                                    : "inputs";
  }
  return outcome;
}

// Copies what the sink saw into the record.
void note(Exchange& x, const AnswerSink& sink, const Result<Usage>& outcome) {
  x.record.served = sink.served();
  x.record.times = sink.times();
  if (outcome) {
    x.record.usage = *outcome;
    const FinishReason finish = sink.finish().value_or(FinishReason::kStop);
    x.record.finish =
        finish == FinishReason::kStopSequence ? "stop_sequence" : openai_finish(finish);
  } else {
    x.record.finish = error_code_name(outcome.error().code);
  }
}

bool client_gone(const Exchange& x) {
  return x.response.client_gone().cancelled();
}

void note_client_gone(Exchange& x) {
  x.record.status = kStatusClientGone;
  x.record.finish = error_code_name(ErrorCode::kCancelled);
}

// "Cancelled" while the client is still there means that we stopped, not it.
Error shown_error(Error error) {
  if (error.code == ErrorCode::kCancelled) {
    error.code = ErrorCode::kUnavailable;
    error.message = "the answer was stopped because the server or its model is shutting down";
  }
  return error;
}

std::string whole_body(InferenceRoute route,
                       const AnswerMeta& meta,
                       const CollectSink& sink,
                       const Usage& usage) {
  switch (meta.call.request.dialect) {
    case Dialect::kOpenAiChat:
      return chat_body(meta, *sink.served(), sink.answer(), usage);
    case Dialect::kOpenAiCompletion:
      return completion_body(meta, *sink.served(), sink.answer(), usage);
    default:
      break;
  }
  std::string body = tgi_body(meta, sink.answer(), usage);
  return route == InferenceRoute::kTgiCompat ? "[" + body + "]" : body;
}

Task<void> collect_answer(InferenceContext& context,
                          Exchange& x,
                          const AnswerMeta& meta,
                          InferenceRoute route) {
  CollectSink sink(meta.call.request, x.response, context.ports.clock);
  auto outcome =
      checked(co_await context.ports.chat.chat(meta.call.request, sink), sink, meta.call);
  note(x, sink, outcome);
  if (client_gone(x)) {
    note_client_gone(x);
    co_return;
  }
  if (!outcome) {
    co_await send_error(x, shown_error(std::move(outcome).error()));
    co_return;
  }
  x.record.status = 200;
  net::Headers headers = response_headers(x, "application/json");
  add_served_headers(*sink.served(), headers);
  if (x.wire == Wire::kTgi) {
    add_compute_headers(context, meta.call, headers);
    add_timing_headers(x.record, context.ports.clock.steady(), headers);
  }
  const std::string body = whole_body(route, meta, sink, *outcome);
  if (!co_await x.response.send(200, headers, body)) {
    note_client_gone(x);
  }
}

Task<void> stream_answer(InferenceContext& context, Exchange& x, const AnswerMeta& meta) {
  StreamSink sink(meta,
                  x.response,
                  context.ports.clock,
                  {.executor = context.executor, .keep_alive = context.options.keep_alive_comment});
  sink.set_format(make_format(meta));
  sink.set_headers([&](const ServedBy& served) {
    net::Headers headers = response_headers(x, "text/event-stream");
    headers.add("X-Accel-Buffering", "no");
    add_served_headers(served, headers);
    if (x.wire == Wire::kTgi) {
      add_compute_headers(context, meta.call, headers);
    }
    return headers;
  });
  auto outcome =
      checked(co_await context.ports.chat.chat(meta.call.request, sink), sink, meta.call);
  note(x, sink, outcome);
  if (client_gone(x) || sink.cancel_token().cancelled()) {
    note_client_gone(x);
    co_await sink.abandon();
    co_return;
  }
  if (!outcome && !x.response.started()) {
    co_await send_error(x, shown_error(std::move(outcome).error()));
    co_return;
  }
  x.record.status = 200;
  Result<void> closed;
  if (outcome) {
    closed = co_await sink.end(*outcome);
  } else {
    const Error error = shown_error(std::move(outcome).error());
    // The wire said 200 already; log and metrics tell the truth.
    x.record.status = error_status(error.code, x.wire);
    closed = co_await sink.end_with_error(error_body(error, x.wire, x.record.id));
  }
  if (!closed) {
    note_client_gone(x);
  }
}

}  // namespace

Error full_house() {
  return fail(ErrorCode::kOverloaded,
              "too many requests are in flight",
              "retry after the time in Retry-After")
      .error();
}

Task<void> serve_inference(InferenceContext& context, Exchange& x, InferenceRoute route) {
  context.metrics.begin_inference();
  x.record.inference = true;
  const Permit permit(context.in_flight, context.options.max_concurrent);
  if (!permit) {
    co_await send_error(x, full_house());
    co_return;
  }
  const auto call = prepare(context, x, route);
  if (!call) {
    co_await send_error(x, call.error());
    co_return;
  }
  auto ticket = admit(context, x, *call);
  if (!ticket) {
    co_await send_error(x, ticket.error());
    co_return;
  }
  const AnswerMeta meta = make_meta(context, *call);
  if (call->request.stream) {
    co_await stream_answer(context, x, meta);
  } else {
    co_await collect_answer(context, x, meta, route);
  }
  ticket->settle(x.record.usage.input + x.record.usage.output);
}

}  // namespace genesis::server
