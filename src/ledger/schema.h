// The ledger's tables.
#pragma once

#include "store/database.h"

namespace genesis::ledger {

// Give it to store::Database::open().
store::Schema schema();

}  // namespace genesis::ledger
