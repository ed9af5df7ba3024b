// entries: append-only. amount_nano is NULL when no price was known. prices: what each price_id
// meant. ledger_state: 'recovered_through', the last row looked at by crash recovery, and
// 'keys_version' and 'budgets_version', and 'rows'. api_keys: never the secret, only its HMAC.
// ledger_writers: how much of each intent ring has been booked. The index by attempt lets an
// attempt have one reserve and one end, whatever its kind. budget_counters: posted and unconfirmed
// (spent) and still open (held) of each window; budget.h tells how they follow from the rows.
#include "ledger/schema.h"

#include <array>

namespace genesis::ledger {

namespace {

constexpr std::array<std::string_view, 2> kMigrations = {R"sql(
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
)sql",
                                                         R"sql(
ALTER TABLE entries ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
ALTER TABLE entries ADD COLUMN writer TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN disputed TEXT NOT NULL DEFAULT '';
DROP INDEX entries_by_attempt;
CREATE UNIQUE INDEX entries_by_attempt ON entries(request_id, attempt, (kind = 'reserve'));
CREATE TABLE ledger_writers(
  writer TEXT PRIMARY KEY,
  applied INTEGER NOT NULL,
  seen_ms INTEGER NOT NULL);
CREATE TABLE budgets(
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  subject TEXT NOT NULL,
  per TEXT NOT NULL,
  limit_nano INTEGER NOT NULL,
  origin TEXT NOT NULL,
  from_ms INTEGER NOT NULL,
  created_ms INTEGER NOT NULL);
CREATE TABLE budget_counters(
  budget_id TEXT NOT NULL,
  window_ms INTEGER NOT NULL,
  spent_nano INTEGER NOT NULL,
  held_nano INTEGER NOT NULL,
  PRIMARY KEY(budget_id, window_ms));
INSERT INTO ledger_state VALUES('budgets_version', 0);
ALTER TABLE api_keys ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN requests_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN tokens_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN parallel INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN expires_ms INTEGER NOT NULL DEFAULT 0;
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
