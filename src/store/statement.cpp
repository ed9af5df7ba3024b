// Binding, stepping and reading columns.
#include "store/statement.h"

#include "store/connection.h"

#include <sqlite3.h>

#include <utility>

namespace genesis::store {

Statement::Statement(Connection& home, std::unique_ptr<PreparedState> state)
    : home_(&home), state_(std::move(state)) {}

Statement::Statement(Statement&& other) noexcept = default;

Statement& Statement::operator=(Statement&& other) noexcept {
  if (this != &other) {
    give_back();
    home_ = other.home_;
    state_ = std::move(other.state_);
  }
  return *this;
}

Statement::~Statement() {
  give_back();
}

void Statement::give_back() {
  if (state_) {
    home_->give_back(std::move(state_));
  }
}

namespace {

void note(PreparedState& state, int result) {
  if (state.bind_result == SQLITE_OK) {
    state.bind_result = result;
  }
}

}  // namespace

Statement& Statement::bind(int index, std::int64_t value) {
  note(*state_, sqlite3_bind_int64(state_->stmt, index, value));
  return *this;
}

Statement& Statement::bind(int index, std::string_view value) {
  // A null pointer would bind NULL, so an empty view gets a real address.
  const char* data = value.data() != nullptr ? value.data() : "";
  note(*state_,
       sqlite3_bind_text64(state_->stmt, index, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind(int index, std::optional<std::int64_t> value) {
  return value ? bind(index, *value) : bind_null(index);
}

Statement& Statement::bind_blob(int index, std::span<const std::uint8_t> value) {
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  note(*state_, sqlite3_bind_blob64(state_->stmt, index, data, value.size(), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind_null(int index) {
  note(*state_, sqlite3_bind_null(state_->stmt, index));
  return *this;
}

Result<bool> Statement::step() {
  if (state_->bind_result != SQLITE_OK) {
    return std::unexpected(home_->error(state_->bind_result, "bind a value for"));
  }
  const int result = sqlite3_step(state_->stmt);
  if (result == SQLITE_ROW) {
    return true;
  }
  if (result == SQLITE_DONE) {
    return false;
  }
  Error error = home_->error(result, "use");
  // A failed statement keeps its locks until reset.
  sqlite3_reset(state_->stmt);
  return std::unexpected(std::move(error));
}

Result<void> Statement::run() {
  while (true) {
    GENESIS_TRY(const bool row, step());
    if (!row) {
      break;
    }
  }
  reset();
  return {};
}

void Statement::reset() {
  sqlite3_reset(state_->stmt);
}

ColumnType Statement::type(int column) const {
  switch (sqlite3_column_type(state_->stmt, column)) {
    case SQLITE_INTEGER:
      return ColumnType::kInteger;
    case SQLITE_FLOAT:
      return ColumnType::kReal;
    case SQLITE_TEXT:
      return ColumnType::kText;
    case SQLITE_BLOB:
      return ColumnType::kBlob;
    default:
      return ColumnType::kNull;
  }
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(state_->stmt, column);
}

std::string_view Statement::text(int column) const {
  const auto* data = sqlite3_column_text(state_->stmt, column);
  if (data == nullptr) {
    return {};
  }
  return {reinterpret_cast<const char*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(state_->stmt, column))};
}

std::span<const std::uint8_t> Statement::blob(int column) const {
  const void* data = sqlite3_column_blob(state_->stmt, column);
  if (data == nullptr) {
    return {};
  }
  return {static_cast<const std::uint8_t*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(state_->stmt, column))};
}

Result<Statement> Transaction::prepare(std::string_view sql) {
  return connection_.prepare(sql);
}

}  // namespace genesis::store
