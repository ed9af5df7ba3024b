#include "app/diagnosis.h"

#include "app/ledger_place.h"
#include "app/prices.h"
#include "app/running.h"
#include "base/clock.h"
#include "hub/model_store.h"
#include "ledger/verify.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <fmt/format.h>

#include <unistd.h>

namespace genesis::app {

namespace {

std::string told(const Error& error) {
  return error.hint.empty() ? error.message
                            : fmt::format("{}; next: {}", error.message, error.hint);
}

// The default model is fetched when it is first needed, so its absence is no fault.
Finding look_at_model(const Home& home, const std::string& name) {
  Finding finding{.name = "model " + name, .ok = true, .detail = {}};
  const auto model = hub::ModelStore(home.models).find(name);
  if (!model) {
    finding.ok = model.error().code == ErrorCode::kNotFound && name == kDefaultModel;
    finding.detail =
        finding.ok ? "not pulled yet; the first start fetches it" : told(model.error());
    return finding;
  }
  for (const hub::StoredFile& file : model->files) {
    if (!file.is_there()) {
      return {
          .name = finding.name,
          .ok = false,
          .detail = fmt::format("{} is missing or not of its size any more; next: genesis pull {}",
                                file.name,
                                model->source)};
    }
  }
  finding.detail = fmt::format("{} file(s), {} bytes", model->files.size(), model->bytes());
  return finding;
}

Finding look_at_ledger(const Home& home, const Config& config) {
  auto place = ledger_place(config, home, store::OpenMode::kReadOnly);
  if (!place) {
    return {.name = "ledger", .ok = false, .detail = told(place.error())};
  }
  const auto verified = ledger::verify(std::move(*place));
  if (verified) {
    return {.name = "ledger", .ok = true, .detail = fmt::format("{} rows, intact", verified->rows)};
  }
  const bool none = verified.error().code == ErrorCode::kNotFound;
  return {.name = "ledger", .ok = none, .detail = none ? "none yet" : told(verified.error())};
}

Finding look_at_folder(const Home& home) {
  const bool writable = ::access(home.data.c_str(), W_OK) == 0;
  return {.name = "data folder",
          .ok = writable,
          .detail = writable ? home.data.string()
                             : fmt::format("{} cannot be written by user {}; next: chown it, or "
                                           "set GENESIS_HOME to another folder",
                                           home.data.string(),
                                           ::getuid())};
}

Finding look_at_address(const Home& home, const Config& config) {
  Finding finding{.name = "address", .ok = true, .detail = config.listen.to_string()};
  if (const auto running = read_running(home)) {
    finding.detail = fmt::format("a gateway runs at {}", running->url);
    return finding;
  }
  if (config.listen.is_unix()) {
    return finding;
  }
  namespace ip = boost::asio::ip;
  boost::system::error_code error;
  boost::asio::io_context io(1);
  const ip::address host = ip::make_address(config.listen.host, error);
  if (error) {
    return finding;  // a name: serve resolves it
  }
  const ip::tcp::endpoint endpoint(host, config.listen.port);
  ip::tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  acceptor.set_option(ip::tcp::acceptor::reuse_address(true), error);
  acceptor.bind(endpoint, error);
  if (error) {
    finding.ok = false;
    finding.detail = fmt::format("{}: {}; next: stop what listens there, or set GENESIS_HOST",
                                 config.listen.to_string(),
                                 error.message());
  }
  return finding;
}

}  // namespace

Result<void> check_settings(const Config& config) {
  GENESIS_TRY_VOID(check_transport(config));
  for (const EndpointConfig& endpoint : config.endpoints) {
    const auto secret = read_endpoint_secrets(endpoint);
    if (!secret) {
      Error error = secret.error();
      error.message = fmt::format("endpoint '{}': {}", endpoint.name, error.message);
      return std::unexpected(std::move(error));
    }
  }
  GENESIS_TRY(const auto prices, load_prices(config));
  const std::string& baseline = config.baselines.model;
  if (!baseline.empty() && prices->find(baseline, SystemClock().unix_ms()) == nullptr) {
    return fail_param("ledger.baseline_model",
                      fmt::format("the baseline model '{}' has no price", baseline),
                      ErrorCode::kConfig);
  }
  return {};
}

std::vector<Finding> diagnose(const Home& home, const Config& config) {
  std::vector<Finding> findings;
  const auto settings = check_settings(config);
  findings.push_back(
      {.name = "settings",
       .ok = settings.has_value(),
       .detail = settings ? "secrets and prices are there" : told(settings.error())});
  for (const EndpointConfig& endpoint : config.endpoints) {
    if (endpoint.kind == EndpointKind::kLocal && endpoint.adapter_of.empty()) {
      findings.push_back(look_at_model(home, endpoint.model));
      if (!endpoint.draft.empty()) {
        findings.push_back(look_at_model(home, endpoint.draft));
      }
    }
  }
  findings.push_back(look_at_ledger(home, config));
  findings.push_back(look_at_folder(home));
  findings.push_back(look_at_address(home, config));
  return findings;
}

}  // namespace genesis::app
