#include "server/inference.h"

#include "base/json.h"
#include "base/random.h"
#include "base/trace_context.h"
#include "server/access.h"
#include "server/caller.h"
#include "server/fields.h"
#include "server/parse_anthropic.h"
#include "server/stream_sink.h"
#include "server/write_openai.h"

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

// TGI's clients write "tgi" into `model`, meaning "whatever you serve"; huggingface_hub writes
// "dummy" where it was given a URL.
std::string resolve_model(const ChatRequest& request, const InferenceContext& context) {
  const std::string& asked = request.route;
  const auto known = [&](std::string_view name) {
    const auto cards = context.ports.catalog.models();
    return std::ranges::count(cards, name, &ModelCard::id) > 0;
  };
  if (asked.empty()) {
    const std::string& embed = context.options.embed_model;
    return is_embed(request.dialect) && known(embed) ? embed : context.options.default_model;
  }
  const bool any = asked == "tgi" || asked == "dummy";
  return any && !known(asked) ? context.options.default_model : asked;
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

// Who is asked in front, and under which id: what the gateway knows better than the engine behind
// it.
void follow_gateway(const Exchange& x, ChatRequest& request) {
  if (const auto tenant = x.request.headers.get(kTenantHeader)) {
    request.tenant = *tenant;
  }
  if (!x.record.client_id.empty()) {
    request.id = x.record.client_id;
  }
}

// Fills in what the body does not say: who asks, for how long, under which id.
Result<void> complete(const InferenceContext& context, Exchange& x, InferenceCall& call) {
  ChatRequest& request = call.request;
  request.route = resolve_model(request, context);
  x.record.model_asked = request.route;
  GENESIS_TRY_VOID(check_model_name(request.route));
  GENESIS_TRY_VOID(check_model_scope(x.principal, request.route));
  request.id = x.record.id;
  request.bill = std::make_shared<Bill>();
  x.record.bill = request.bill;
  request.traceparent = trace_of(context, x);
  x.record.traceparent = request.traceparent;
  request.tenant = x.principal.tenant;
  if (context.options.behind_gateway) {
    follow_gateway(x, request);
  }
  request.key_id = x.principal.key_id;
  GENESIS_TRY(request.caller, read_caller(x.request.headers, call.session_hint));
  request.caller.team = x.principal.team;
  x.record.caller = request.caller;
  if (auto headers = read_native_headers(x.request.headers, request.dialect); !headers.empty()) {
    call.open_input().native_headers = std::move(headers);
  }
  if (!x.principal.models.empty()) {
    request.allowed_models = std::make_shared<const std::vector<std::string>>(x.principal.models);
  }
  request.deadline = context.ports.clock.steady() + context.options.total_budget;
  if (call.wire.sampled && !request.sampling.seed) {
    request.sampling.seed = draw_seed();
  }
  return {};
}

Result<InferenceCall> prepare(const InferenceContext& context, Exchange& x, InferenceRoute route) {
  GENESIS_TRY(auto call, dialogue_of(route).parse(x.request.body));
  GENESIS_TRY_VOID(complete(context, x, call));
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

AnswerMeta make_meta(const InferenceContext& context,
                     const InferenceCall& call,
                     InferenceRoute route) {
  AnswerMeta meta{.call = call,
                  .id = std::string(dialogue_of(route).id_prefix),
                  .created = context.ports.clock.unix_ms() / 1000,
                  .fingerprint = "genesis-" + context.options.version};
  meta.id += serial_of(meta);
  return meta;
}

// Four bytes of English make a token, as do two characters of other scripts; a message costs a few
// more for its frame.
std::int64_t estimated_tokens(const ChatInput& input) {
  constexpr std::int64_t kFrameTokens = 4;
  const auto count = [](std::string_view text) {
    const auto ascii =
        std::ranges::count_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    return (ascii + 3) / 4 + (std::ssize(text) - ascii + 5) / 6;
  };
  std::int64_t tokens = count(input.tools_json);
  for (const ChatMessage& message : input.messages) {
    tokens += kFrameTokens + count(message.content) + count(message.tool_calls_json) +
              count(message.reasoning);
  }
  return tokens;
}

std::int64_t count_characters(std::string_view text) {
  return std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

void add_compute_headers(const InferenceContext& context,
                         const InferenceCall& call,
                         net::Headers& headers) {
  headers.add("x-compute-type", header_safe(context.ports.info().isa));
  const ChatInput& input = *call.request.input;
  std::int64_t characters = count_characters(input.prompt);
  if (input.embed) {
    characters += count_characters(input.embed->query);
    for (const auto* texts : {&input.embed->texts, &input.embed->pairs}) {
      for (const std::string& text : *texts) {
        characters += count_characters(text);
      }
    }
  }
  headers.add("x-compute-characters", fmt::format("{}", characters));
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

// The field of an error as the client's dialect calls it: upstreams speak OpenAI's.
void name_field(Error& error, const ChatRequest& request, InferenceRoute route) {
  const std::string& format = request.input->format.field;
  if (error.code == ErrorCode::kContextLength && error.param.empty()) {
    error.param = dialogue_of(route).prompt_field;
  } else if (!format.empty() &&
             (error.param == "response_format" || error.param.starts_with("structured_outputs"))) {
    error.param = format;
  }
}

// An answer whose producer reported success must also have ended by its own word.
Result<Usage> checked(Result<Usage> outcome,
                      const AnswerSink& sink,
                      const ChatRequest& request,
                      InferenceRoute route) {
  if (outcome && !sink.complete()) {
    return std::unexpected(incomplete_answer());
  }
  if (!outcome) {
    name_field(outcome.error(), request, route);
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

// One answer for each text, of the kind that was asked for.
bool answers_every_text(const ChatRequest& request,
                        const std::shared_ptr<const EmbedAnswer>& answer) {
  const auto& asked = request.input->embed;
  if (!asked) {
    return true;
  }
  if (!answer) {
    return false;
  }
  switch (asked->task) {
    case EmbedTask::kEmbed:
      return answer->vectors.size() == asked->size();
    case EmbedTask::kPredict:
      return answer->labels.size() == asked->size();
    case EmbedTask::kRerank:
    case EmbedTask::kSimilarity:
      return answer->scores.size() == asked->size();
  }
  return false;
}

Task<void> collect_answer(InferenceContext& context,
                          Exchange& x,
                          const AnswerMeta& meta,
                          InferenceRoute route) {
  CollectSink sink(meta.call.request, x.response, context.ports.clock);
  auto outcome = checked(
      co_await context.ports.chat.chat(meta.call.request, sink), sink, meta.call.request, route);
  if (outcome && !answers_every_text(meta.call.request, sink.answer().embed())) {
    outcome = fail(ErrorCode::kUpstream, "the model's endpoint did not answer every text");
  }
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
  add_bill_headers(*x.record.bill, headers);
  if (x.wire == Wire::kTgi || x.wire == Wire::kTei) {
    add_compute_headers(context, meta.call, headers);
    add_timing_headers(x.record, context.ports.clock.steady(), headers);
  }
  if (x.wire == Wire::kTei) {
    headers.add("x-compute-tokens", fmt::format("{}", outcome->input));
  }
  const std::string body = dialogue_of(route).whole(meta, *sink.served(), sink.answer(), *outcome);
  if (!co_await x.response.send(200, headers, body)) {
    note_client_gone(x);
  }
}

Task<void> stream_answer(InferenceContext& context,
                         Exchange& x,
                         const AnswerMeta& meta,
                         InferenceRoute route) {
  StreamSink sink(meta,
                  x.response,
                  context.ports.clock,
                  {.executor = context.executor, .keep_alive = context.options.keep_alive_comment});
  sink.set_format(dialogue_of(route).stream(meta));
  sink.set_headers([&](const ServedBy& served) {
    net::Headers headers = response_headers(x, "text/event-stream");
    headers.add("X-Accel-Buffering", "no");
    add_served_headers(served, headers);
    if (x.wire == Wire::kTgi) {
      add_compute_headers(context, meta.call, headers);
    }
    return headers;
  });
  auto outcome = checked(
      co_await context.ports.chat.chat(meta.call.request, sink), sink, meta.call.request, route);
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
    x.record.status = error_status(error, x.wire);
    closed = co_await sink.end_with_error(error, error_body(error, x.wire, x.record.id));
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
  const AnswerMeta meta = make_meta(context, *call, route);
  if (call->request.stream) {
    co_await stream_answer(context, x, meta, route);
  } else {
    co_await collect_answer(context, x, meta, route);
  }
  ticket->settle(x.record.usage.input + x.record.usage.output);
}

Task<void> serve_count_tokens(InferenceContext& context, Exchange& x) {
  const auto read = [&]() -> Result<InferenceCall> {
    GENESIS_TRY(auto made, parse_anthropic_request(x.request.body, AnthropicRoute::kCountTokens));
    GENESIS_TRY_VOID(complete(context, x, made));
    return made;
  };
  const auto call = read();
  if (!call) {
    co_await send_error(x, call.error());
    co_return;
  }
  Result<std::optional<std::int64_t>> counted;
  if (context.ports.count_tokens) {
    counted = co_await context.ports.count_tokens(call->request);
  }
  if (!counted) {
    co_await send_error(x, shown_error(counted.error()));
    co_return;
  }
  JsonWriter w;
  w.begin_object();
  w.field("input_tokens", counted->value_or(estimated_tokens(*call->request.input)));
  w.end_object();
  x.record.status = 200;
  net::Headers headers = response_headers(x, "application/json");
  headers.add("x-genesis-token-count", *counted ? "exact" : "estimate");
  (void)co_await x.response.send(200, headers, w.str());
}

}  // namespace genesis::server
