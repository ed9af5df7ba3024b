// What the ring still holds and what the last process left open, at open; and what a tenant owes.
#include "base/log.h"
#include "ledger/booking.h"
#include "ledger/entry.h"
#include "ledger/intent_ring.h"
#include "ledger/money.h"
#include "ledger/sql_ledger.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace genesis::ledger {

namespace {

// Of `writer`, or of everybody.
Result<std::vector<Entry>> open_reservations(store::Transaction& tx,
                                             const std::optional<std::string>& writer) {
  // Everything up to the mark was settled by an earlier start, so a start reads only its last life.
  static const std::string sql = fmt::format(
      "SELECT {} FROM entries r WHERE r.kind = 'reserve'"
      " AND r.seq > (SELECT value FROM ledger_state WHERE name = 'recovered_through')"
      " AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.request_id = r.request_id"
      "                 AND e.attempt = r.attempt AND e.kind <> 'reserve')"
      " AND (?1 = 1 OR r.writer = ?2)"
      " ORDER BY r.seq",
      entry_columns());
  GENESIS_TRY(store::Statement select, tx.prepare(sql));
  select.bind(1, std::int64_t{writer ? 0 : 1}).bind(2, writer.value_or(""));
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

// One transaction's worth of rows, with the budgets they belong to.
template <typename F>
Result<void> with_booking(store::Transaction& tx, F&& work) {
  GENESIS_TRY(Appender rows, Appender::begin(tx));
  BudgetBook budgets;
  GENESIS_TRY_VOID(budgets.begin(tx));
  Booking booking{tx, rows, budgets};
  GENESIS_TRY_VOID(work(booking));
  GENESIS_TRY_VOID(budgets.finish(tx));
  return rows.finish();
}

Result<void> settle_open(Booking& booking, std::vector<Entry> open, std::int64_t now) {
  for (const Entry& reserve : open) {
    // Usage, amount and price stay those of the reservation: the upper bound.
    Intent intent{.entry = reserve, .held_ms = reserve.unix_ms, .held_nano = reserve.amount_nano};
    intent.entry.format = kEntryFormat;
    intent.entry.kind = kind::kUnconfirmed;
    intent.entry.unix_ms = now;
    intent.entry.finish = "crash";
    GENESIS_TRY_VOID(book(booking, intent));
  }
  return {};
}

// Up to the oldest attempt that somebody else may still have open.
Result<void> mark_settled(store::Transaction& tx) {
  GENESIS_TRY(const std::vector<Entry> open, open_reservations(tx, std::nullopt));
  GENESIS_TRY(store::Statement mark,
              tx.prepare("UPDATE ledger_state SET value ="
                         " (SELECT coalesce(max(seq), 0) FROM entries WHERE seq < ?1)"
                         " WHERE name = 'recovered_through'"));
  return mark.bind(1, open.empty() ? INT64_MAX : open.front().seq).run();
}

// Books everything that `writer`, or anybody, left open; returns how much that was.
Result<std::int64_t> settle(store::Transaction& tx,
                            const std::optional<std::string>& writer,
                            std::int64_t now) {
  GENESIS_TRY(std::vector<Entry> open, open_reservations(tx, writer));
  const std::int64_t count = std::ssize(open);
  GENESIS_TRY_VOID(with_booking(
      tx, [&](Booking& booking) { return settle_open(booking, std::move(open), now); }));
  return count;
}

Result<std::int64_t> settle_absent(const store::Database& database,
                                   store::Transaction& tx,
                                   std::int64_t now) {
  GENESIS_TRY(const std::vector<std::string> absent, database.absent_writers(tx));
  std::int64_t settled = 0;
  for (const std::string& writer : absent) {
    GENESIS_TRY(const std::int64_t count, settle(tx, writer, now));
    settled += count;
    GENESIS_TRY_VOID(database.forget_writer(tx, writer));
  }
  return settled;
}

// nullopt: the database has never seen this ring.
Result<std::optional<std::int64_t>> applied_position(store::Transaction& tx,
                                                     const std::string& writer) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT applied FROM ledger_writers WHERE writer = ?1"));
  GENESIS_TRY(const bool row, select.bind(1, writer).step());
  return row ? std::optional(select.integer(0)) : std::nullopt;
}

Result<void> register_writer(store::Transaction& tx, const std::string& writer, std::int64_t now) {
  GENESIS_TRY(store::Statement insert,
              tx.prepare("INSERT INTO ledger_writers(writer, applied, seen_ms) VALUES(?1, 0, ?2)"
                         " ON CONFLICT DO NOTHING"));
  return insert.bind(1, writer).bind(2, now).run();
}

Result<void> set_applied(store::Transaction& tx,
                         const std::string& writer,
                         std::uint64_t position,
                         std::int64_t now) {
  GENESIS_TRY(store::Statement mark,
              tx.prepare("UPDATE ledger_writers SET applied = ?2, seen_ms = ?3 WHERE writer = ?1"));
  return mark.bind(1, writer).bind(2, static_cast<std::int64_t>(position)).bind(3, now).run();
}

Result<void> apply_records(Booking& booking, const std::vector<RingRecord>& records) {
  for (const RingRecord& record : records) {
    const std::span<const std::uint8_t> bytes(
        reinterpret_cast<const std::uint8_t*>(record.bytes.data()), record.bytes.size());
    auto intent = decode_intent(bytes);
    auto booked = intent ? book_again(booking, *intent) : std::unexpected(intent.error());
    if (!booked && (!intent || booked.error().code == ErrorCode::kConflict)) {
      log(LogLevel::kError,
          "a record of the intent ring was not booked",
          {{"position", static_cast<std::int64_t>(record.position)},
           {"why", booked.error().message}});
    } else if (!booked) {
      return booked;
    }
  }
  return {};
}

void tell_settled(std::int64_t attempts) {
  if (attempts > 0) {
    log(LogLevel::kWarn,
        "attempts were in flight when their process ended: booked unconfirmed at their upper "
        "bound",
        {{"attempts", attempts}});
  }
}

}  // namespace

