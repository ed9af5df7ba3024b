// The statement cache that all engines share.
#include "store/connection.h"

#include <utility>

namespace genesis::store {

namespace {

// More texts than any room has; a cache that fills up means SQL is being built at run time.
constexpr std::size_t kMaxCachedStatements = 256;

}  // namespace

Result<Statement> Connection::prepare(std::string_view sql) {
  if (auto found = cache_.find(sql); found != cache_.end()) {
    std::unique_ptr<PreparedState> state = std::move(found->second);
    cache_.erase(found);
    return Statement(*this, std::move(state));
  }
  GENESIS_TRY(auto state, make(sql));
  state->sql = sql;
  return Statement(*this, std::move(state));
}

void Connection::give_back(std::unique_ptr<PreparedState> state) {
  state->clear();
  if (cache_.size() < kMaxCachedStatements) {
    cache_.try_emplace(state->sql, std::move(state));
  }
}

Result<void> Connection::run(std::string_view sql) {
  GENESIS_TRY(Statement statement, prepare(sql));
  return statement.run();
}

Result<std::int64_t> Connection::query_integer(std::string_view sql) {
  GENESIS_TRY(Statement statement, prepare(sql));
  GENESIS_TRY(const bool row, statement.step());
  if (!row) {
    return fail(ErrorCode::kNotFound, "the database has no such row");
  }
  return statement.integer(0);
}

}  // namespace genesis::store
