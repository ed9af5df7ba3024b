// The price table of a configuration: the compiled-in snapshot, then the operator's price file,
// then the prices written at endpoints.
#pragma once

#include "app/config.h"
#include "base/result.h"
#include "ledger/price_table.h"

#include <memory>

namespace genesis::app {

Result<std::shared_ptr<const ledger::PriceTable>> load_prices(const Config& config);

}  // namespace genesis::app
