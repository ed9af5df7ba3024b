#include "server/exchange.h"

namespace genesis::server {

std::string header_safe(std::string_view value) {
  std::string safe;
  safe.reserve(value.size());
  for (const char c : value) {
    safe.push_back(c > ' ' && c < '\x7f' ? c : '_');
  }
  return safe;
}

net::Headers response_headers(const Exchange& x, std::string_view content_type) {
  net::Headers headers;
  headers.add("Content-Type", content_type);
  headers.add("x-request-id", x.record.id);
  if (x.wire == Wire::kAnthropic) {
    headers.add("request-id", x.record.id);  // where Anthropic's clients look for it
  }
  headers.add("Cache-Control", "no-store");
  headers.add("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : x.rate.all()) {
    headers.add(name, value);
  }
  return headers;
}

void add_served_headers(const ServedBy& served, net::Headers& headers) {
  headers.add("x-genesis-model", header_safe(served.model));
  headers.add("x-genesis-tier", tier_name(served.tier));
  headers.add("x-genesis-endpoint", header_safe(served.endpoint));
}

void add_bill_headers(const Bill& bill, net::Headers& headers) {
  if (const auto cost = bill.cost()) {
    headers.add("x-genesis-cost-usd", format_usd(*cost));
  }
  if (const auto saved = bill.saved()) {
    headers.add("x-genesis-saved-usd", format_usd(*saved));
  }
}

Task<void> send_json(Exchange& x, int status, std::string_view body) {
  x.record.status = status;
  const net::Headers headers = response_headers(x, "application/json");
  (void)co_await x.response.send(status, headers, body);
}

net::EarlyAnswer error_answer(Exchange& x, const Error& error, const net::Headers& extra) {
  x.record.status = error_status(error, x.wire);
  x.record.finish = error_code_name(error.code);
  net::EarlyAnswer answer{.status = x.record.status,
                          .headers = response_headers(x, "application/json"),
                          .body = error_body(error, x.wire, x.record.id)};
  for (const auto& [name, value] : extra.all()) {
    answer.headers.add(name, value);
  }
  add_error_headers(error, answer.headers);
  return answer;
}

Task<void> send_error(Exchange& x, const Error& error, net::Headers extra) {
  const net::EarlyAnswer answer = error_answer(x, error, extra);
  (void)co_await x.response.send(answer.status, answer.headers, answer.body);
}

}  // namespace genesis::server
