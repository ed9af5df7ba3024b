#include "app/attempt_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace genesis::app {

namespace {

// The buckets that the conventions ask for (opentelemetry.io, GenAI metrics): seconds and tokens.
std::vector<double> duration_bounds() {
  return {0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
}

std::vector<double> first_token_bounds() {
  return {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10};
}

std::vector<double> token_bounds() {
  return {1,
          4,
          16,
          64,
          256,
          1'024,
          4'096,
          16'384,
          65'536,
          262'144,
          1'048'576,
          4'194'304,
          16'777'216,
          67'108'864};
}

double seconds(std::int64_t ms) {
  return static_cast<double>(ms) / 1000.0;
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

}  // namespace

AttemptMetrics::AttemptMetrics(MetricsRegistry& metrics) : metrics_(metrics) {
  // There from the start, so that an alert on them is no alert on nothing.
  metrics_.counter("genesis_fallbacks_total",
                   "Requests answered by another endpoint than the first");
  metrics_.counter("genesis_answers_total",
                   "Requests by how they ended",
                   prometheus_label("outcome", "delivered"));
}

void AttemptMetrics::on_finished(const RequestTrace& trace) {
  metrics_
      .counter("genesis_answers_total",
               "Requests by how they ended",
               prometheus_label("outcome", trace.outcome))
      .add();
  for (const AttemptRecord& attempt : trace.attempts) {
    count_attempt(attempt);
  }
  const auto answer = std::ranges::find(trace.attempts, "delivered", &AttemptRecord::outcome);
  if (answer == trace.attempts.end()) {
    return;
  }
  if (answer->endpoint != trace.attempts.front().endpoint) {
    metrics_
        .counter("genesis_fallbacks_total", "Requests answered by another endpoint than the first")
        .add();
  }
  measure_answer(trace, *answer);
}

void AttemptMetrics::count_attempt(const AttemptRecord& attempt) {
  const std::string labels = fmt::format("{},{},{},{}",
                                         prometheus_label("endpoint", attempt.endpoint),
                                         prometheus_label("tier", tier_name(attempt.tier)),
                                         prometheus_label("kind", kind_name(attempt.kind)),
                                         prometheus_label("outcome", attempt.outcome));
  metrics_.counter("genesis_attempts_total", "Dispatches by endpoint, kind and outcome", labels)
      .add();
}

void AttemptMetrics::measure_answer(const RequestTrace& trace, const AttemptRecord& answer) {
  const std::string model = prometheus_label("gen_ai_response_model", answer.model);
  metrics_
      .histogram("gen_ai_server_request_duration_seconds",
                 "Seconds of a request, all attempts together",
                 duration_bounds(),
                 model)
      .observe(seconds(trace.total_ms));
  if (answer.first_token_ms >= 0) {
    metrics_
        .histogram("gen_ai_server_time_to_first_token_seconds",
                   "Seconds to the first token",
                   first_token_bounds(),
                   model)
        .observe(seconds(answer.first_token_ms));
  }
  const auto tokens = [&](std::string_view type, std::int64_t count) {
    metrics_
        .histogram("gen_ai_client_token_usage",
                   "Tokens of a request by type",
                   token_bounds(),
                   model + "," + prometheus_label("gen_ai_token_type", type))
        .observe(static_cast<double>(count));
  };
  tokens("input", answer.usage.input);
  tokens("output", answer.usage.output);
}

void AttemptMetrics::look_at(const EndpointSnapshot& endpoint) {
  const std::string labels = prometheus_label("endpoint", endpoint.name) + "," +
                             prometheus_label("tier", tier_name(endpoint.tier));
  const auto set = [&](std::string_view name, std::string_view help, double value) {
    metrics_.gauge(name, help, labels).set(value);
  };
  set("genesis_endpoint_usable", "1 while an endpoint takes work", endpoint.usable ? 1 : 0);
  set("genesis_endpoint_in_flight", "Attempts at an endpoint now", endpoint.in_flight);
  set("genesis_endpoint_failure_rate",
      "Moving average of failed attempts at an endpoint",
      endpoint.failure_rate);
  set("genesis_endpoint_ramp",
      "Share of its work that an endpoint gets after an ejection",
      endpoint.ramp);
}

}  // namespace genesis::app
