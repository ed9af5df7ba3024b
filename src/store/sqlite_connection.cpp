// SQLite calls and their results as Errors.
#include "store/sqlite_connection.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::store {

namespace {

ErrorCode code_of(int result) {
  switch (result & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return ErrorCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::kUnavailable;
    case SQLITE_CONSTRAINT:
      return ErrorCode::kConflict;
    case SQLITE_TOOBIG:
      return ErrorCode::kPayloadTooLarge;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return ErrorCode::kIo;
    default:
      return ErrorCode::kInternal;
  }
}

std::string_view next_step(ErrorCode code) {
  switch (code) {
    case ErrorCode::kResourceExhausted:
      return "free disk space, then try again";
    case ErrorCode::kDataLoss:
      return "genesis ledger verify tells where; restore the file from a backup";
    case ErrorCode::kUnavailable:
      return "another program holds the database; stop it or try again";
    case ErrorCode::kIo:
      return "check the folder's permissions and the disk";
    default:
      return "";
  }
}

// "file:" URI of a path, so that immutable=1 can be said (https://sqlite.org/uri.html).
std::string uri_of(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '%' || c == '?' || c == '#') {
      uri += fmt::format("%{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

int note_log_frames(void* counter, sqlite3* /*handle*/, const char* /*name*/, int frames) {
  *static_cast<int*>(counter) = frames;
  return SQLITE_OK;
}

// Counting SQLite's own memory takes a global lock at each allocation, and nobody reads the count.
void configure_library_once() {
  static const int kConfigured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(kConfigured);
}

class SqliteStatement final : public PreparedState {
 public:
  explicit SqliteStatement(const SqliteConnection& home) : home_(home) {}

  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  ~SqliteStatement() override { sqlite3_finalize(stmt); }

  void bind_integer(int index, std::int64_t value) override {
    note(sqlite3_bind_int64(stmt, index, value));
  }

  void bind_text(int index, std::string_view value) override {
    // A null pointer would bind NULL, so an empty view gets a real address.
    const char* data = value.data() != nullptr ? value.data() : "";
    note(sqlite3_bind_text64(stmt, index, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  }

  void bind_blob(int index, std::span<const std::uint8_t> value) override {
    const void* data = value.empty() ? static_cast<const void*>("") : value.data();
    note(sqlite3_bind_blob64(stmt, index, data, value.size(), SQLITE_TRANSIENT));
  }

  void bind_null(int index) override { note(sqlite3_bind_null(stmt, index)); }

  Result<bool> step() override;

  void reset() override { sqlite3_reset(stmt); }

  void clear() override {
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    bind_result_ = SQLITE_OK;
  }

  ColumnType type(int column) const override;

  std::int64_t integer(int column) const override { return sqlite3_column_int64(stmt, column); }

  std::string_view text(int column) const override;
  std::span<const std::uint8_t> blob(int column) const override;

  sqlite3_stmt* stmt = nullptr;

 private:
  // A failed bind is told by the next step().
  void note(int result) {
    if (bind_result_ == SQLITE_OK) {
      bind_result_ = result;
    }
  }

  const SqliteConnection& home_;
  int bind_result_ = SQLITE_OK;
};

Result<bool> SqliteStatement::step() {
  if (bind_result_ != SQLITE_OK) {
    return std::unexpected(home_.error(bind_result_, "bind a value for"));
  }
  const int result = sqlite3_step(stmt);
  if (result == SQLITE_ROW) {
    return true;
  }
  if (result == SQLITE_DONE) {
    return false;
  }
  Error error = home_.error(result, "use");
  // A failed statement keeps its locks until reset.
  sqlite3_reset(stmt);
  return std::unexpected(std::move(error));
}

ColumnType SqliteStatement::type(int column) const {
  switch (sqlite3_column_type(stmt, column)) {
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

std::string_view SqliteStatement::text(int column) const {
  const auto* data = sqlite3_column_text(stmt, column);
  if (data == nullptr) {
    return {};
  }
  return {reinterpret_cast<const char*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(stmt, column))};
}

std::span<const std::uint8_t> SqliteStatement::blob(int column) const {
  const void* data = sqlite3_column_blob(stmt, column);
  if (data == nullptr) {
    return {};
  }
  return {static_cast<const std::uint8_t*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(stmt, column))};
}

}  // namespace

std::filesystem::path log_path(const std::filesystem::path& database) {
  return database.string() + "-wal";
}

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::open(const SqliteOptions& options) {
  configure_library_once();
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  flags |= options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  flags |= options.create ? SQLITE_OPEN_CREATE : 0;
  flags |= options.immutable ? SQLITE_OPEN_URI : 0;
  const std::string name = options.immutable ? uri_of(options.path) : options.path.string();
  sqlite3* handle = nullptr;
  const int result = sqlite3_open_v2(
      name.c_str(), &handle, flags, options.vfs.empty() ? nullptr : options.vfs.c_str());
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(handle, options.path.string()));
  if (result != SQLITE_OK) {
    return std::unexpected(connection->error(result, "open"));
  }
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
  connection->keep_log_on_close(true);
  connection->set_busy_timeout(options.busy_timeout);
  // Also takes the place of SQLite's own automatic checkpoint, which is a hook of this kind.
  sqlite3_wal_hook(handle, note_log_frames, &connection->log_frames_);
  return connection;
}

SqliteConnection::~SqliteConnection() {
  drop_statements();
  sqlite3_close_v2(handle_);
}

Error SqliteConnection::error(int code, std::string_view doing) const {
  Error error;
  error.code = code_of(code);
  error.message = fmt::format("cannot {} the database {}: {}",
                              doing,
                              name_,
                              handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code));
  error.hint = next_step(error.code);
  return error;
}

void SqliteConnection::set_busy_timeout(std::chrono::milliseconds timeout) {
  sqlite3_busy_timeout(handle_, static_cast<int>(timeout.count()));
}

void SqliteConnection::keep_log_on_close(bool keep) {
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep ? 1 : 0, nullptr);
}

Result<std::unique_ptr<PreparedState>> SqliteConnection::make(std::string_view sql) {
  auto state = std::make_unique<SqliteStatement>(*this);
  const char* tail = nullptr;
  const std::string text(sql);
  const int result = sqlite3_prepare_v3(handle_,
                                        text.c_str(),
                                        static_cast<int>(text.size()),
                                        SQLITE_PREPARE_PERSISTENT,
                                        &state->stmt,
                                        &tail);
  if (result != SQLITE_OK) {
    return std::unexpected(error(result, "read or prepare a statement of"));
  }
  if (state->stmt == nullptr || *tail != '\0') {
    return fail(ErrorCode::kInternal, "a prepared text must hold exactly one statement");
  }
  return state;
}

Result<void> SqliteConnection::execute(std::string_view sql) {
  const std::string text(sql);
  const int result = sqlite3_exec(handle_, text.c_str(), nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) {
    return std::unexpected(error(result, "change"));
  }
  return {};
}

Result<CheckpointResult> SqliteConnection::checkpoint(int mode) {
  int frames = 0;
  int moved = 0;
  const int result = sqlite3_wal_checkpoint_v2(handle_, "main", mode, &frames, &moved);
  if (result != SQLITE_OK && (result & 0xff) != SQLITE_BUSY) {
    return std::unexpected(error(result, "checkpoint"));
  }
  return CheckpointResult{.complete = result == SQLITE_OK && frames == moved, .frames = frames};
}

// temp_store: each job is a savepoint, for which SQLite keeps the pages that the job changes; past
// 64 KiB it would write them to a file, seven writes for each request of the gateway.
Result<void> configure_writer(SqliteConnection& connection) {
  GENESIS_TRY_VOID(
      connection.execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                         "PRAGMA temp_store = MEMORY;"
                         "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;"));
  GENESIS_TRY(Statement mode, connection.prepare("PRAGMA journal_mode = WAL"));
  GENESIS_TRY(const bool row, mode.step());
  if (!row || mode.text(0) != "wal") {
    return fail(ErrorCode::kIo,
                "the folder's file system cannot hold a write-ahead log (shared memory is missing)",
                "put the database on a local disk");
  }
  return {};
}

Result<std::int64_t> SqliteConnection::file_size() const {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(handle_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
  sqlite3_int64 size = 0;
  if (file == nullptr || file->pMethods == nullptr ||
      file->pMethods->xFileSize(file, &size) != SQLITE_OK) {
    return fail(ErrorCode::kIo, fmt::format("cannot read the size of {}", name_));
  }
  return size;
}

Result<void> SqliteConnection::read_file(std::int64_t offset, std::span<std::uint8_t> out) const {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(handle_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
  if (file == nullptr || file->pMethods == nullptr ||
      file->pMethods->xRead(file, out.data(), static_cast<int>(out.size()), offset) != SQLITE_OK) {
    return fail(ErrorCode::kIo,
                fmt::format("cannot read {} bytes at {} of {}", out.size(), offset, name_));
  }
  return {};
}

}  // namespace genesis::store
