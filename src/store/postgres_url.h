// What a PostgreSQL connection URL may be shown as.
#pragma once

#include "base/result.h"

#include <string>

namespace genesis::store {

// Host, port, user, database and further options, never a password; kConfig when the URL cannot be
// read, in words that do not repeat it.
Result<std::string> shown_postgres_url(const std::string& url);

// Whether the URL itself holds a password.
Result<bool> has_password(const std::string& url);

}  // namespace genesis::store
