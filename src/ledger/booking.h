// Booking: what one transaction on the writer thread works with, and how an intent becomes a row.
// Private to the room.
#pragma once

#include "base/result.h"
#include "ledger/appender.h"
#include "ledger/budget_book.h"
#include "ledger/intent.h"
#include "store/statement.h"

namespace genesis::ledger {

struct Booking {
  store::Transaction& tx;
  Appender& rows;
  BudgetBook& budgets;
};

// True when two reservations, or two ends, say the same.
bool same_reservation(const Entry& a, const Entry& b);
bool same_end(const Entry& a, const Entry& b);

// Appends the row, holds or settles budgets, keeps its prices. A row that is there already and says
// the same is success; one that says otherwise is kConflict, and the first one stands. The intent's
// time may be set forward (budget.h). An acknowledged reservation is let through whatever the
// budgets say by now.
Result<void> book(Booking& booking, Intent& intent, bool acknowledged = false);

// As book(), for a row that an earlier process left in its ring. Should a power cut have taken the
// reservation and left its end, the reservation is written again from what the end knows.
Result<void> book_again(Booking& booking, Intent& intent);

}  // namespace genesis::ledger
