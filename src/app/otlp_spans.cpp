#include "app/otlp_spans.h"

#include "base/json.h"
#include "base/trace_context.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <unistd.h>

namespace genesis::app {

namespace {

// Numbers of opentelemetry/proto/trace/v1/trace.proto.
constexpr std::int64_t kSpanServer = 2;
constexpr std::int64_t kSpanClient = 3;
constexpr std::int64_t kStatusOk = 1;
constexpr std::int64_t kStatusError = 2;

constexpr std::int64_t kNanoPerMilli = 1'000'000;

void attribute(JsonWriter& w, std::string_view key, std::string_view value) {
  if (value.empty()) {
    return;
  }
  w.begin_object();
  w.field("key", key);
  w.key("value");
  w.begin_object();
  w.field("stringValue", value);
  w.end_object();
  w.end_object();
}

// 64-bit integers are strings in proto3's JSON.
void attribute(JsonWriter& w, std::string_view key, std::int64_t value) {
  w.begin_object();
  w.field("key", key);
  w.key("value");
  w.begin_object();
  w.field("intValue", fmt::format("{}", value));
  w.end_object();
  w.end_object();
}

std::string_view kind_name(AttemptKind kind) {
  switch (kind) {
    case AttemptKind::kFirst:
      return "first";
    case AttemptKind::kRetry:
      return "retry";
    case AttemptKind::kFallback:
      return "fallback";
    case AttemptKind::kHedge:
      return "hedge";
    case AttemptKind::kRescue:
      return "rescue";
  }
  return "first";
}

std::string_view operation(Dialect dialect) {
  if (is_embed(dialect)) {
    return "embeddings";
  }
  return is_chat(dialect) ? "chat" : "text_completion";
}

bool delivered(std::string_view outcome) {
  return outcome == "delivered";
}

// Where a span stands.
struct Place {
  std::string trace_id;
  std::string span_id;
  std::string parent_id;
  std::int64_t start_ms = 0;  // unix
  std::int64_t end_ms = 0;
};

void begin_span(JsonWriter& w, const Place& place, std::string_view name, std::int64_t kind) {
  w.begin_object();
  w.field("traceId", place.trace_id);
  w.field("spanId", place.span_id);
  if (!place.parent_id.empty()) {
    w.field("parentSpanId", place.parent_id);
  }
  w.field("name", name);
  w.field("kind", kind);
  w.field("startTimeUnixNano", fmt::format("{}", place.start_ms * kNanoPerMilli));
  w.field("endTimeUnixNano", fmt::format("{}", place.end_ms * kNanoPerMilli));
}

void end_span(JsonWriter& w, std::string_view outcome, std::string_view message) {
  w.key("status");
  w.begin_object();
  w.field("code", delivered(outcome) ? kStatusOk : kStatusError);
  if (!delivered(outcome)) {
    w.field("message", message.empty() ? outcome : message);
  }
  w.end_object();
  w.end_object();
}

void write_usage(JsonWriter& w, const Usage& usage) {
  attribute(w, "gen_ai.usage.input_tokens", usage.input);
  attribute(w, "gen_ai.usage.output_tokens", usage.output);
  if (usage.cached_input > 0) {
    attribute(w, "gen_ai.usage.cache_read.input_tokens", usage.cached_input);
  }
}

const AttemptRecord* delivering(const RequestTrace& trace) {
  for (const AttemptRecord& attempt : trace.attempts) {
    if (delivered(attempt.outcome)) {
      return &attempt;
    }
  }
  return nullptr;
}

void write_request(JsonWriter& w, const RequestTrace& trace, const Place& place) {
  const RouteFeatures& asked = trace.features;
  const std::string_view name = operation(asked.dialect);
  begin_span(w, place, fmt::format("{} {}", name, asked.route), kSpanServer);
  w.key("attributes");
  w.begin_array();
  attribute(w, "gen_ai.operation.name", name);
  attribute(w, "gen_ai.request.model", asked.route);
  if (const AttemptRecord* answer = delivering(trace)) {
    attribute(w, "gen_ai.response.model", answer->model);
    write_usage(w, answer->usage);
  }
  attribute(w, "gen_ai.conversation.id", asked.caller.session);
  attribute(w, "gen_ai.agent.name", asked.caller.agent);
  attribute(w, "genesis.request_id", asked.request_id);
  attribute(w, "genesis.tenant", asked.tenant);
  attribute(w, "genesis.key_id", asked.key_id);
  attribute(w, "genesis.team", asked.caller.team);
  attribute(w, "genesis.policy", trace.plan.policy);
  attribute(w, "genesis.endpoint", trace.served_by);
  attribute(w, "genesis.attempts", std::int64_t{std::ssize(trace.attempts)});
  if (!delivered(trace.outcome)) {
    attribute(w, "error.type", trace.outcome);
  }
  w.end_array();
  end_span(w, trace.outcome, "");
}

void write_attempt(JsonWriter& w,
                   const RequestTrace& trace,
                   const AttemptRecord& attempt,
                   const Place& place) {
  const std::string_view name = operation(trace.features.dialect);
  begin_span(w, place, fmt::format("{} {}", name, attempt.model), kSpanClient);
  w.key("attributes");
  w.begin_array();
  attribute(w, "gen_ai.operation.name", name);
  attribute(w, "gen_ai.request.model", attempt.model);
  if (delivered(attempt.outcome)) {
    write_usage(w, attempt.usage);
  } else {
    attribute(w, "error.type", attempt.outcome);
  }
  attribute(w, "genesis.endpoint", attempt.endpoint);
  attribute(w, "genesis.tier", tier_name(attempt.tier));
  attribute(w, "genesis.attempt", std::int64_t{attempt.attempt});
  attribute(w, "genesis.attempt.kind", kind_name(attempt.kind));
  w.end_array();
  if (attempt.first_token_ms >= 0) {
    w.key("events");
    w.begin_array();
    w.begin_object();
    w.field("timeUnixNano",
            fmt::format("{}", (trace.unix_ms + attempt.first_token_ms) * kNanoPerMilli));
    w.field("name", "first_token");
    w.end_object();
    w.end_array();
  }
  end_span(w, attempt.outcome, attempt.message);
}

}  // namespace

std::string otlp_spans(const RequestTrace& trace) {
  const auto context = parse_traceparent(trace.traceparent);
  const std::string& id = trace.features.request_id;
  const std::string root = span_id_of(id, 0);
  const bool has_parent = context && context->span_id != root;
  const Place request{.trace_id = context ? context->trace_id : trace_id_of(id),
                      .span_id = root,
                      .parent_id = has_parent ? context->span_id : "",
                      .start_ms = trace.unix_ms,
                      .end_ms = trace.unix_ms + trace.total_ms};
  JsonWriter writer;
  write_request(writer, trace, request);
  std::string out = writer.take();
  for (const AttemptRecord& attempt : trace.attempts) {
    const std::int64_t end = attempt.ended_ms >= 0 ? attempt.ended_ms : trace.total_ms;
    JsonWriter one;
    write_attempt(one,
                  trace,
                  attempt,
                  {.trace_id = request.trace_id,
                   .span_id = span_id_of(id, attempt.attempt),
                   .parent_id = root,
                   .start_ms = trace.unix_ms + attempt.started_ms,
                   .end_ms = trace.unix_ms + end});
    out += ",";
    out += one.take();
  }
  return out;
}

std::string otlp_body(const std::vector<std::string>& spans, std::string_view version) {
  JsonWriter resource;
  resource.begin_array();
  attribute(resource, "service.name", "genesis");
  attribute(resource, "service.version", version);
  attribute(resource, "service.instance.id", fmt::format("{}", ::getpid()));
  resource.end_array();
  std::string body = R"({"resourceSpans":[{"resource":{"attributes":)" + resource.take();
  body += R"(},"scopeSpans":[{"scope":{"name":"genesis"},"spans":[)";
  for (std::size_t i = 0; i < spans.size(); ++i) {
    body += i == 0 ? "" : ",";
    body += spans[i];
  }
  return body + "]}]}]}";
}

bool is_sampled(const RequestTrace& trace, double ratio) {
  const std::string& id = trace.features.request_id;
  const auto context = parse_traceparent(trace.traceparent);
  if (context && context->span_id != span_id_of(id, 0)) {
    return context->sampled;
  }
  // The last 32 bits of a trace id are as good as random (W3C trace context, section 3.4).
  const std::string trace_id = context ? context->trace_id : trace_id_of(id);
  std::uint32_t draw = 0;
  std::from_chars(trace_id.data() + 24, trace_id.data() + 32, draw, 16);
  return static_cast<double>(draw) < ratio * 4294967296.0;
}

}  // namespace genesis::app
