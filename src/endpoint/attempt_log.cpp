#include "endpoint/attempt_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace genesis::endpoint {

namespace {

// Refused by our own ledger, not by an upstream that says the same word.
bool unbooked(const Error& error) {
  return error.type == kLedgerUnavailable && error.upstream_status == 0;
}

}  // namespace

std::size_t AttemptLog::begin(AttemptKind kind,
                              std::uint32_t attempt,
                              const EndpointSnapshot& endpoint) {
  trace_.attempts.push_back({.attempt = attempt,
                             .kind = kind,
                             .endpoint = endpoint.name,
                             .model = endpoint.model,
                             .tier = endpoint.tier,
                             .started_ms = elapsed_ms()});
  return trace_.attempts.size() - 1;
}

void AttemptLog::first_token(std::size_t at) {
  if (trace_.attempts[at].first_token_ms < 0) {
    trace_.attempts[at].first_token_ms = elapsed_ms();
  }
}

void AttemptLog::end(std::size_t at, const Result<Usage>& result) {
  AttemptRecord& record = trace_.attempts[at];
  record.ended_ms = elapsed_ms();
  if (result) {
    record.outcome = "delivered";
    record.usage = *result;
    return;
  }
  record.outcome = error_code_name(result.error().code);
  record.message = result.error().message;
  failed_.emplace_back(record.endpoint, result.error());
}

void AttemptLog::called_off(std::size_t at, std::string outcome) {
  trace_.attempts[at].ended_ms = elapsed_ms();
  trace_.attempts[at].outcome = std::move(outcome);
}

Error AttemptLog::summary() const {
  if (failed_.size() == 1) {
    return failed_.front().second;
  }
  const auto is_full = [](const auto& attempt) {
    return attempt.second.code == ErrorCode::kRateLimited ||
           attempt.second.code == ErrorCode::kOverloaded;
  };
  const bool all_full = std::ranges::all_of(failed_, is_full);
  Error error;
  error.code = all_full ? ErrorCode::kOverloaded : ErrorCode::kUnavailable;
  error.type = all_full ? "" : "all_upstreams_unavailable";
  // The rest of the plan may have failed for its own reasons; this one is ours to mend.
  if (std::ranges::any_of(failed_, [](const auto& attempt) { return unbooked(attempt.second); })) {
    error.type = kLedgerUnavailable;
  }
  error.message = fmt::format("all {} attempts failed:", failed_.size());
  std::optional<std::chrono::milliseconds> soonest;
  for (const auto& [name, cause] : failed_) {
    error.message += fmt::format(" [{}] {};", name, cause.message);
    if (cause.retry_after && (!soonest || *cause.retry_after < *soonest)) {
      soonest = cause.retry_after;
    }
  }
  error.message.pop_back();
  error.hint = "try again, or add an endpoint to the route";
  error.retry_after = soonest.value_or(std::chrono::milliseconds(1'000));
  return error;
}

std::int64_t AttemptLog::elapsed_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_.steady() - start_).count();
}

}  // namespace genesis::endpoint
