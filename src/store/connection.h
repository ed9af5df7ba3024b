// Connection: one SQLite connection with its statement cache. Private to the room; one thread at a
// time.
#pragma once

#include "base/result.h"
#include "store/statement.h"

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace genesis::store {

struct PreparedState {
  std::string sql;
  sqlite3_stmt* stmt = nullptr;
  int bind_result = SQLITE_OK;

  PreparedState() = default;
  PreparedState(const PreparedState&) = delete;
  PreparedState& operator=(const PreparedState&) = delete;

  ~PreparedState() { sqlite3_finalize(stmt); }
};

struct ConnectionOptions {
  std::filesystem::path path;
  std::string vfs;
  bool read_only = false;
  bool create = false;
  bool immutable = false;  // the file alone, without its log
  std::chrono::milliseconds busy_timeout{5000};
};

struct CheckpointResult {
  bool complete = false;  // every page of the log is now in the file
  int frames = 0;         // in the log, as SQLite counts them
};

class Connection {
 public:
  // Opens lazily: SQLite looks at the content only with the first statement.
  static Result<std::unique_ptr<Connection>> open(const ConnectionOptions& options);

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  Result<Statement> prepare(std::string_view sql);
  // One statement without parameters or rows, prepared once: the writer's BEGIN, SAVEPOINT, COMMIT.
  Result<void> run(std::string_view sql);
  // Several statements without parameters or rows: migrations and pragmas.
  Result<void> execute(std::string_view sql);
  // The first column of the first row; kNotFound if there is none.
  Result<std::int64_t> query_integer(std::string_view sql);

  bool in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

  // Pages in the log after the last commit of this connection.
  int log_frames() const { return log_frames_; }

  void forget_log_frames() { log_frames_ = 0; }

  void set_busy_timeout(std::chrono::milliseconds timeout);
  void keep_log_on_close(bool keep);
  // mode: SQLITE_CHECKPOINT_*.
  Result<CheckpointResult> checkpoint(int mode);
  // Reads the database file itself through SQLite's descriptor: opening and closing another one
  // would drop this process's POSIX locks on it.
  Result<std::int64_t> file_size() const;
  Result<void> read_file(std::int64_t offset, std::span<std::uint8_t> out) const;

  Error error(int code, std::string_view doing) const;
  void give_back(std::unique_ptr<PreparedState> state);

 private:
  explicit Connection(sqlite3* handle, std::string name)
      : handle_(handle), name_(std::move(name)) {}

  sqlite3* handle_;
  std::string name_;
  int log_frames_ = 0;
  std::map<std::string, std::unique_ptr<PreparedState>, std::less<>> cache_;
};

// The settings of every writing connection: durable commits, no memory map, no checkpoint by
// itself.
Result<void> configure_writer(Connection& connection);

// SQLite's name for the log of a database.
std::filesystem::path log_path(const std::filesystem::path& database);

}  // namespace genesis::store
