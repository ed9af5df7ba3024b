// How an upstream's refusals become our errors: HTTP status, OpenAI error object, Retry-After.
// Pure.
#pragma once

#include "base/result.h"
#include "net/http.h"

#include <boost/json/fwd.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::provider {

// What an upstream said is wrong, from OpenAI's `{"error": {...}}` or the flat shapes of vLLM and
// TGI
// (`{"object": "error", "message": ...}`, `{"error": "...", "error_type": "..."}`).
struct UpstreamError {
  std::string message;
  std::string type;
  std::string code;
  std::string param;
};

// Nullopt when `body` is not an error object.
std::optional<UpstreamError> find_upstream_error(const boost::json::object& body);

// The error of a response with a status other than 2xx. `endpoint` names it in messages.
Error error_from_response(int status,
                          const net::Headers& headers,
                          std::string_view body,
                          std::string_view endpoint,
                          std::int64_t now_unix_ms);

// The error of an error object inside a 200 answer or an event stream.
Error error_in_stream(const UpstreamError& told, std::string_view endpoint);

// `retry-after-ms`, `Retry-After` in seconds or as an HTTP date (RFC 9110 section 10.2.3); at most
// kMaxRetryAfter, never negative. Without them the time when Anthropic's used-up limits
// (`anthropic-ratelimit-*-remaining: 0`) are reset.
std::optional<std::chrono::milliseconds> parse_retry_after(const net::Headers& headers,
                                                           std::int64_t now_unix_ms);

inline constexpr std::chrono::minutes kMaxRetryAfter{60};

// Shorter values of header fields are not taken for secrets.
inline constexpr std::size_t kMinSecretBytes = 8;

// Replaces every occurrence of `secret` in `text`, so that an upstream that repeats our key in its
// message does not put it into a log.
void redact(std::string& text, std::string_view secret);

}  // namespace genesis::provider
