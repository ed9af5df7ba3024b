// SQLite behind Database: opening in one of the modes, and readers.
#include "base/log.h"
#include "store/backend.h"
#include "store/lock_file.h"
#include "store/migrate.h"
#include "store/page_check.h"
#include "store/seal.h"
#include "store/sqlite_connection.h"
#include "store/writer.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <mutex>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace genesis::store {

namespace {

constexpr std::size_t kMaxIdleReaders = 4;
constexpr int kOwnerTries = 10;
constexpr std::chrono::milliseconds kOwnerPause{50};

// Readers are kept open for the next read.
class SqliteBackend final : public Backend {
 public:
  explicit SqliteBackend(DatabaseOptions wanted) : options(std::move(wanted)) {}

  ~SqliteBackend() override {
    // Readers first, so that the owner is the last to close and may remove the log.
    idle_readers.clear();
    writer.reset();
  }

  Result<void> open();
  void submit(Job job) override;
  Result<void> read(const Database::Work& work) const override;
  Result<void> checkpoint() override;

  bool is_owner() const override { return owner; }

  DatabaseStats stats() const override { return writer ? writer->stats() : DatabaseStats{}; }

 private:
  DatabaseOptions options;
  bool owner = false;
  std::unique_ptr<LockFile> owner_lock;
  std::unique_ptr<Writer> writer;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<SqliteConnection>> idle_readers;

  SqliteOptions connection_options(bool read_only) const {
    return {.path = options.path,
            .vfs = options.vfs,
            .read_only = read_only,
            .busy_timeout = options.busy_timeout};
  }

  Result<std::unique_ptr<SqliteConnection>> take_reader() const {
    {
      const std::lock_guard lock(mutex);
      if (!idle_readers.empty()) {
        auto reader = std::move(idle_readers.back());
        idle_readers.pop_back();
        return reader;
      }
    }
    return SqliteConnection::open(connection_options(true));
  }

  void give_back(std::unique_ptr<SqliteConnection> reader) const {
    const std::lock_guard lock(mutex);
    if (idle_readers.size() < kMaxIdleReaders) {
      idle_readers.push_back(std::move(reader));
    }
  }

  Result<void> take_ownership();
  Result<void> open_writer();
  Result<void> prepare_owner(SqliteConnection& connection);
  Result<void> check_before_use(SqliteConnection& connection);
};

Result<void> SqliteBackend::take_ownership() {
  if (options.mode != OpenMode::kOwner && options.mode != OpenMode::kOwnerOrGuest) {
    return {};
  }
  GENESIS_TRY(LockFile lock, LockFile::open(options.path.string() + ".lock"));
  // A command that owns it for a moment (key create) must not keep a gateway from starting.
  owner = lock.try_lock();
  for (int i = 0; i < kOwnerTries && !owner && options.mode == OpenMode::kOwner; ++i) {
    std::this_thread::sleep_for(kOwnerPause);
    owner = lock.try_lock();
  }
  if (owner) {
    lock.write_holder();
    owner_lock = std::make_unique<LockFile>(std::move(lock));
  } else if (options.mode == OpenMode::kOwner) {
    return fail(ErrorCode::kConflict,
                fmt::format("{} is in use by process {}", options.path.string(), lock.holder()),
                "stop the other genesis serve, or set GENESIS_HOME to another folder");
  }
  return {};
}

// A look at what the last owner left. Damage is told, and noted for ever when no crash explains it;
// starting anyway keeps a bit flip in an unused byte from stopping the gateway.
Result<void> SqliteBackend::check_before_use(SqliteConnection& connection) {
  GENESIS_TRY(const PageCheck check, check_pages(options.path, connection));
  if (!check.damage.empty()) {
    log(LogLevel::kError,
        "the database differs from what was left; run genesis ledger verify",
        {{"file", options.path.string()}, {"what", check.damage}});
    GENESIS_TRY(const std::string noted, noted_damage(options.path));
    if (check.by_another_hand && noted.empty()) {
      return note_damage(options.path, check.damage);
    }
  } else if (check.seal == SealState::kStale) {
    log(LogLevel::kWarn,
        "another program changed the database file; sealing it as it is now",
        {{"file", options.path.string()}});
    std::error_code ignored;
    std::filesystem::remove(seal_path(options.path), ignored);
  }
  return {};
}

Result<void> SqliteBackend::prepare_owner(SqliteConnection& connection) {
  GENESIS_TRY(const std::int64_t size, connection.file_size());
  if (size > 0) {
    GENESIS_TRY_VOID(check_before_use(connection));
  }
  GENESIS_TRY_VOID(configure_writer(connection));
  return migrate(connection, options.path, options.schemas);
}

Result<void> SqliteBackend::open_writer() {
  GENESIS_TRY(LockFile guest_lock, LockFile::open(options.path.string() + ".guest"));
  if (owner) {
    // Made here so that it is never readable by others, whatever the umask.
    const int fd = ::open(options.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
      ::close(fd);
    }
  }
  GENESIS_TRY(auto connection, SqliteConnection::open(connection_options(false)));
  if (owner) {
    GENESIS_TRY_VOID(prepare_owner(*connection));
  } else {
    GENESIS_TRY_VOID(configure_writer(*connection));
    GENESIS_TRY_VOID(require_current(*connection, options.path, options.schemas));
  }
  writer = std::make_unique<Writer>(options, owner, std::move(connection), std::move(guest_lock));
  return {};
}

Result<void> SqliteBackend::open() {
  GENESIS_TRY_VOID(take_ownership());
  const auto there = require_database(options.path);
  const bool may_create = owner && !there && there.error().code == ErrorCode::kNotFound;
  if (!there && !may_create) {
    return there;
  }
  if (options.mode == OpenMode::kReadOnly) {
    GENESIS_TRY(auto reader, take_reader());
    GENESIS_TRY_VOID(require_current(*reader, options.path, options.schemas));
    give_back(std::move(reader));
    return {};
  }
  return open_writer();
}

void SqliteBackend::submit(Job job) {
  if (!writer) {
    job.done(fail(ErrorCode::kPermissionDenied, "the database was opened for reading only"));
    return;
  }
  writer->submit(std::move(job));
}

Result<void> SqliteBackend::read(const Database::Work& work) const {
  GENESIS_TRY(auto reader, take_reader());
  GENESIS_TRY_VOID(reader->execute("BEGIN"));
  Transaction snapshot(*reader);
  Result<void> outcome = work(snapshot);
  // A reader that cannot end its snapshot would hold up the log: it is closed instead of kept.
  if (reader->execute("ROLLBACK")) {
    give_back(std::move(reader));
  }
  return outcome;
}

Result<void> SqliteBackend::checkpoint() {
  if (!owner) {
    return fail(ErrorCode::kPermissionDenied, "only the owner of a database checkpoints it");
  }
  return writer->request_checkpoint().get();
}

}  // namespace

Result<std::unique_ptr<Backend>> open_sqlite(DatabaseOptions options) {
  auto backend = std::make_unique<SqliteBackend>(std::move(options));
  GENESIS_TRY_VOID(backend->open());
  return backend;
}

}  // namespace genesis::store
