// SqliteConnection: one SQLite connection. Private to the room; one thread at a time.
#pragma once

#include "base/result.h"
#include "store/connection.h"

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace genesis::store {

struct SqliteOptions {
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

class SqliteConnection final : public Connection {
 public:
  // Opens lazily: SQLite looks at the content only with the first statement.
  static Result<std::unique_ptr<SqliteConnection>> open(const SqliteOptions& options);

  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;
  ~SqliteConnection() override;

  Result<void> execute(std::string_view sql) override;

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

 private:
  explicit SqliteConnection(sqlite3* handle, std::string name)
      : handle_(handle), name_(std::move(name)) {}

  Result<std::unique_ptr<PreparedState>> make(std::string_view sql) override;

  sqlite3* handle_;
  std::string name_;
  int log_frames_ = 0;
};

// The settings of every writing connection: durable commits, no memory map, no checkpoint by
// itself.
Result<void> configure_writer(SqliteConnection& connection);

// SQLite's name for the log of a database.
std::filesystem::path log_path(const std::filesystem::path& database);

}  // namespace genesis::store
