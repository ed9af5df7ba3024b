#include "app/models.h"

#include "app/config.h"
#include "hub/pull.h"
#include "net/client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

#include <csignal>
#include <optional>

namespace genesis::app {

Result<hub::InstalledModel> pull_model(hub::ModelStore& store,
                                       const std::string& reference,
                                       const std::string& name,
                                       const OnProgress& progress) {
  boost::asio::io_context io(1);
  net::Client client(io.get_executor(), {.connect_timeout = std::chrono::seconds(10)});
  CancelSource interrupted;
  boost::asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&](const boost::system::error_code& error, int) {
    if (!error) {
      interrupted.cancel();
    }
  });
  hub::PullRequest request{.reference = reference,
                           .name = name,
                           .settings = hub::HubSettings::from_environment(),
                           .cancel = interrupted.token()};
  std::optional<Result<hub::InstalledModel>> outcome;
  const auto work = [&]() -> Task<void> {
    outcome = co_await hub::pull(std::move(request), store, client, progress);
    io.stop();  // idle connections would keep the loop alive
  };
  boost::asio::co_spawn(io, work, boost::asio::detached);
  io.run();
  return std::move(*outcome);
}

Result<hub::InstalledModel> find_model(const hub::ModelStore& store, const std::string& name) {
  auto found = store.find(name);
  if (!found && found.error().code == ErrorCode::kNotFound) {
    found.error().hint = fmt::format("genesis pull {}", name);
  }
  return found;
}

Result<hub::InstalledModel> ensure_model(hub::ModelStore& store,
                                         const std::string& name,
                                         const OnProgress& progress) {
  auto found = find_model(store, name);
  if (found || found.error().code != ErrorCode::kNotFound || name != kDefaultModel) {
    return found;
  }
  return pull_model(store, "", std::string(kDefaultModel), progress);
}

}  // namespace genesis::app
