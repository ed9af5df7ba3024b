// PostgreSQL behind Database: opening in one of the modes, readers, and who else writes.
#include "base/random.h"
#include "base/sha256.h"
#include "store/backend.h"
#include "store/postgres_connection.h"
#include "store/postgres_migrate.h"
#include "store/postgres_url.h"
#include "store/postgres_writer.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

namespace genesis::store {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMaxIdleReaders = 4;
// Readers ask on threads that have other things to do (a key check on the way of a request): after
// a failed connection nobody tries again for so long.
constexpr milliseconds kReaderPause{500};
constexpr milliseconds kReaderConnect{2'000};
// The server notices the end of a killed gateway's session only a moment later.
constexpr int kEnrolTries = 50;
constexpr milliseconds kEnrolPause{100};

constexpr std::string_view kSnapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

// A guest needs a name of its own, or its commits could not be asked for.
std::string guest_name() {
  std::array<std::uint8_t, 8> bytes{};
  secure_random_bytes(bytes);
  return "guest-" + to_hex(bytes);
}

class PostgresBackend final : public Backend {
 public:
  PostgresBackend(DatabaseOptions options, std::string shown)
      : options_(std::move(options)), shown_(std::move(shown)) {}

  Result<void> open();
  void submit(Job job) override;
  Result<void> read(const Database::Work& work) const override;

  // The server does that by itself.
  Result<void> checkpoint() override { return {}; }

  bool is_owner() const override { return identity_.owner; }

  DatabaseStats stats() const override { return writer_ ? writer_->stats() : DatabaseStats{}; }

  const std::string& writer_name() const override { return identity_.name; }

  Result<std::vector<std::string>> absent_writers(Transaction& tx) const override;
  Result<void> forget_writer(Transaction& tx, std::string_view name) const override;

 private:
  using Reader = std::unique_ptr<PostgresConnection>;

  Result<void> open_writer(std::unique_ptr<PostgresConnection> connection);
  PostgresOptions connection_options() const;
  Result<Reader> connect_reader() const;
  Result<Reader> begin_snapshot() const;
  Reader take_idle() const;
  void give_back(Reader reader) const;

  const DatabaseOptions options_;
  const std::string shown_;
  WriterIdentity identity_;
  mutable std::mutex mutex_;
  mutable std::vector<Reader> idle_;
  mutable Clock::time_point retry_readers_;
  mutable Error reader_error_;
  std::unique_ptr<PostgresWriter> writer_;
};

PostgresOptions PostgresBackend::connection_options() const {
  return {
      .url = options_.url, .password = options_.password, .reply_timeout = options_.reply_timeout};
}

Result<void> PostgresBackend::open() {
  identity_.owner = options_.mode == OpenMode::kOwner;
  identity_.name = identity_.owner ? options_.writer : guest_name();
  if (identity_.name.empty()) {
    return fail(ErrorCode::kInternal, "an owner of a PostgreSQL database needs a name");
  }
  GENESIS_TRY(auto connection, PostgresConnection::open(connection_options()));
  const bool may_migrate =
      options_.mode == OpenMode::kOwner || options_.mode == OpenMode::kOwnerOrGuest;
  if (may_migrate) {
    GENESIS_TRY_VOID(migrate_postgres(*connection, shown_, options_.schemas));
  } else {
    GENESIS_TRY_VOID(require_current_postgres(*connection, shown_, options_.schemas));
  }
  return options_.mode == OpenMode::kReadOnly ? Result<void>{} : open_writer(std::move(connection));
}

Result<void> PostgresBackend::open_writer(std::unique_ptr<PostgresConnection> connection) {
  auto last_batch = enrol(*connection, identity_);
  for (int i = 0; i < kEnrolTries && !last_batch; ++i) {
    if (last_batch.error().code != ErrorCode::kConflict) {
      break;
    }
    std::this_thread::sleep_for(kEnrolPause);
    last_batch = enrol(*connection, identity_);
  }
  if (!last_batch) {
    return std::unexpected(last_batch.error());
  }
  writer_ =
      std::make_unique<PostgresWriter>(options_, identity_, std::move(connection), *last_batch);
  return {};
}

void PostgresBackend::submit(Job job) {
  if (!writer_) {
    job.done(fail(ErrorCode::kPermissionDenied, "the database was opened for reading only"));
    return;
  }
  writer_->submit(std::move(job));
}

PostgresBackend::Reader PostgresBackend::take_idle() const {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    return nullptr;
  }
  Reader reader = std::move(idle_.back());
  idle_.pop_back();
  return reader;
}

void PostgresBackend::give_back(Reader reader) const {
  const std::lock_guard lock(mutex_);
  if (!reader->lost() && idle_.size() < kMaxIdleReaders) {
    idle_.push_back(std::move(reader));
  }
}

Result<PostgresBackend::Reader> PostgresBackend::connect_reader() const {
  {
    const std::lock_guard lock(mutex_);
    if (Clock::now() < retry_readers_) {
      return std::unexpected(reader_error_);
    }
  }
  PostgresOptions options = connection_options();
  options.connect_timeout = kReaderConnect;
  options.portions = true;
  auto reader = PostgresConnection::open(options);
  if (!reader) {
    const std::lock_guard lock(mutex_);
    reader_error_ = reader.error();
    retry_readers_ = Clock::now() + kReaderPause;
  }
  return reader;
}

// An idle reader may have been lost since; then all of them were, and a new one is asked.
Result<PostgresBackend::Reader> PostgresBackend::begin_snapshot() const {
  while (Reader reader = take_idle()) {
    if (reader->execute(kSnapshot)) {
      return reader;
    }
  }
  GENESIS_TRY(Reader reader, connect_reader());
  GENESIS_TRY_VOID(reader->execute(kSnapshot));
  return reader;
}

Result<void> PostgresBackend::read(const Database::Work& work) const {
  GENESIS_TRY(Reader reader, begin_snapshot());
  Result<void> outcome;
  {
    Transaction snapshot(*reader);
    outcome = work(snapshot);
  }
  if (reader->execute("ROLLBACK")) {
    give_back(std::move(reader));
  }
  return outcome;
}

Result<std::vector<std::string>> PostgresBackend::absent_writers(Transaction& tx) const {
  GENESIS_TRY(Statement select,
              tx.prepare("SELECT id FROM store_writers WHERE id <> ?1"
                         " AND seen < clock_timestamp() - ?2 * interval '1 millisecond'"
                         " ORDER BY id"));
  select.bind(1, identity_.name).bind(2, static_cast<std::int64_t>(options_.lease.count()));
  std::vector<std::string> absent;
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return absent;
    }
    absent.emplace_back(select.text(0));
  }
}

Result<void> PostgresBackend::forget_writer(Transaction& tx, std::string_view name) const {
  GENESIS_TRY(Statement remove, tx.prepare("DELETE FROM store_writers WHERE id = ?1"));
  return remove.bind(1, name).run();
}

}  // namespace

Result<std::unique_ptr<Backend>> open_postgres(DatabaseOptions options) {
  GENESIS_TRY(std::string shown, shown_postgres_url(options.url));
  auto backend = std::make_unique<PostgresBackend>(std::move(options), std::move(shown));
  GENESIS_TRY_VOID(backend->open());
  return backend;
}

}  // namespace genesis::store
