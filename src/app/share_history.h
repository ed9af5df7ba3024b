// The commercial share cap of the configuration in force, with what the ledger says was dispatched
// before this process began.
#pragma once

#include "app/config.h"
#include "base/clock.h"
#include "base/result.h"
#include "router/share_cap.h"
#include "store/database.h"

#include <memory>

namespace genesis::app {

// `previous` goes on where its options are the same. Null: there is no cap.
Result<std::shared_ptr<router::ShareCap>> make_share_cap(
    const Config& config,
    const std::shared_ptr<router::ShareCap>& previous,
    const store::Database& database,
    const Clock& clock);

}  // namespace genesis::app
