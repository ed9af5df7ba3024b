// Crash recovery at open, and what a budget will ask.
#include "base/log.h"
#include "ledger/entry.h"
#include "ledger/money.h"
#include "ledger/sql_ledger.h"

#include <fmt/format.h>

#include <vector>

namespace genesis::ledger {

namespace {

Result<std::vector<Entry>> open_reservations(store::Transaction& tx) {
  // Everything up to the mark was settled by an earlier start, so a start reads only its last life.
  static const std::string sql = fmt::format(
      "SELECT {} FROM entries r WHERE r.kind = 'reserve'"
      " AND r.seq > (SELECT value FROM ledger_state WHERE name = 'recovered_through')"
      " AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.request_id = r.request_id"
      "                 AND e.attempt = r.attempt AND e.kind <> 'reserve')"
      " ORDER BY r.seq",
      entry_columns());
  GENESIS_TRY(store::Statement select, tx.prepare(sql));
  std::vector<Entry> entries;
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return entries;
    }
    GENESIS_TRY(Entry entry, read_entry(select));
    entries.push_back(std::move(entry));
  }
}

Result<std::int64_t> settle_open(store::Transaction& tx, std::int64_t now) {
  GENESIS_TRY(std::vector<Entry> open, open_reservations(tx));
  for (Entry& entry : open) {
    // Usage, amount and price stay those of the reservation: the upper bound.
    entry.kind = kind::kUnconfirmed;
    entry.unix_ms = now;
    entry.finish = "crash";
    GENESIS_TRY_VOID(append_entry(tx, entry));
  }
  GENESIS_TRY(store::Statement mark,
              tx.prepare("UPDATE ledger_state SET value ="
                         " (SELECT coalesce(max(seq), 0) FROM entries)"
                         " WHERE name = 'recovered_through'"));
  GENESIS_TRY_VOID(mark.run());
  return std::ssize(open);
}

}  // namespace

Result<void> SqlLedger::recover() {
  std::int64_t settled = 0;
  const std::int64_t now = clock_.unix_ms();
  GENESIS_TRY_VOID(database_.write_blocking([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(settled, settle_open(tx, now));
    return {};
  }));
  recovered_ = settled;
  if (settled > 0) {
    log(LogLevel::kWarn,
        "attempts were in flight when the last process ended: booked unconfirmed at their upper "
        "bound",
        {{"attempts", settled}});
  }
  return {};
}

Result<Exposure> exposure_of(const store::Database& database, const std::string& tenant) {
  Exposure exposure;
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select,
                tx.prepare("SELECT e.kind, coalesce(sum(e.amount_nano), 0) FROM entries e"
                           " WHERE e.tenant = ?1 AND (e.kind IN ('post', 'unconfirmed') OR"
                           "  (e.kind = 'reserve' AND NOT EXISTS (SELECT 1 FROM entries x"
                           "   WHERE x.request_id = e.request_id AND x.attempt = e.attempt"
                           "   AND x.kind <> 'reserve'))) GROUP BY e.kind"));
    select.bind(1, tenant);
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      const std::string_view kind = select.text(0);
      NanoUsd& sum = kind == kind::kPost          ? exposure.posted
                     : kind == kind::kUnconfirmed ? exposure.unconfirmed
                                                  : exposure.reserved;
      sum = select.integer(1);
    }
  }));
  return exposure;
}

}  // namespace genesis::ledger
