// explain: what was decided and done for one request, from its trace and its ledger rows.
#pragma once

#include "base/result.h"
#include "store/database.h"

#include <string>
#include <string_view>

namespace genesis::app {

// {"request_id": ..., "trace": {...} or null, "ledger": [...], "cost_nano": ...}. `asked` is our
// request id (the response's x-request-id) or an answer's id made from it; "last" or empty means
// the newest request that has a trace. kNotFound: neither a trace nor a row has that id.
Result<std::string> explain_json(const store::Database& database, std::string_view asked);

// The same for people; `json` is what explain_json() gave.
Result<std::string> explain_text(std::string_view json);

}  // namespace genesis::app