// A ring that this database has never seen holds another one's rows: it is set aside.
Result<std::unique_ptr<IntentRing>> SqlLedger::open_ring() {
  const std::uint64_t slots =
      options_.ring_slots != 0 ? options_.ring_slots : IntentRing::kDefaultSlots;
  GENESIS_TRY(auto ring, IntentRing::open(options_.ring, slots, options_.ring_sync));
  std::optional<std::int64_t> applied;
  GENESIS_TRY_VOID(database_.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(applied, applied_position(tx, ring->name()));
    return {};
  }));
  if (!applied && !ring->blank()) {
    ring.reset();
    GENESIS_TRY_VOID(IntentRing::set_aside(options_.ring, "it belongs to another database"));
    GENESIS_TRY(ring, IntentRing::open(options_.ring, slots, options_.ring_sync));
  }
  if (!applied) {
    GENESIS_TRY_VOID(database_.write_blocking([&](store::Transaction& tx) {
      return register_writer(tx, ring->name(), clock_.unix_ms());
    }));
  }
  return ring;
}

Result<void> SqlLedger::replay(IntentRing& ring) {
  std::optional<std::int64_t> applied;
  GENESIS_TRY_VOID(database_.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(applied, applied_position(tx, ring.name()));
    return {};
  }));
  const auto records =
      ring.read_after(static_cast<std::uint64_t>(std::max<std::int64_t>(applied.value_or(0), 0)));
  if (ring.lost_slots() > 0) {
    log(LogLevel::kError,
        "the intent ring has lost rows, as a power cut may do",
        {{"slots", static_cast<std::int64_t>(ring.lost_slots())}});
  }
  if (records.empty()) {
    return {};
  }
  GENESIS_TRY_VOID(database_.write_blocking([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY_VOID(
        with_booking(tx, [&](Booking& booking) { return apply_records(booking, records); }));
    return set_applied(tx, ring.name(), records.back().position, clock_.unix_ms());
  }));
  replayed_ = std::ssize(records);
  log(LogLevel::kInfo, "rows that only the intent ring held were booked", {{"rows", replayed_}});
  return {};
}

Result<void> SqlLedger::recover() {
  const std::int64_t now = clock_.unix_ms();
  GENESIS_TRY_VOID(database_.write_blocking([&](store::Transaction& tx) -> Result<void> {
    const bool alone = database_.writer().empty();
    GENESIS_TRY(const std::int64_t own,
                settle(tx, alone ? std::nullopt : std::optional(writer_), now));
    GENESIS_TRY(const std::int64_t others, settle_absent(database_, tx, now));
    recovered_ = own + others;
    return mark_settled(tx);
  }));
  tell_settled(recovered_);
  return {};
}

Task<Result<std::int64_t>> SqlLedger::settle_absent_writers() {
  auto settled = std::make_shared<std::int64_t>(0);
  GENESIS_CO_TRY_VOID(
      co_await database_.write([&database = database_, settled, now = clock_.unix_ms()](
                                   store::Transaction& tx) -> Result<void> {
        GENESIS_TRY(*settled, settle_absent(database, tx, now));
        return *settled > 0 ? mark_settled(tx) : Result<void>{};
      }));
  tell_settled(*settled);
  co_return *settled;
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
