// Where the ledger is: the file of `ledger.path`, or the server of `ledger.database_url`.
#pragma once

#include "app/config.h"
#include "app/home.h"
#include "base/result.h"
#include "store/database.h"

#include <string>

namespace genesis::app {

// To open the ledger's database with; the schema is there, the password read. An owner gets the
// name that this data folder keeps for it in the file writer-id, which is made if needed.
Result<store::DatabaseOptions> ledger_place(const Config& config,
                                            const Home& home,
                                            store::OpenMode mode);

// For messages: a path, or a URL without its password.
std::string ledger_name(const Config& config);

// kNotFound with a next step when there is no ledger yet; a server is not asked.
Result<void> require_ledger(const Config& config);

}  // namespace genesis::app
