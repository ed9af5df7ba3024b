// One SQL text for two engines: rooms write it as SQLite takes it, these rules make it
// PostgreSQL's. docs/decisions/009-two-engines.md lists what such a text may use. Private to the
// room.
#pragma once

#include <string>
#include <string_view>

namespace genesis::store {

// ?1 becomes $1. Quoted text and comments stay as they are.
std::string postgres_query(std::string_view sql);

// For migrations, also: INTEGER becomes BIGINT, BLOB BYTEA, TEXT gets COLLATE "C" (SQLite compares
// bytes), WITHOUT ROWID goes; all of them in capitals only, so that a column may be called text.
std::string postgres_migration(std::string_view sql);

}  // namespace genesis::store
