// store_state holds one version per component ("schema.<component>") and the commit counter.
#include "store/migrate.h"

#include "base/log.h"
#include "store/sqlite_connection.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace genesis::store {

namespace {

constexpr std::string_view kStateTable =
    "CREATE TABLE store_state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT INTO store_state VALUES('commits', 0);";

// "Gens": tells file(1) and other programs whose database this is.
constexpr std::string_view kApplicationId = "PRAGMA application_id = 1197829747;";

Result<bool> has_state_table(SqliteConnection& connection, const std::filesystem::path& path) {
  GENESIS_TRY(const std::int64_t tables,
              connection.query_integer("SELECT count(*) FROM sqlite_schema"));
  GENESIS_TRY(
      const std::int64_t ours,
      connection.query_integer("SELECT count(*) FROM sqlite_schema WHERE name = 'store_state'"));
  if (tables > 0 && ours == 0) {
    return fail_param(path.string(),
                      fmt::format("{} is an SQLite database of another program", path.string()),
                      ErrorCode::kConfig);
  }
  return ours > 0;
}

Result<void> back_up(SqliteConnection& connection,
                     const std::filesystem::path& path,
                     std::string_view component,
                     std::int64_t version) {
  const std::string backup = fmt::format("{}.{}.v{}.bak", path.string(), component, version);
  const std::string partial = backup + ".part";
  std::error_code ignored;
  std::filesystem::remove(partial, ignored);
  GENESIS_TRY(Statement copy, connection.prepare("VACUUM INTO ?1"));
  GENESIS_TRY_VOID(copy.bind(1, partial).run());
  const int fd = ::open(partial.c_str(), O_RDONLY | O_CLOEXEC);
  // As private as the database itself.
  const bool synced = fd >= 0 && ::fchmod(fd, 0600) == 0 && ::fsync(fd) == 0;
  if (fd >= 0) {
    ::close(fd);
  }
  std::error_code error;
  std::filesystem::rename(partial, backup, error);
  if (!synced || error) {
    return fail_param(backup, fmt::format("cannot write the backup {}", backup), ErrorCode::kIo);
  }
  log(LogLevel::kInfo, "database backed up before migrating", {{"file", backup}});
  return {};
}

Result<void> apply(SqliteConnection& connection, const Schema& schema, std::int64_t from) {
  for (std::size_t i = static_cast<std::size_t>(from); i < schema.migrations.size(); ++i) {
    GENESIS_TRY_VOID(connection.execute(schema.migrations[i]));
  }
  return note_version(connection, schema);
}

Result<void> apply_all(SqliteConnection& connection, bool fresh, std::span<const Schema> schemas) {
  if (fresh) {
    GENESIS_TRY_VOID(connection.execute(kApplicationId));
    GENESIS_TRY_VOID(connection.execute(kStateTable));
  }
  for (const Schema& schema : schemas) {
    GENESIS_TRY(const std::int64_t version, schema_version(connection, schema.component));
    if (version < std::ssize(schema.migrations)) {
      GENESIS_TRY_VOID(apply(connection, schema, version));
    }
  }
  return {};
}

}  // namespace

Result<std::int64_t> schema_version(Connection& connection, std::string_view component) {
  GENESIS_TRY(Statement get,
              connection.prepare("SELECT value FROM store_state WHERE name = 'schema.' || ?1"));
  GENESIS_TRY(const bool row, get.bind(1, component).step());
  return row ? get.integer(0) : 0;
}

Result<void> note_version(Connection& connection, const Schema& schema) {
  GENESIS_TRY(Statement set,
              connection.prepare("INSERT INTO store_state VALUES('schema.' || ?1, ?2)"
                                 " ON CONFLICT(name) DO UPDATE SET value = excluded.value"));
  return set.bind(1, schema.component)
      .bind(2, static_cast<std::int64_t>(schema.migrations.size()))
      .run();
}

std::unexpected<Error> too_new(std::string_view name, const Schema& schema, std::int64_t version) {
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("{} was written by a newer Genesis: '{}' is at version {}, this program knows {}",
                  name,
                  schema.component,
                  version,
                  schema.migrations.size()),
      "use the newer program, or restore the backup made before it");
}

Result<void> require_versions(Connection& connection,
                              std::string_view name,
                              std::span<const Schema> schemas) {
  for (const Schema& schema : schemas) {
    GENESIS_TRY(const std::int64_t version, schema_version(connection, schema.component));
    if (version > std::ssize(schema.migrations)) {
      return too_new(name, schema, version);
    }
    if (version < std::ssize(schema.migrations)) {
      return fail(ErrorCode::kConflict,
                  fmt::format("{} is from an older Genesis ('{}' at version {} of {})",
                              name,
                              schema.component,
                              version,
                              schema.migrations.size()),
                  "start `genesis serve` once: it brings the database up to date");
    }
  }
  return {};
}

Result<void> migrate(SqliteConnection& connection,
                     const std::filesystem::path& path,
                     std::span<const Schema> schemas) {
  GENESIS_TRY(const bool existed, has_state_table(connection, path));
  bool pending = !existed;
  bool backed_up = !existed;
  for (const Schema& schema : existed ? schemas : std::span<const Schema>{}) {
    GENESIS_TRY(const std::int64_t version, schema_version(connection, schema.component));
    if (version > std::ssize(schema.migrations)) {
      return too_new(path.string(), schema, version);
    }
    pending = pending || version < std::ssize(schema.migrations);
    if (version < std::ssize(schema.migrations) && !backed_up) {
      GENESIS_TRY_VOID(back_up(connection, path, schema.component, version));
      backed_up = true;
    }
  }
  if (!pending) {
    return {};
  }
  GENESIS_TRY_VOID(connection.execute("BEGIN IMMEDIATE"));
  auto applied = apply_all(connection, !existed, schemas);
  if (applied) {
    applied = connection.execute("COMMIT");
  }
  if (!applied && connection.in_transaction()) {
    [[maybe_unused]] const auto undone = connection.execute("ROLLBACK");
  }
  return applied;
}

Result<void> require_current(SqliteConnection& connection,
                             const std::filesystem::path& path,
                             std::span<const Schema> schemas) {
  GENESIS_TRY(const bool existed, has_state_table(connection, path));
  if (!existed) {
    return fail_param(
        path.string(), fmt::format("{} is empty", path.string()), ErrorCode::kNotFound);
  }
  return require_versions(connection, path.string(), schemas);
}

}  // namespace genesis::store
