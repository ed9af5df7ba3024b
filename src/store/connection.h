// Connection and PreparedState: what an engine must offer to stand behind Database, Statement and
// Transaction. Private to the room; one thread at a time.
#pragma once

#include "base/result.h"
#include "store/statement.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace genesis::store {

// One prepared statement of one engine; Statement says what the members mean.
class PreparedState {
 public:
  virtual ~PreparedState() = default;

  virtual void bind_integer(int index, std::int64_t value) = 0;
  virtual void bind_text(int index, std::string_view value) = 0;
  virtual void bind_blob(int index, std::span<const std::uint8_t> value) = 0;
  virtual void bind_null(int index) = 0;
  virtual Result<bool> step() = 0;
  virtual void reset() = 0;
  // As reset(), and no parameter is bound any more.
  virtual void clear() = 0;
  virtual ColumnType type(int column) const = 0;
  virtual std::int64_t integer(int column) const = 0;
  virtual std::string_view text(int column) const = 0;
  virtual std::span<const std::uint8_t> blob(int column) const = 0;

  std::string sql;
};

class Connection {
 public:
  virtual ~Connection() = default;

  Result<Statement> prepare(std::string_view sql);
  // One statement without parameters or rows, prepared once: the writer's BEGIN, SAVEPOINT, COMMIT.
  Result<void> run(std::string_view sql);
  // The first column of the first row; kNotFound if there is none.
  Result<std::int64_t> query_integer(std::string_view sql);
  // Several statements without parameters or rows: migrations and settings.
  virtual Result<void> execute(std::string_view sql) = 0;

  void give_back(std::unique_ptr<PreparedState> state);

 protected:
  virtual Result<std::unique_ptr<PreparedState>> make(std::string_view sql) = 0;

  // An engine that closes its handle must let go of the statements first.
  void drop_statements() { cache_.clear(); }

 private:
  std::map<std::string, std::unique_ptr<PreparedState>, std::less<>> cache_;
};

}  // namespace genesis::store
