// Handing the calls of a statement to its engine.
#include "store/statement.h"

#include "store/connection.h"

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

Statement& Statement::bind(int index, std::int64_t value) {
  state_->bind_integer(index, value);
  return *this;
}

Statement& Statement::bind(int index, std::string_view value) {
  state_->bind_text(index, value);
  return *this;
}

Statement& Statement::bind(int index, std::optional<std::int64_t> value) {
  return value ? bind(index, *value) : bind_null(index);
}

Statement& Statement::bind_blob(int index, std::span<const std::uint8_t> value) {
  state_->bind_blob(index, value);
  return *this;
}

Statement& Statement::bind_null(int index) {
  state_->bind_null(index);
  return *this;
}

Result<bool> Statement::step() {
  return state_->step();
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
  state_->reset();
}

ColumnType Statement::type(int column) const {
  return state_->type(column);
}

std::int64_t Statement::integer(int column) const {
  return state_->integer(column);
}

std::string_view Statement::text(int column) const {
  return state_->text(column);
}

std::span<const std::uint8_t> Statement::blob(int column) const {
  return state_->blob(column);
}

Result<Statement> Transaction::prepare(std::string_view sql) {
  return connection_.prepare(sql);
}

}  // namespace genesis::store
