// entries: append-only. amount_nano is NULL when no price was known. prices: what each price_id
// meant. ledger_state: 'recovered_through', the last row looked at by crash recovery, and
// 'keys_version'. api_keys: never the secret, only its HMAC.
#include "ledger/schema.h"

#include <array>

namespace genesis::ledger {

namespace {

constexpr std::array<std::string_view, 1> kMigrations = {R"sql(
CREATE TABLE entries(
  seq INTEGER PRIMARY KEY,
  unix_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  request_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  key_id TEXT NOT NULL,
  route TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  tier TEXT NOT NULL,
  model TEXT NOT NULL,
  input INTEGER NOT NULL,
  cached_input INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  output INTEGER NOT NULL,
  reasoning INTEGER NOT NULL,
  debit_account TEXT NOT NULL,
  credit_account TEXT NOT NULL,
  amount_nano INTEGER,
  price_id TEXT NOT NULL,
  baseline_model TEXT NOT NULL,
  baseline_nano INTEGER,
  baseline_price_id TEXT NOT NULL,
  finish TEXT NOT NULL,
  delivered INTEGER NOT NULL,
  first_token_ms INTEGER NOT NULL,
  total_ms INTEGER NOT NULL,
  note TEXT NOT NULL,
  prev_hash BLOB NOT NULL,
  hash BLOB NOT NULL,
  CHECK (debit_account <> credit_account),
  CHECK (amount_nano IS NULL OR amount_nano >= 0));
CREATE UNIQUE INDEX entries_by_attempt ON entries(request_id, attempt, kind);
CREATE INDEX entries_by_time ON entries(unix_ms);
CREATE TABLE prices(
  price_id TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  valid_from_ms INTEGER NOT NULL,
  valid_to_ms INTEGER NOT NULL,
  input INTEGER NOT NULL,
  cached_input INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  output INTEGER NOT NULL,
  reasoning INTEGER NOT NULL,
  source TEXT NOT NULL);
CREATE TABLE ledger_state(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO ledger_state VALUES('recovered_through', 0), ('keys_version', 0), ('rows', 0);
CREATE TABLE api_keys(
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  tenant TEXT NOT NULL,
  admin INTEGER NOT NULL,
  models TEXT NOT NULL,
  mac BLOB NOT NULL,
  created_ms INTEGER NOT NULL,
  revoked_ms INTEGER);
)sql"};

}  // namespace

store::Schema schema() {
  return {.component = "ledger", .migrations = kMigrations};
}

Result<std::optional<std::int64_t>> read_state(store::Transaction& tx, std::string_view name) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT value FROM ledger_state WHERE name = ?1"));
  GENESIS_TRY(const bool row, select.bind(1, name).step());
  return row ? std::optional(select.integer(0)) : std::nullopt;
}

}  // namespace genesis::ledger
