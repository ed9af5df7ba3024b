// Bringing a database to the version this program knows, or refusing it.
#pragma once

#include "base/result.h"
#include "store/database.h"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <span>
#include <string_view>

namespace genesis::store {

class Connection;
class SqliteConnection;

// The parts that both engines share. `name` is the database's, for messages.
Result<std::int64_t> schema_version(Connection& connection, std::string_view component);
Result<void> note_version(Connection& connection, const Schema& schema);
std::unexpected<Error> too_new(std::string_view name, const Schema& schema, std::int64_t version);
// kUnsupported: newer than this program; kConflict: older.
Result<void> require_versions(Connection& connection,
                              std::string_view name,
                              std::span<const Schema> schemas);

// SQLite. Owner: creates what is missing and migrates, after a backup if the database existed.
Result<void> migrate(SqliteConnection& connection,
                     const std::filesystem::path& path,
                     std::span<const Schema> schemas);

// Everybody else: the database must be at exactly the known versions.
Result<void> require_current(SqliteConnection& connection,
                             const std::filesystem::path& path,
                             std::span<const Schema> schemas);

}  // namespace genesis::store
