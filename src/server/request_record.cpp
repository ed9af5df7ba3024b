#include "server/request_record.h"

#include "base/log.h"

#include <fmt/format.h>

#include <chrono>
#include <vector>

namespace genesis::server {

namespace {

double seconds(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double>(to - from).count();
}

std::int64_t milliseconds(SteadyTime from, SteadyTime to) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count();
}

// TGI's own buckets: from 0.1 ms, each 1.5 times the one before, up to about two minutes.
std::vector<double> duration_bounds() {
  std::vector<double> bounds;
  double bound = 0.0001;
  for (int i = 0; i < 35; ++i) {
    bounds.push_back(bound);
    bound *= 1.5;
  }
  return bounds;
}

// Powers of two up to the longest context in use.
std::vector<double> token_bounds() {
  std::vector<double> bounds;
  for (double bound = 1; bound <= 131'072; bound *= 2) {
    bounds.push_back(bound);
  }
  return bounds;
}

}  // namespace

RequestMetrics::RequestMetrics(MetricsRegistry& registry)
    : registry_(registry),
      count_(registry.counter("tgi_request_count", "Inference requests")),
      success_(registry.counter("tgi_request_success", "Inference requests answered in full")),
      duration_(registry.histogram("tgi_request_duration",
                                   "Seconds from the request to the end of its answer",
                                   duration_bounds())),
      validation_duration_(registry.histogram("tgi_request_validation_duration",
                                              "Seconds spent on parsing and checks",
                                              duration_bounds())),
      queue_duration_(registry.histogram("tgi_request_queue_duration",
                                         "Seconds from the checks to the start of the answer",
                                         duration_bounds())),
      inference_duration_(registry.histogram("tgi_request_inference_duration",
                                             "Seconds from the start to the end of the answer",
                                             duration_bounds())),
      time_per_token_(registry.histogram("tgi_request_mean_time_per_token_duration",
                                         "Seconds per generated token",
                                         duration_bounds())),
      generated_tokens_(registry.histogram(
          "tgi_request_generated_tokens", "Generated tokens per request", token_bounds())),
      input_length_(registry.histogram(
          "tgi_request_input_length", "Prompt tokens per request", token_bounds())),
      first_token_(registry.histogram("genesis_time_to_first_token_seconds",
                                      "Seconds from the request to the first token",
                                      duration_bounds())) {}

void RequestMetrics::finish(const RequestRecord& record, SteadyTime now) {
  const std::string labels = prometheus_label("route", record.route) + "," +
                             prometheus_label("status", fmt::format("{}", record.status));
  registry_.counter("genesis_requests_total", "Requests by route and status", labels).add();
  if (!record.inference) {
    return;
  }
  if (record.times.first_token) {
    first_token_.observe(seconds(record.started, *record.times.first_token));
  }
  if (record.status == 200 && record.times.begun) {
    observe_success(record, now);
  } else {
    const std::string reason = prometheus_label("err", record.finish);
    registry_.counter("tgi_request_failure", "Inference requests that failed", reason).add();
  }
}

void RequestMetrics::observe_success(const RequestRecord& record, SteadyTime now) {
  success_.add();
  const double inference = seconds(*record.times.begun, now);
  duration_.observe(seconds(record.started, now));
  validation_duration_.observe(seconds(record.started, record.parsed));
  queue_duration_.observe(seconds(record.parsed, *record.times.begun));
  inference_duration_.observe(inference);
  generated_tokens_.observe(static_cast<double>(record.usage.output));
  input_length_.observe(static_cast<double>(record.usage.input));
  if (record.usage.output > 0) {
    time_per_token_.observe(inference / static_cast<double>(record.usage.output));
  }
}

void log_request(const RequestRecord& record, SteadyTime now) {
  const LogLevel level =
      record.inference || record.status >= 400 ? LogLevel::kInfo : LogLevel::kDebug;
  if (!log_enabled(level)) {
    return;
  }
  const std::int64_t first_token_ms =
      record.times.first_token ? milliseconds(record.started, *record.times.first_token) : -1;
  const auto usd = [](std::optional<NanoUsd> amount) {
    return amount ? format_usd(*amount) : std::string();
  };
  const ServedBy served = record.served.value_or(ServedBy{});
  log(level,
      "request",
      {{"id", record.id},
       {"client_id", record.client_id},
       {"key", record.key_id},
       {"route", record.route},
       {"status", record.status},
       {"agent", record.caller.agent},
       {"task", record.caller.task},
       {"session", record.caller.session},
       {"traceparent", record.traceparent},
       {"model_asked", record.model_asked},
       {"model", served.model},
       {"tier", record.served ? tier_name(served.tier) : std::string_view()},
       {"endpoint", served.endpoint},
       {"tokens_in", record.usage.input},
       {"tokens_out", record.usage.output},
       {"cost_usd", record.bill ? usd(record.bill->cost()) : ""},
       {"saved_usd", record.bill ? usd(record.bill->saved()) : ""},
       {"ttft_ms", first_token_ms},
       {"total_ms", milliseconds(record.started, now)},
       {"finish", record.finish}});
}

}  // namespace genesis::server
