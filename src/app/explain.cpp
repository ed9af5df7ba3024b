#include "app/explain.h"

#include "api/ledger.h"
#include "base/json.h"
#include "ledger/rows.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace genesis::app {

namespace {

namespace json = boost::json;

// "chatcmpl-01J..." and "req-01J..." are one request's.
std::string request_id_of(std::string_view asked) {
  const std::size_t dash = asked.find('-');
  return dash == std::string_view::npos ? std::string(asked)
                                        : fmt::format("req{}", asked.substr(dash));
}

struct StoredTrace {
  std::string request_id;
  std::string body;
};

Result<std::optional<StoredTrace>> find_trace(const store::Database& database,
                                              const std::string& request_id) {
  std::optional<StoredTrace> found;
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select,
                request_id.empty()
                    ? tx.prepare("SELECT request_id, body FROM traces"
                                 " ORDER BY unix_ms DESC, request_id DESC LIMIT 1")
                    : tx.prepare("SELECT request_id, body FROM traces WHERE request_id = ?1"));
    if (!request_id.empty()) {
      select.bind(1, request_id);
    }
    GENESIS_TRY(const bool more, select.step());
    if (more) {
      found = StoredTrace{.request_id = std::string(select.text(0)),
                          .body = std::string(select.text(1))};
    }
    return {};
  }));
  return found;
}

// What the rows say was paid; an attempt without a known price makes the sum unknown.
std::optional<NanoUsd> paid(const std::vector<ledger::LedgerRow>& rows) {
  NanoUsd sum = 0;
  for (const ledger::LedgerRow& row : rows) {
    if (row.kind == "quarantine") {
      return std::nullopt;
    }
    if (row.kind == "post" || row.kind == "unconfirmed") {
      sum += row.amount.value_or(0);
    }
  }
  return sum;
}

std::string text(const json::object& object, std::string_view key) {
  return get_string(object, key).value_or(std::nullopt).value_or("");
}

std::int64_t number(const json::object& object, std::string_view key, std::int64_t otherwise = 0) {
  return get_integer(object, key).value_or(std::nullopt).value_or(otherwise);
}

std::string money(const json::object& object, std::string_view key) {
  const auto amount = get_integer(object, key).value_or(std::nullopt);
  return amount ? format_usd(*amount) + " USD" : "price not known";
}

std::string milliseconds(std::int64_t ms) {
  return ms < 0 ? "-" : fmt::format("{} ms", ms);
}

std::string word(const std::string& value) {
  return value.empty() ? "-" : value;
}

std::vector<json::object> objects(const json::object& object, std::string_view key) {
  std::vector<json::object> out;
  const json::value* list = object.if_contains(key);
  for (const json::value& item :
       list != nullptr && list->is_array() ? list->get_array() : json::array{}) {
    if (item.is_object()) {
      out.push_back(item.get_object());
    }
  }
  return out;
}

void print_request(const json::object& trace, std::string& out) {
  out += fmt::format("request  {}  {}\n", text(trace, "request_id"), text(trace, "time"));
  out += fmt::format("asked    '{}' by key {}, tenant {}, team {}, agent {}, task {}, session {}\n",
                     text(trace, "route"),
                     word(text(trace, "key_id")),
                     word(text(trace, "tenant")),
                     word(text(trace, "team")),
                     word(text(trace, "agent")),
                     word(text(trace, "task")),
                     word(text(trace, "session")));
  const bool stream = get_bool(trace, "stream").value_or(std::nullopt).value_or(false);
  out += fmt::format("input    about {} tokens, at most {} out, {}{}\n",
                     number(trace, "input_tokens"),
                     number(trace, "output_tokens"),
                     text(trace, "dialect"),
                     stream ? ", streamed" : "");
  out += fmt::format("outcome  {} by {} after {}\n",
                     text(trace, "outcome"),
                     word(text(trace, "served_by")),
                     milliseconds(number(trace, "total_ms")));
}

