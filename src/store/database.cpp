// Opening in one of the modes, readers, and the coroutine face of the writer.
#include "store/database.h"

#include "base/log.h"
#include "store/connection.h"
#include "store/lock_file.h"
#include "store/migrate.h"
#include "store/page_check.h"
#include "store/seal.h"
#include "store/writer.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <future>
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

}  // namespace

struct Database::Impl {
  DatabaseOptions options;
  bool owner = false;
  std::unique_ptr<LockFile> owner_lock;
  std::unique_ptr<Writer> writer;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Connection>> idle_readers;

  ConnectionOptions connection_options(bool read_only) const {
    return {.path = options.path,
            .vfs = options.vfs,
            .read_only = read_only,
            .busy_timeout = options.busy_timeout};
  }

  Result<std::unique_ptr<Connection>> take_reader() const {
    {
      const std::lock_guard lock(mutex);
      if (!idle_readers.empty()) {
        auto reader = std::move(idle_readers.back());
        idle_readers.pop_back();
        return reader;
      }
    }
    return Connection::open(connection_options(true));
  }

  void give_back(std::unique_ptr<Connection> reader) const {
    const std::lock_guard lock(mutex);
    if (idle_readers.size() < kMaxIdleReaders) {
      idle_readers.push_back(std::move(reader));
    }
  }

  Result<void> open();
  Result<void> take_ownership();
  Result<void> open_writer();
  Result<void> prepare_owner(Connection& connection);
  Result<void> check_before_use(Connection& connection);
};

Result<void> Database::Impl::take_ownership() {
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
Result<void> Database::Impl::check_before_use(Connection& connection) {
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

Result<void> Database::Impl::prepare_owner(Connection& connection) {
  GENESIS_TRY(const std::int64_t size, connection.file_size());
  if (size > 0) {
    GENESIS_TRY_VOID(check_before_use(connection));
  }
  GENESIS_TRY_VOID(configure_writer(connection));
  return migrate(connection, options.path, options.schemas);
}

Result<void> Database::Impl::open_writer() {
  GENESIS_TRY(LockFile guest_lock, LockFile::open(options.path.string() + ".guest"));
  if (owner) {
    // Made here so that it is never readable by others, whatever the umask.
    const int fd = ::open(options.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
      ::close(fd);
    }
  }
  GENESIS_TRY(auto connection, Connection::open(connection_options(false)));
  if (owner) {
    GENESIS_TRY_VOID(prepare_owner(*connection));
  } else {
    GENESIS_TRY_VOID(configure_writer(*connection));
    GENESIS_TRY_VOID(require_current(*connection, options.path, options.schemas));
  }
  writer = std::make_unique<Writer>(options, owner, std::move(connection), std::move(guest_lock));
  return {};
}

Result<void> Database::Impl::open() {
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

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Database::~Database() {
  // Readers first, so that the owner is the last to close and may remove the log.
  impl_->idle_readers.clear();
  impl_->writer.reset();
}

Result<std::unique_ptr<Database>> Database::open(DatabaseOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  GENESIS_TRY_VOID(impl->open());
  return std::unique_ptr<Database>(new Database(std::move(impl)));
}

void Database::submit(Work work, Done done, Urgency urgency) {
  if (!impl_->writer) {
    done(fail(ErrorCode::kPermissionDenied, "the database was opened for reading only"));
    return;
  }
  impl_->writer->submit(std::move(work), std::move(done), urgency);
}

Task<Result<void>> Database::write(Work work, Urgency urgency) {
  namespace asio = boost::asio;
  auto start = [this, urgency](auto handler, Work inner) {
    auto executor = asio::get_associated_executor(handler);
    auto guard = asio::make_work_guard(executor);
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    submit(
        std::move(inner),
        // Everything moves into the posted step: the handler is only ever touched, and destroyed,
        // on its own executor.
        [executor, guard, shared](Result<void> result) mutable {
          asio::post(executor, [shared = std::move(shared), result = std::move(result)]() mutable {
            std::move (*shared)(std::move(result));
          });
          guard.reset();
        },
        urgency);
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<void>)>(
      std::move(start), asio::use_awaitable, std::move(work));
}

Result<void> Database::write_blocking(Work work) {
  auto promise = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> future = promise->get_future();
  submit(std::move(work),
         [promise](Result<void> result) { promise->set_value(std::move(result)); });
  return future.get();
}

Result<void> Database::read(const Work& work) const {
  GENESIS_TRY(auto reader, impl_->take_reader());
  GENESIS_TRY_VOID(reader->execute("BEGIN"));
  Transaction snapshot(*reader);
  Result<void> outcome = work(snapshot);
  // A reader that cannot end its snapshot would hold up the log: it is closed instead of kept.
  if (reader->execute("ROLLBACK")) {
    impl_->give_back(std::move(reader));
  }
  return outcome;
}

Result<void> Database::checkpoint() {
  if (!impl_->owner) {
    return fail(ErrorCode::kPermissionDenied, "only the owner of a database checkpoints it");
  }
  return impl_->writer->request_checkpoint().get();
}

bool Database::is_owner() const {
  return impl_->owner;
}

DatabaseStats Database::stats() const {
  return impl_->writer ? impl_->writer->stats() : DatabaseStats{};
}

}  // namespace genesis::store
