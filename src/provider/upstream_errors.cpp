#include "provider/upstream_errors.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace genesis::provider {

namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

// An upstream's sentence longer than this is a page, not a message.
constexpr std::size_t kMaxMessage = 2'000;

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) {
    return {};
  }
  if (value->is_string()) {
    return std::string(value->get_string()).substr(0, kMaxMessage);
  }
  return value->is_number() ? json::serialize(*value) : std::string();
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::any_of(words, [&](std::string_view word) { return text.contains(word); });
}

// OpenAI and vLLM name it in `code`; older servers only in the sentence.
bool is_context_length(const UpstreamError& told) {
  return told.code == "context_length_exceeded" || told.type == "context_length_exceeded" ||
         contains_any(told.message,
                      {"maximum context length",
                       "context_length_exceeded",
                       // TGI and TEI
                       "`inputs` tokens + `max_new_tokens` must be <=",
                       "`inputs` must have less than",
                       // Anthropic
                       "prompt is too long",
                       "exceed context limit"});
}

bool is_content_policy(const UpstreamError& told) {
  return contains_any(told.code, {"content_policy", "content_filter"}) ||
         contains_any(told.type, {"content_policy", "content_filter"});
}

std::string said(const UpstreamError& told) {
  return told.message.empty() ? std::string("it gave no reason") : told.message;
}

// 400, 413 and 422: another endpoint would say the same, but for what only this one cannot do.
Error refusal(int status, const UpstreamError& told, std::string_view endpoint) {
  Error error;
  if (status == 404 || told.code == "model_not_found") {
    // The client asked for a route of ours; the wrong name or address stands in our configuration.
    error.code = ErrorCode::kUpstream;
    error.message = fmt::format("endpoint '{}' does not know its model: {}", endpoint, said(told));
    error.hint = "check the endpoint's `model` and `url` in genesis.toml";
    return error;
  }
  if (told.message.contains("credit balance is too low")) {
    // Anthropic calls it an invalid request, but the account is ours.
    error.code = ErrorCode::kUpstream;
    error.message = fmt::format("endpoint '{}': {}", endpoint, told.message);
    error.hint = "top up the account of the endpoint's `api_key`";
    return error;
  }
  error.code = is_context_length(told)      ? ErrorCode::kContextLength
               : told.code == "unsupported" ? ErrorCode::kUnsupported
                                            : ErrorCode::kInvalidArgument;
  error.message = said(told);
  error.param = told.param;
  error.type = is_content_policy(told) && !told.code.empty() ? told.code : told.type;
  return error;
}

Error of_code(ErrorCode code, std::string message, const UpstreamError& told) {
  Error error;
  error.code = code;
  error.message = std::move(message);
  error.type = told.type;
  return error;
}

Error error_for_status(int status,
                       const std::optional<UpstreamError>& found,
                       std::string_view endpoint) {
  const UpstreamError told = found.value_or(UpstreamError{});
  const auto sentence = [&](std::string_view what) {
    return fmt::format("endpoint '{}' {} (status {}){}{}",
                       endpoint,
                       what,
                       status,
                       told.message.empty() ? "" : ": ",
                       told.message);
  };
  const bool refused = status == 400 || status == 413 || status == 422 || status == 404;
  if (refused && found) {
    return refusal(status, told, endpoint);
  }
  if (refused && status != 404) {
    return of_code(ErrorCode::kInvalidArgument, sentence("refused the request"), told);
  }
  if (status == 401 || status == 403) {
    // The upstream's own sentence may repeat a part of our key.
    Error error =
        of_code(ErrorCode::kUpstream,
                fmt::format("endpoint '{}' refused our credentials (status {})", endpoint, status),
                told);
    error.hint = "check the endpoint's `api_key` in genesis.toml";
    return error;
  }
  if (status == 408) {
    return of_code(ErrorCode::kTimeout, sentence("timed out"), told);
  }
  if (status == 429) {
    return of_code(ErrorCode::kRateLimited, sentence("limits our rate"), told);
  }
  if (status >= 500) {
    return of_code(ErrorCode::kUnavailable, sentence("is unavailable"), told);
  }
  Error error = of_code(ErrorCode::kUpstream, sentence("answered with an unexpected status"), told);
  error.hint = "check that the endpoint's `url` is the OpenAI base URL, with its /v1";
  return error;
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

std::optional<int> parse_int(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// "Sun, 06 Nov 1994 08:49:37 GMT": the only form that is still sent (RFC 9110 section 5.6.7).
std::optional<std::int64_t> parse_http_date_ms(std::string_view text) {
  constexpr std::array<std::string_view, 12> kMonths = {
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (text.size() != 29 || !text.ends_with(" GMT") || text[3] != ',' || text[19] != ':' ||
      text[22] != ':') {
    return std::nullopt;
  }
  const auto month = std::ranges::find(kMonths, text.substr(8, 3));
  const auto day = parse_int(text.substr(5, 2));
  const auto year = parse_int(text.substr(12, 4));
  const auto hour = parse_int(text.substr(17, 2));
  const auto minute = parse_int(text.substr(20, 2));
  const auto second = parse_int(text.substr(23, 2));
  if (month == kMonths.end() || !day || !year || !hour || !minute || !second) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{
      std::chrono::year(*year),
      std::chrono::month(static_cast<unsigned>(month - kMonths.begin()) + 1),
      std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) {
    return std::nullopt;
  }
  const auto time = std::chrono::sys_days(date) + std::chrono::hours(*hour) +
                    std::chrono::minutes(*minute) + std::chrono::seconds(*second);
  return std::chrono::duration_cast<milliseconds>(time.time_since_epoch()).count();
}

// "2025-01-31T08:49:37Z", with or without a fraction (RFC 3339, in UTC only, as Anthropic sends
// it).
std::optional<std::int64_t> parse_utc_ms(std::string_view text) {
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
      text[16] != ':' || text.back() != 'Z') {
    return std::nullopt;
  }
  const auto year = parse_int(text.substr(0, 4));
  const auto month = parse_int(text.substr(5, 2));
  const auto day = parse_int(text.substr(8, 2));
  const auto hour = parse_int(text.substr(11, 2));
  const auto minute = parse_int(text.substr(14, 2));
  const auto second = parse_int(text.substr(17, 2));
  if (!year || !month || !day || !hour || !minute || !second) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) {
    return std::nullopt;
  }
  const auto time = std::chrono::sys_days(date) + std::chrono::hours(*hour) +
                    std::chrono::minutes(*minute) + std::chrono::seconds(*second);
  return std::chrono::duration_cast<milliseconds>(time.time_since_epoch()).count();
}

milliseconds bounded(double ms) {
  const double most = milliseconds(kMaxRetryAfter).count();
  return milliseconds(static_cast<std::int64_t>(std::clamp(ms, 0.0, most)));
}

// When every limit that is used up will be free again.
std::optional<milliseconds> parse_anthropic_reset(const net::Headers& headers,
                                                  std::int64_t now_unix_ms) {
  std::optional<milliseconds> longest;
  for (const std::string_view limit : {"requests", "tokens", "input-tokens", "output-tokens"}) {
    const auto left = headers.get(fmt::format("anthropic-ratelimit-{}-remaining", limit));
    const auto reset = headers.get(fmt::format("anthropic-ratelimit-{}-reset", limit));
    const auto at = left == "0" && reset ? parse_utc_ms(*reset) : std::nullopt;
    if (at) {
      const milliseconds wait = bounded(static_cast<double>(*at - now_unix_ms));
      longest = std::max(longest.value_or(wait), wait);
    }
  }
  return longest;
}

}  // namespace

