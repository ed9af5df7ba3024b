// Choosing the engine, and the coroutine and waiting faces of a write.
#include "store/database.h"

#include "store/backend.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <future>
#include <utility>

namespace genesis::store {

Database::Database(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::open(DatabaseOptions options) {
  const bool remote = !options.url.empty();
  GENESIS_TRY(auto backend,
              remote ? open_postgres(std::move(options)) : open_sqlite(std::move(options)));
  return std::unique_ptr<Database>(new Database(std::move(backend)));
}

void Database::submit(Work work, Done done, Urgency urgency) {
  backend_->submit({std::move(work), std::move(done), urgency});
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
  return backend_->read(work);
}

Result<void> Database::checkpoint() {
  return backend_->checkpoint();
}

bool Database::is_owner() const {
  return backend_->is_owner();
}

const std::string& Database::writer() const {
  return backend_->writer_name();
}

Result<std::vector<std::string>> Database::absent_writers(Transaction& tx) const {
  return backend_->absent_writers(tx);
}

Result<void> Database::forget_writer(Transaction& tx, std::string_view name) const {
  return backend_->forget_writer(tx, name);
}

DatabaseStats Database::stats() const {
  return backend_->stats();
}

}  // namespace genesis::store
