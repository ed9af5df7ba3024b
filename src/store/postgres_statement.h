// PostgresStatement: a statement prepared on the server, and the rows of its last run. Private to
// the room.
#pragma once

#include "store/connection.h"
#include "store/postgres_connection.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::store {

// Prepared at its first step, when the types of the parameters are known; with another mixture of
// NULLs and values it is prepared once more. All rows come at once, except where the connection
// reads in portions (PostgresOptions).
class PostgresStatement final : public PreparedState {
 public:
  PostgresStatement(PostgresConnection& home, std::string_view text);

  void bind_integer(int index, std::int64_t value) override;
  void bind_text(int index, std::string_view value) override;
  void bind_blob(int index, std::span<const std::uint8_t> value) override;
  void bind_null(int index) override;
  Result<bool> step() override;
  void reset() override;
  void clear() override;
  ColumnType type(int column) const override;
  std::int64_t integer(int column) const override;
  std::string_view text(int column) const override;
  std::span<const std::uint8_t> blob(int column) const override;

 private:
  struct Cell {
    ColumnType type = ColumnType::kNull;
    std::int64_t integer = 0;
    std::string_view bytes;
  };

  PostgresParameter& parameter(int index);
  Result<void> start();
  Result<void> open_cursor();
  Result<bool> next_portion();
  Result<void> read_row();

  PostgresConnection& home_;
  const std::string text_;
  const bool is_select_;
  std::vector<PostgresParameter> parameters_;
  std::optional<Error> bind_error_;
  std::map<std::string, std::string> names_;  // server-side name by the types of the parameters
  PostgresResult rows_;
  int next_ = 0;
  bool started_ = false;
  std::string cursor_;  // empty: all rows are here
  std::vector<Cell> cells_;
};

}  // namespace genesis::store
