#include "ledger/booking.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::ledger {

namespace {

AttemptId attempt_of(const Entry& entry) {
  return {entry.request_id, static_cast<std::uint32_t>(entry.attempt)};
}

std::unexpected<Error> contradicts(const Entry& entry, const Entry& standing) {
  return fail(ErrorCode::kConflict,
              entry.kind == kind::kReserve
                  ? fmt::format("attempt {} of {} is reserved already, and differently",
                                entry.attempt,
                                entry.request_id)
                  : fmt::format("attempt {} of {} has already ended as '{}'",
                                entry.attempt,
                                entry.request_id,
                                standing.kind));
}

// What the row that stands in this one's place says to it.
Result<void> compare_with_standing(Booking& booking, const Entry& entry) {
  GENESIS_TRY(const std::vector<Entry> rows, attempt_entries(booking.tx, attempt_of(entry)));
  const bool reserve = entry.kind == kind::kReserve;
  const auto standing = std::ranges::find_if(
      rows, [&](const Entry& row) { return (row.kind == kind::kReserve) == reserve; });
  if (standing == rows.end()) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("the ledger has no room for a row of attempt {} of {}",
                            entry.attempt,
                            entry.request_id),
                "genesis ledger verify");
  }
  const bool same = reserve ? same_reservation(*standing, entry) : same_end(*standing, entry);
  return same ? Result<void>{} : contradicts(entry, *standing);
}

}  // namespace

bool same_reservation(const Entry& a, const Entry& b) {
  return a.tenant == b.tenant && a.key_id == b.key_id && a.route == b.route &&
         a.endpoint == b.endpoint && a.tier == b.tier && a.model == b.model && a.input == b.input &&
         a.output == b.output;
}

bool same_end(const Entry& a, const Entry& b) {
  const bool voided = a.kind == kind::kVoid;
  if (voided || b.kind == kind::kVoid) {
    return a.kind == b.kind;
  }
  return a.kind == b.kind && a.input == b.input && a.cached_input == b.cached_input &&
         a.cache_write == b.cache_write && a.output == b.output && a.reasoning == b.reasoning &&
         a.finish == b.finish && a.delivered == b.delivered;
}

Result<void> book(Booking& booking, Intent& intent, bool acknowledged) {
  Entry& entry = intent.entry;
  const bool reserve = entry.kind == kind::kReserve;
  if (reserve) {
    const auto admitted = booking.budgets.admit(booking.tx, entry);
    if (!admitted && (!acknowledged || admitted.error().code != ErrorCode::kBudgetExhausted)) {
      return admitted;
    }
  }
  for (const TokenPrice& price : intent.prices) {
    GENESIS_TRY_VOID(remember_price(booking.tx, price));
  }
  GENESIS_TRY(intent.fresh, booking.rows.append(entry));
  if (!intent.fresh) {
    return compare_with_standing(booking, entry);
  }
  return reserve ? booking.budgets.hold(booking.tx, entry)
                 : booking.budgets.settle(booking.tx, entry, intent.held_ms, intent.held_nano);
}

Result<void> book_again(Booking& booking, Intent& intent) {
  const Entry& entry = intent.entry;
  if (entry.kind == kind::kReserve) {
    // It was let through once: no budget may refuse it now.
    for (const TokenPrice& price : intent.prices) {
      GENESIS_TRY_VOID(remember_price(booking.tx, price));
    }
    GENESIS_TRY(const bool fresh, booking.rows.append(intent.entry));
    return fresh ? booking.budgets.hold(booking.tx, entry) : Result<void>{};
  }
  GENESIS_TRY(const std::vector<Entry> rows, attempt_entries(booking.tx, attempt_of(entry)));
  if (rows.empty()) {
    Intent reserve{.entry = entry, .prices = intent.prices};
    reserve.entry.kind = kind::kReserve;
    reserve.entry.unix_ms = intent.held_ms;
    reserve.entry.finish.clear();
    reserve.entry.delivered = 0;
    reserve.entry.baseline_nano.reset();
    reserve.entry.note = "rewritten after a power cut";
    if (entry.kind == kind::kVoid) {
      reserve.entry.amount_nano.reset();  // its bound is gone, and nothing was used
      intent.held_nano.reset();
    } else {
      intent.held_nano = reserve.entry.amount_nano;
    }
    GENESIS_TRY_VOID(book_again(booking, reserve));
  }
  return rows.size() > 1 ? Result<void>{} : book(booking, intent);
}

}  // namespace genesis::ledger
