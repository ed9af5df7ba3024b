// Entry: one row of the append-only table, its hash, and its way in and out of the database.
// Private to the room; schema.cpp says what the columns mean.
#pragma once

#include "api/chat.h"
#include "api/ledger.h"
#include "base/result.h"
#include "base/sha256.h"
#include "ledger/price_table.h"
#include "store/statement.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::ledger {

namespace kind {

inline constexpr std::string_view kReserve = "reserve";  // upper bound, before dispatch
inline constexpr std::string_view kPost = "post";        // what it cost
inline constexpr std::string_view kVoid = "void";        // it used nothing
inline constexpr std::string_view kUnconfirmed =
    "unconfirmed";                                             // died in flight: upper bound stays
inline constexpr std::string_view kQuarantine = "quarantine";  // used, but nobody knows the price
inline constexpr std::string_view kMachine = "machine";        // one started minute of a machine
inline constexpr std::string_view kPin = "pin";                // the baseline from here on: pins.h

}  // namespace kind

inline constexpr std::int64_t kEntryFormat = 2;

// What `hash` of the first row builds on.
Digest genesis_hash();

struct Entry {
  std::int64_t seq = 0;
  std::int64_t unix_ms = 0;
  std::string kind;
  std::string request_id;
  std::int64_t attempt = 0;
  std::string tenant;
  std::string key_id;
  std::string route;
  std::string endpoint;
  std::string tier;
  std::string model;
  std::int64_t input = 0;
  std::int64_t cached_input = 0;
  std::int64_t cache_write = 0;
  std::int64_t output = 0;
  std::int64_t reasoning = 0;
  std::string debit_account;
  std::string credit_account;
  std::optional<std::int64_t> amount_nano;  // nullopt: no price was known
  std::string price_id;
  std::string baseline_model;
  std::optional<std::int64_t> baseline_nano;  // nullopt: earns no baseline
  std::string baseline_price_id;
  std::string finish;
  std::int64_t delivered = 0;
  std::int64_t first_token_ms = -1;
  std::int64_t total_ms = 0;
  std::string note;
  Digest prev_hash{};
  Digest hash{};
  // 1: rows from before the columns below; their hash does not cover these.
  std::int64_t format = kEntryFormat;
  std::string writer;  // the process's intent ring: who may settle the attempt after a crash
  std::string team;
  std::string agent;
  std::string disputed;  // usage_json() of what the upstream said, when it is not what was booked

  Usage usage() const { return {input, cached_input, cache_write, output, reasoning}; }

  // What the baseline model is taken to have needed for the same answer: without the thinking of
  // another model, which it would not have done. Rows of format 1 counted that as well.
  Usage baseline_usage() const;

  void set_usage(const Usage& usage);
  // SHA-256(prev_hash || every other column, typed and length-prefixed).
  Digest compute_hash() const;
  // The pair of accounts that the amount moves between; a function of kind, tenant and endpoint.
  void set_accounts();
};

// Calls f(column) for every column but the hashes, in the order of the table and of the hash.
template <typename E, typename F>
void each_column(E& e, F&& f) {
  f(e.seq), f(e.unix_ms), f(e.kind), f(e.request_id), f(e.attempt), f(e.tenant), f(e.key_id);
  f(e.route), f(e.endpoint), f(e.tier), f(e.model), f(e.input), f(e.cached_input);
  f(e.cache_write), f(e.output), f(e.reasoning), f(e.debit_account), f(e.credit_account);
  f(e.amount_nano), f(e.price_id), f(e.baseline_model), f(e.baseline_nano);
  f(e.baseline_price_id), f(e.finish), f(e.delivered), f(e.first_token_ms), f(e.total_ms);
  f(e.note);
}

// The columns of format 2, which stand after the hashes in the table.
template <typename E, typename F>
void each_later_column(E& e, F&& f) {
  f(e.format), f(e.writer), f(e.team), f(e.agent), f(e.disputed);
}

// The column list of each_column(), the hashes, and each_later_column(): for SELECT and INSERT.
std::string_view entry_columns();

// Reads the row a "SELECT <entry_columns()>" stands on; kDataLoss if a column has a foreign type.
Result<Entry> read_entry(const store::Statement& row);

// {"input":1,"cached_input":0,"cache_write":0,"output":2,"reasoning":0}
std::string usage_json(const Usage& usage);

// Appends one row by itself, with its accounts, number and hashes; kConflict when its place is
// taken. For several rows: appender.h.
Result<void> append_entry(store::Transaction& tx, Entry& entry);

// All rows of one attempt, in order.
Result<std::vector<Entry>> attempt_entries(store::Transaction& tx, const AttemptId& id);

// Keeps the price behind a price_id in the database, so that amounts can be recomputed.
Result<void> remember_price(store::Transaction& tx, const TokenPrice& price);
Result<std::optional<TokenPrice>> recall_price(store::Transaction& tx, std::string_view id);

}  // namespace genesis::ledger
