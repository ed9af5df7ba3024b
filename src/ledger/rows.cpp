#include "ledger/rows.h"

#include "base/clock.h"
#include "base/json.h"
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
          .baseline = entry.baseline_nano,
          .finish = entry.finish,
          .delivered = entry.delivered != 0,
          .first_token_ms = entry.first_token_ms,
          .total_ms = entry.total_ms,
          .note = entry.note,
          .team = entry.team,
          .agent = entry.agent,
          .disputed = entry.disputed};
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
  money_field(writer, "baseline_nano", row.baseline);
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
  writer.end_object();
  return writer.take();
}

}  // namespace genesis::ledger
