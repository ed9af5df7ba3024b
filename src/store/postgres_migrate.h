// Bringing a PostgreSQL database to the version this program knows, or refusing it. Private to the
// room.
#pragma once

#include "base/result.h"
#include "store/database.h"

#include <span>
#include <string>

namespace genesis::store {

class PostgresConnection;

// Creates what is missing and migrates, in one transaction and one gateway at a time.
Result<void> migrate_postgres(PostgresConnection& connection,
                              const std::string& name,
                              std::span<const Schema> schemas);

// kNotFound: there is nothing of ours; otherwise as require_versions().
Result<void> require_current_postgres(PostgresConnection& connection,
                                      const std::string& name,
                                      std::span<const Schema> schemas);

}  // namespace genesis::store
