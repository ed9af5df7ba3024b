// The price file that ships inside the program. Private to the room.
#pragma once

#include <string_view>

namespace genesis::ledger {

// List prices in USD as published on or before 2025-11-04; format: price_table.h.
std::string_view default_prices_json();

}  // namespace genesis::ledger
