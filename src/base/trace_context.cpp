#include "base/trace_context.h"

#include "base/sha256.h"

#include <algorithm>
#include <span>

namespace genesis {

namespace {

constexpr std::size_t kTraceDigits = 32;
constexpr std::size_t kSpanDigits = 16;
// "00-" trace "-" span "-" flags
constexpr std::size_t kSize = 3 + kTraceDigits + 1 + kSpanDigits + 1 + 2;

bool is_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_id(std::string_view text) {
  return is_hex(text) && std::ranges::any_of(text, [](char c) { return c != '0'; });
}

int digit(char c) {
  return c <= '9' ? c - '0' : c - 'a' + 10;
}

std::string hashed(const std::string& name, std::size_t digits) {
  const Digest digest = sha256(name);
  return to_hex(std::span(digest).first(digits / 2));
}

}  // namespace

std::string TraceContext::to_string() const {
  return "00-" + trace_id + "-" + span_id + (sampled ? "-01" : "-00");
}

std::optional<TraceContext> parse_traceparent(std::string_view text) {
  if (text.size() < kSize || !is_hex(text.substr(0, 2)) || text.starts_with("ff")) {
    return std::nullopt;
  }
  // Later versions may append fields; version 00 has none.
  if (text.size() > kSize && (text.starts_with("00") || text[kSize] != '-')) {
    return std::nullopt;
  }
  const std::string_view trace = text.substr(3, kTraceDigits);
  const std::string_view span = text.substr(3 + kTraceDigits + 1, kSpanDigits);
  const std::string_view flags = text.substr(kSize - 2, 2);
  const bool dashes = text[2] == '-' && text[3 + kTraceDigits] == '-' && text[kSize - 3] == '-';
  if (!dashes || !is_id(trace) || !is_id(span) || !is_hex(flags)) {
    return std::nullopt;
  }
  return TraceContext{.trace_id = std::string(trace),
                      .span_id = std::string(span),
                      .sampled = digit(flags[1]) % 2 == 1};
}

std::string trace_id_of(std::string_view request_id) {
  return hashed("trace/" + std::string(request_id), kTraceDigits);
}

std::string span_id_of(std::string_view request_id, std::uint32_t attempt) {
  return hashed("span/" + std::string(request_id) + "/" + std::to_string(attempt), kSpanDigits);
}

}  // namespace genesis
