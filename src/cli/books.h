// Home, configuration and the ledger's database, opened as far as a verb needs. Private to the
// verbs about money.
#pragma once

#include "cli/verbs.h"
#include "store/database.h"

#include <cstdint>
#include <memory>
#include <string>

namespace genesis::cli {

struct Books {
  app::Home home;
  app::Config config;
  std::unique_ptr<store::Database> database;
};

// For reading there must be a ledger already.
Result<Books> open_books(const CommonOptions& common, store::OpenMode mode);

// "" = the beginning.
Result<std::int64_t> since_or_start(const std::string& since);

}  // namespace genesis::cli
