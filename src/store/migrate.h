// Bringing a database to the version this program knows, or refusing it.
#pragma once

#include "base/result.h"
#include "store/database.h"

#include <filesystem>
#include <span>

namespace genesis::store {

class Connection;

// Owner: creates what is missing and migrates, after a backup if the database existed.
Result<void> migrate(Connection& connection,
                     const std::filesystem::path& path,
                     std::span<const Schema> schemas);

// Everybody else: the database must be at exactly the known versions.
Result<void> require_current(Connection& connection,
                             const std::filesystem::path& path,
                             std::span<const Schema> schemas);

}  // namespace genesis::store