void print_alternatives(const json::object& trace, std::string& out) {
  out += fmt::format("\nplan     policy {}\n", word(text(trace, "policy")));
  int place = 0;
  for (const json::object& each : objects(trace, "alternatives")) {
    const bool chosen = get_bool(each, "chosen").value_or(std::nullopt).value_or(false);
    out += fmt::format("  {}  {:<20} {:<12} {}, first token {}\n     {}\n",
                       chosen ? fmt::format("{}.", ++place) : "--",
                       text(each, "endpoint"),
                       text(each, "tier"),
                       money(each, "predicted_nano"),
                       number(each, "predicted_first_token_ms") == 0
                           ? "not measured yet"
                           : milliseconds(number(each, "predicted_first_token_ms")),
                       text(each, "reason"));
  }
}

// What the ledger says became of one attempt.
std::string booked(const json::object& root, std::int64_t attempt) {
  std::string out;
  for (const json::object& row : objects(root, "ledger")) {
    const std::string kind = text(row, "kind");
    if (number(row, "attempt") == attempt && kind != "reserve") {
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", kind, money(row, "amount_nano"));
    }
  }
  return out.empty() ? "nothing booked" : out;
}

void print_attempts(const json::object& root, const json::object& trace, std::string& out) {
  out += "\nattempts\n";
  for (const json::object& each : objects(trace, "attempts")) {
    const std::int64_t attempt = number(each, "attempt");
    out += fmt::format("  {}. {:<8} {:<20} {} from {} to {}, first token {}; {}\n",
                       attempt,
                       text(each, "kind"),
                       text(each, "endpoint"),
                       text(each, "outcome"),
                       milliseconds(number(each, "started_ms", -1)),
                       milliseconds(number(each, "ended_ms", -1)),
                       milliseconds(number(each, "first_token_ms", -1)),
                       booked(root, attempt));
    if (const std::string message = text(each, "message"); !message.empty()) {
      out += fmt::format("     {}\n", message);
    }
  }
}

}  // namespace

Result<std::string> explain_json(const store::Database& database, std::string_view asked) {
  std::string id = asked == "last" ? "" : request_id_of(asked);
  GENESIS_TRY(const auto trace, find_trace(database, id));
  if (trace) {
    id = trace->request_id;
  }
  GENESIS_TRY(
      const auto rows,
      id.empty() ? std::vector<ledger::LedgerRow>{} : ledger::rows_of_request(database, id));
  if (!trace && rows.empty()) {
    return fail(ErrorCode::kNotFound,
                id.empty() ? std::string("no request has been traced yet")
                           : fmt::format("no trace and no ledger row of the request '{}'", id),
                "the id is in the response header x-request-id; traces.max_requests and "
                "traces.max_age say how long traces are kept");
  }
  JsonWriter w;
  w.begin_object();
  w.field("request_id", id);
  w.field_raw("trace", trace ? trace->body : "null");
  w.key("ledger");
  w.begin_array();
  for (const ledger::LedgerRow& row : rows) {
    w.raw(ledger::row_json(row));
  }
  w.end_array();
  if (const auto cost = paid(rows)) {
    w.field("cost_nano", *cost);
  } else {
    w.field_null("cost_nano");
  }
  w.end_object();
  return w.take();
}

Result<std::string> explain_text(std::string_view explained) {
  GENESIS_TRY(const json::value root, parse_json(explained));
  const json::object& all = root.get_object();
  std::string out;
  const json::value* trace = all.if_contains("trace");
  if (trace != nullptr && trace->is_object()) {
    print_request(trace->get_object(), out);
    out += fmt::format("cost     {}\n", money(all, "cost_nano"));
    print_alternatives(trace->get_object(), out);
    print_attempts(all, trace->get_object(), out);
    return out;
  }
  out += fmt::format("request  {}\ncost     {}\n\nIts trace is not kept; the ledger has:\n",
                     text(all, "request_id"),
                     money(all, "cost_nano"));
  for (const json::object& row : objects(all, "ledger")) {
    out += fmt::format("  {}  attempt {}  {:<12} {}  {}\n",
                       text(row, "time"),
                       number(row, "attempt"),
                       text(row, "kind"),
                       text(row, "endpoint"),
                       money(row, "amount_nano"));
  }
  return out;
}

}  // namespace genesis::app
