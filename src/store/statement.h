// SQL as the rooms see it: prepared statements inside a transaction. Nothing here names an engine:
// SQLite or PostgreSQL stands behind it. docs/decisions/009-two-engines.md says which SQL both
// take.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace genesis::store {

class Connection;
class PreparedState;

enum class ColumnType : std::uint8_t { kNull, kInteger, kReal, kText, kBlob };

// One prepared statement, borrowed from its connection's cache until destroyed; it must not outlive
// the Transaction it came from. Parameters are written ?1, ?2, ... and bound from 1; columns count
// from 0. A failed bind is remembered and returned by the next step(). One thread at a time.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // The bytes are copied.
  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, std::string_view value);
  Statement& bind(int index, std::optional<std::int64_t> value);
  Statement& bind_blob(int index, std::span<const std::uint8_t> value);
  Statement& bind_null(int index);

  // Moves to the next row; false when there is none.
  Result<bool> step();
  // Runs a statement that returns nothing, then resets it, so that it may be bound and run again.
  Result<void> run();
  void reset();

  ColumnType type(int column) const;
  std::int64_t integer(int column) const;
  // Valid until the next step(), reset() or destruction.
  std::string_view text(int column) const;
  std::span<const std::uint8_t> blob(int column) const;

 private:
  friend class Connection;
  Statement(Connection& home, std::unique_ptr<PreparedState> state);
  void give_back();

  Connection* home_;
  std::unique_ptr<PreparedState> state_;
};

// The running transaction of a writer, or the snapshot of a reader, where writing fails.
class Transaction {
 public:
  explicit Transaction(Connection& connection) : connection_(connection) {}

  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // `sql` is one statement, a constant of the program: it is cached by its text.
  Result<Statement> prepare(std::string_view sql);

 private:
  Connection& connection_;
};

}  // namespace genesis::store
