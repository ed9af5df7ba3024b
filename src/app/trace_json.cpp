#include "app/trace_json.h"

#include "base/clock.h"
#include "base/json.h"

namespace genesis::app {

namespace {

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

std::string_view dialect_name(Dialect dialect) {
  switch (dialect) {
    case Dialect::kOpenAiChat:
      return "openai_chat";
    case Dialect::kOpenAiCompletion:
      return "openai_completion";
    case Dialect::kTgi:
      return "tgi";
    case Dialect::kAnthropic:
      return "anthropic";
    case Dialect::kResponses:
      return "responses";
    case Dialect::kEmbeddings:
      return "embeddings";
    case Dialect::kTei:
      return "tei";
  }
  return "openai_chat";
}

void write_features(JsonWriter& w, const RouteFeatures& features) {
  w.field("route", features.route);
  w.field("tenant", features.tenant);
  w.field("key_id", features.key_id);
  w.field("team", features.caller.team);
  w.field("agent", features.caller.agent);
  w.field("task", features.caller.task);
  w.field("session", features.caller.session);
  w.field("dialect", dialect_name(features.dialect));
  w.field_bool("stream", features.stream);
  w.field_bool("has_tools", features.has_tools);
  w.field_bool("has_images", features.has_images);
  w.field("prompt_bytes", static_cast<std::int64_t>(features.prompt_bytes));
  w.field("input_tokens", features.input_tokens);
  w.field("output_tokens", features.output_tokens);
}

void write_alternative(JsonWriter& w, const Alternative& alternative) {
  w.begin_object();
  w.field("endpoint", alternative.endpoint);
  w.field("model", alternative.model);
  w.field("tier", tier_name(alternative.tier));
  w.field_bool("chosen", alternative.chosen);
  w.field("reason", alternative.reason);
  if (alternative.predicted_cost >= 0) {
    w.field("predicted_nano", alternative.predicted_cost);
  } else {
    w.field_null("predicted_nano");
  }
  w.field("predicted_first_token_ms",
          static_cast<std::int64_t>(alternative.predicted_first_token_ms));
  w.end_object();
}

void write_attempt(JsonWriter& w, const AttemptRecord& attempt) {
  w.begin_object();
  w.field("attempt", static_cast<std::int64_t>(attempt.attempt));
  w.field("kind", kind_name(attempt.kind));
  w.field("endpoint", attempt.endpoint);
  w.field("model", attempt.model);
  w.field("tier", tier_name(attempt.tier));
  w.field("started_ms", attempt.started_ms);
  w.field("first_token_ms", attempt.first_token_ms);
  w.field("ended_ms", attempt.ended_ms);
  w.field("outcome", attempt.outcome);
  w.field("message", attempt.message);
  w.field("input", attempt.usage.input);
  w.field("cached_input", attempt.usage.cached_input);
  w.field("output", attempt.usage.output);
  w.end_object();
}

}  // namespace

std::string trace_json(const RequestTrace& trace) {
  JsonWriter w;
  w.begin_object();
  w.field("request_id", trace.features.request_id);
  w.field("time", format_rfc3339(trace.unix_ms));
  w.field("outcome", trace.outcome);
  w.field("served_by", trace.served_by);
  w.field("total_ms", trace.total_ms);
  w.field("policy", trace.plan.policy);
  w.field("hedge_after_ms", static_cast<std::int64_t>(trace.plan.hedge_after.count()));
  w.field_bool("rescue", trace.plan.rescue);
  w.field("traceparent", trace.traceparent);
  write_features(w, trace.features);
  w.key("alternatives");
  w.begin_array();
  for (const Alternative& alternative : trace.plan.alternatives) {
    write_alternative(w, alternative);
  }
  w.end_array();
  w.key("attempts");
  w.begin_array();
  for (const AttemptRecord& attempt : trace.attempts) {
    write_attempt(w, attempt);
  }
  w.end_array();
  w.end_object();
  return w.take();
}

}  // namespace genesis::app
