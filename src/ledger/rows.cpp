#include "ledger/rows.h"

#include "base/clock.h"
#include "base/json.h"
#include "ledger/csv.h"
#include "ledger/entry.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::ledger {

namespace {

LedgerRow to_row(const Entry& entry) {
  return {.seq = entry.seq,
          .unix_ms = entry.unix_ms,
          .kind = entry.kind,
          .request_id = entry.request_id,
          .attempt = entry.attempt,
          .tenant = entry.tenant,
          .key_id = entry.key_id,
          .route = entry.route,
          .endpoint = entry.endpoint,
          .tier = entry.tier,
          .model = entry.model,
          .usage = entry.usage(),
          .amount = entry.amount_nano,
          .price_id = entry.price_id,
          .baseline_model = entry.baseline_model,
          .baseline_price_id = entry.baseline_price_id,
          .baseline = entry.baseline_nano,
          .finish = entry.finish,
          .delivered = entry.delivered != 0,
          .first_token_ms = entry.first_token_ms,
          .total_ms = entry.total_ms,
          .note = entry.note,
          .team = entry.team,
          .agent = entry.agent,
          .disputed = entry.disputed,
          .hash = to_hex(entry.hash)};
}

void money_field(JsonWriter& writer, std::string_view name, const std::optional<NanoUsd>& amount) {
  if (amount) {
    writer.field(name, *amount);
  } else {
    writer.field_null(name);
  }
}

template <typename Bind>
Result<std::vector<LedgerRow>> select_rows(const store::Database& database,
                                           const std::string& sql,
                                           Bind bind) {
  std::vector<LedgerRow> rows;
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select, tx.prepare(sql));
    bind(select);
    while (true) {
      GENESIS_TRY(const bool more, select.step());
      if (!more) {
        return {};
      }
      GENESIS_TRY(const Entry entry, read_entry(select));
      rows.push_back(to_row(entry));
    }
  }));
  return rows;
}

}  // namespace

Result<std::vector<LedgerRow>> list_rows(const store::Database& database, const RowFilter& filter) {
  const std::string sql =
      fmt::format("SELECT {} FROM entries WHERE unix_ms >= ?1{} ORDER BY seq DESC LIMIT ?2",
                  entry_columns(),
                  filter.disputed ? " AND disputed <> ''" : "");
  GENESIS_TRY(
      auto rows, select_rows(database, sql, [&](store::Statement& select) {
        select.bind(1, filter.since_ms).bind(2, filter.limit > 0 ? filter.limit : INT64_MAX);
      }));
  std::ranges::reverse(rows);
  return rows;
}

Result<std::vector<LedgerRow>> rows_of_request(const store::Database& database,
                                               std::string_view request_id) {
  const std::string sql = fmt::format(
      "SELECT {} FROM entries WHERE request_id = ?1 ORDER BY seq LIMIT 1000", entry_columns());
  return select_rows(database, sql, [&](store::Statement& select) { select.bind(1, request_id); });
}

Result<void> for_each_row(const store::Database& database,
                          std::int64_t since_ms,
                          const std::function<Result<void>(const LedgerRow&)>& each) {
  const std::string sql =
      fmt::format("SELECT {} FROM entries WHERE unix_ms >= ?1 ORDER BY seq", entry_columns());
  return database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select, tx.prepare(sql));
    select.bind(1, since_ms);
    while (true) {
      GENESIS_TRY(const bool more, select.step());
      if (!more) {
        return {};
      }
      GENESIS_TRY(const Entry entry, read_entry(select));
      GENESIS_TRY_VOID(each(to_row(entry)));
    }
  });
}

std::string row_csv_header() {
  CsvWriter csv;
  for (const std::string_view column : {"seq",
                                        "time",
                                        "kind",
                                        "request_id",
                                        "attempt",
                                        "tenant",
                                        "key_id",
                                        "route",
                                        "endpoint",
                                        "tier",
                                        "model",
                                        "input",
                                        "cached_input",
                                        "cache_write",
                                        "output",
                                        "reasoning",
                                        "amount_nano_usd",
                                        "amount_usd",
                                        "price_id",
                                        "baseline_nano_usd",
                                        "baseline_usd",
                                        "baseline_model",
                                        "baseline_price_id",
                                        "finish",
                                        "delivered",
                                        "first_token_ms",
                                        "total_ms",
                                        "note",
                                        "team",
                                        "agent",
                                        "disputed",
                                        "hash"}) {
    csv.text(column);
  }
  csv.end_line();
  return csv.take();
}

std::string row_csv(const LedgerRow& row) {
  CsvWriter csv;
  const auto money = [&csv](const std::optional<NanoUsd>& amount) {
    csv.plain(amount ? std::to_string(*amount) : "");
    csv.plain(amount ? format_usd(*amount) : "");
  };
  csv.integer(row.seq);
  csv.text(format_rfc3339(row.unix_ms));
  csv.text(row.kind);
  csv.text(row.request_id);
  csv.integer(row.attempt);
  for (const std::string* name :
       {&row.tenant, &row.key_id, &row.route, &row.endpoint, &row.tier, &row.model}) {
    csv.text(*name);
  }
  for (const std::int64_t count : {row.usage.input,
                                   row.usage.cached_input,
                                   row.usage.cache_write,
                                   row.usage.output,
                                   row.usage.reasoning}) {
    csv.integer(count);
  }
  money(row.amount);
  csv.text(row.price_id);
  money(row.baseline);
  csv.text(row.baseline_model);
  csv.text(row.baseline_price_id);
  csv.text(row.finish);
  csv.integer(row.delivered ? 1 : 0);
  csv.integer(row.first_token_ms);
  csv.integer(row.total_ms);
  csv.text(row.note);
  csv.text(row.team);
  csv.text(row.agent);
  csv.text(row.disputed);
  csv.text(row.hash);
  csv.end_line();
  return csv.take();
}

std::string row_json(const LedgerRow& row) {
  JsonWriter writer;
  writer.begin_object();
  writer.field("seq", row.seq);
  writer.field("time", format_rfc3339(row.unix_ms));
  writer.field("kind", row.kind);
  writer.field("request_id", row.request_id);
  writer.field("attempt", row.attempt);
  writer.field("tenant", row.tenant);
  writer.field("key_id", row.key_id);
  writer.field("route", row.route);
  writer.field("endpoint", row.endpoint);
  writer.field("tier", row.tier);
  writer.field("model", row.model);
  writer.key("usage");
  writer.begin_object();
  writer.field("input", row.usage.input);
  writer.field("cached_input", row.usage.cached_input);
  writer.field("cache_write", row.usage.cache_write);
  writer.field("output", row.usage.output);
  writer.field("reasoning", row.usage.reasoning);
  writer.end_object();
  money_field(writer, "amount_nano", row.amount);
  writer.field("price_id", row.price_id);
  money_field(writer, "baseline_nano", row.baseline);
  writer.field("baseline_model", row.baseline_model);
  writer.field("baseline_price_id", row.baseline_price_id);
  writer.field("finish", row.finish);
  writer.field_bool("delivered", row.delivered);
  writer.field("first_token_ms", row.first_token_ms);
  writer.field("total_ms", row.total_ms);
  writer.field("note", row.note);
  writer.field("team", row.team);
  writer.field("agent", row.agent);
  if (row.disputed.empty()) {
    writer.field_null("disputed");
  } else {
    writer.key("disputed");
    writer.raw(row.disputed);
  }
  writer.field("hash", row.hash);
  writer.end_object();
  return writer.take();
}

}  // namespace genesis::ledger