std::optional<UpstreamError> find_upstream_error(const json::object& body) {
  const json::value* inner = body.if_contains("error");
  if (inner != nullptr && inner->is_object()) {
    const json::object& object = inner->get_object();
    return UpstreamError{.message = text_of(object, "message"),
                         .type = text_of(object, "type"),
                         .code = text_of(object, "code"),
                         .param = text_of(object, "param")};
  }
  if (inner != nullptr && inner->is_string()) {
    const std::string type = text_of(body, "error_type");
    return UpstreamError{.message = text_of(body, "error"), .type = type, .code = {}, .param = {}};
  }
  if (text_of(body, "object") == "error") {
    return UpstreamError{.message = text_of(body, "message"),
                         .type = text_of(body, "type"),
                         .code = text_of(body, "code"),
                         .param = text_of(body, "param")};
  }
  return std::nullopt;
}

Error error_from_response(int status,
                          const net::Headers& headers,
                          std::string_view body,
                          std::string_view endpoint,
                          std::int64_t now_unix_ms) {
  std::optional<UpstreamError> told;
  if (const auto parsed = parse_json(body); parsed && parsed->is_object()) {
    told = find_upstream_error(parsed->get_object());
  }
  Error error = error_for_status(status, told, endpoint);
  error.upstream_status = status;
  if (error.retryable()) {
    error.retry_after = parse_retry_after(headers, now_unix_ms);
  }
  return error;
}

Error error_in_stream(const UpstreamError& told, std::string_view endpoint) {
  // OpenRouter and vLLM put the HTTP status into `code`.
  if (const auto status = parse_int(told.code); status && *status >= 400 && *status < 600) {
    Error error = error_for_status(*status, told, endpoint);
    error.upstream_status = *status;
    return error;
  }
  if (is_context_length(told) || is_content_policy(told) || told.type == "invalid_request_error" ||
      told.type == "validation") {
    return refusal(0, told, endpoint);
  }
  const bool limited =
      contains_any(told.type, {"rate_limit"}) || contains_any(told.code, {"rate_limit"});
  const bool unavailable = contains_any(told.type, {"overloaded", "unavailable", "server_error"});
  const ErrorCode code = limited       ? ErrorCode::kRateLimited
                         : unavailable ? ErrorCode::kUnavailable
                                       : ErrorCode::kUpstream;
  return of_code(
      code, fmt::format("endpoint '{}' reported an error: {}", endpoint, said(told)), told);
}

std::optional<milliseconds> parse_retry_after(const net::Headers& headers,
                                              std::int64_t now_unix_ms) {
  if (const auto text = headers.get("retry-after-ms")) {
    if (const auto ms = parse_number(*text)) {
      return bounded(*ms);
    }
  }
  const auto text = headers.get("Retry-After");
  if (!text) {
    return parse_anthropic_reset(headers, now_unix_ms);
  }
  if (const auto seconds = parse_number(*text)) {
    return bounded(*seconds * 1000.0);
  }
  if (const auto date = parse_http_date_ms(*text)) {
    return bounded(static_cast<double>(*date - now_unix_ms));
  }
  return std::nullopt;
}

void redact(std::string& text, std::string_view secret) {
  if (secret.empty()) {
    return;
  }
  for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
    text.replace(at, secret.size(), "***");
    at += 3;
  }
}

}  // namespace genesis::provider
