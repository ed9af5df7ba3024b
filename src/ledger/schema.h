// The ledger's tables.
#pragma once

#include "base/result.h"
#include "store/database.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace genesis::ledger {

// Give it to store::Database::open().
store::Schema schema();

// A number of the table ledger_state by its name; nullopt when there is none.
Result<std::optional<std::int64_t>> read_state(store::Transaction& tx, std::string_view name);

}  // namespace genesis::ledger
