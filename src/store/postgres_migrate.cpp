// The tables of the room itself, and the rooms' migrations in PostgreSQL's words.
#include "store/postgres_migrate.h"

#include "base/log.h"
#include "store/dialect.h"
#include "store/migrate.h"
#include "store/postgres_connection.h"

#include <fmt/format.h>

#include <array>

namespace genesis::store {

namespace {

// store_writers: one row for each that writes, see Database::writer(). `batch` is the number of its
// last commit, `seen` the server's time then. Rows that change all the time have room on their
// page.
constexpr std::string_view kOwnTables = R"sql(
CREATE TABLE store_state(
  name TEXT COLLATE "C" PRIMARY KEY,
  value BIGINT NOT NULL);
CREATE TABLE store_writers(
  id TEXT COLLATE "C" PRIMARY KEY,
  batch BIGINT NOT NULL,
  seen TIMESTAMPTZ NOT NULL) WITH (fillfactor = 20);
)sql";

// What a server must not have switched off if a commit is to survive a power cut.
constexpr std::array<std::string_view, 2> kDurability = {"fsync", "full_page_writes"};

Result<bool> has_own_tables(PostgresConnection& connection) {
  GENESIS_TRY(const std::int64_t tables,
              connection.query_integer("SELECT count(*) FROM pg_tables WHERE schemaname ="
                                       " current_schema() AND tablename = 'store_state'"));
  return tables > 0;
}

Result<void> apply(PostgresConnection& connection,
                   const std::string& name,
                   std::span<const Schema> schemas) {
  GENESIS_TRY(const bool existed, has_own_tables(connection));
  if (!existed) {
    GENESIS_TRY_VOID(connection.execute(kOwnTables));
  }
  for (const Schema& schema : schemas) {
    GENESIS_TRY(const std::int64_t version, schema_version(connection, schema.component));
    if (version > std::ssize(schema.migrations)) {
      return too_new(name, schema, version);
    }
    for (auto i = static_cast<std::size_t>(version); i < schema.migrations.size(); ++i) {
      GENESIS_TRY_VOID(connection.execute(postgres_migration(schema.migrations[i])));
    }
    if (version < std::ssize(schema.migrations)) {
      GENESIS_TRY_VOID(note_version(connection, schema));
    }
  }
  return {};
}

Result<void> warn_of_settings(PostgresConnection& connection) {
  GENESIS_TRY(Statement select,
              connection.prepare("SELECT setting FROM pg_settings WHERE name = ?1"));
  for (const std::string_view setting : kDurability) {
    select.reset();
    GENESIS_TRY(const bool row, select.bind(1, setting).step());
    if (row && select.text(0) == "off") {
      log(LogLevel::kWarn,
          "the database server may lose commits at a power cut: a setting is off",
          {{"setting", setting}});
    }
  }
  return {};
}

}  // namespace

Result<void> migrate_postgres(PostgresConnection& connection,
                              const std::string& name,
                              std::span<const Schema> schemas) {
  GENESIS_TRY_VOID(warn_of_settings(connection));
  GENESIS_TRY_VOID(connection.execute(
      "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('genesis.store ' || current_schema(),"
      " 0))"));
  auto applied = apply(connection, name, schemas);
  if (applied) {
    const auto outcome = connection.commit();
    if (outcome.state != PostgresConnection::Commit::kDone) {
      applied = std::unexpected(outcome.error);
    }
  }
  if (!applied) {
    [[maybe_unused]] const auto undone = connection.execute("ROLLBACK");
  }
  return applied;
}

Result<void> require_current_postgres(PostgresConnection& connection,
                                      const std::string& name,
                                      std::span<const Schema> schemas) {
  GENESIS_TRY(const bool there, has_own_tables(connection));
  if (!there) {
    return fail_param(
        name, fmt::format("there is nothing of Genesis in {} yet", name), ErrorCode::kNotFound);
  }
  return require_versions(connection, name, schemas);
}

}  // namespace genesis::store
