// W3C trace context (www.w3.org/TR/trace-context): the `traceparent` field of a request, and the
// ids of our own spans, which follow from the request's id so that whoever needs one can make it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace genesis {

struct TraceContext {
  std::string trace_id;  // 32 lower-case hexadecimal digits, not all zero
  std::string span_id;   // 16 of the same: the sender's span
  bool sampled = false;

  std::string to_string() const;  // "00-<trace>-<span>-01"
};

// nullopt for anything that the standard does not allow.
std::optional<TraceContext> parse_traceparent(std::string_view text);

// For a request that came without a context.
std::string trace_id_of(std::string_view request_id);
// The span of a dispatch; attempt 0 is the request itself.
std::string span_id_of(std::string_view request_id, std::uint32_t attempt);

}  // namespace genesis
