#include "app/reloader.h"

#include "app/ledger_place.h"
#include "base/json.h"
#include "base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <utility>

namespace genesis::app {

namespace {

std::unexpected<Error> needs_restart(const Config& next,
                                     const std::string& key,
                                     std::string_view now) {
  const auto origin = next.origins.find(key);
  const std::string where =
      origin == next.origins.end() ? "" : fmt::format("{}: ", origin->second.origin);
  auto error = fail_param(
      key,
      fmt::format("{}'{}' cannot change while the gateway runs (it is {})", where, key, now),
      ErrorCode::kConfig);
  error.error().hint = "put the old value back, or restart genesis serve";
  return error;
}

// How often a reload looks whether the one before it is over.
constexpr std::chrono::milliseconds kTurn{5};

constexpr std::string_view kReloads = "genesis_config_reloads_total";
constexpr std::string_view kReloadsHelp = "Attempts to read the configuration again, by result";

}  // namespace

Result<void> check_unchangeable(const Config& current, const Config& next) {
  if (next.listen != current.listen) {
    return needs_restart(next, "server.listen", current.listen.to_string());
  }
  if (next.ledger_path != current.ledger_path) {
    return needs_restart(next, "ledger.path", current.ledger_path.string());
  }
  if (next.database_url != current.database_url ||
      next.database_password_source != current.database_password_source) {
    return needs_restart(next, "ledger.database_url", ledger_name(current));
  }
  if (next.tls_cert.empty() != current.tls_cert.empty()) {
    return needs_restart(next, "server.tls.cert", current.tls_cert.empty() ? "off" : "on");
  }
  return check_transport(next);
}

Reloader::Reloader(Executor executor, Graph& graph, ConfigSource source, Hooks hooks)
    : executor_(std::move(executor)),
      graph_(graph),
      source_(std::move(source)),
      hooks_(std::move(hooks)),
      status_{.in_force_since_ms = graph.clock().unix_ms()},
      generation_(graph.metrics().gauge("genesis_config_generation",
                                        "Configurations put in force since the start")),
      succeeded_(
          graph.metrics().counter(kReloads, kReloadsHelp, prometheus_label("result", "success"))),
      failed_(
          graph.metrics().counter(kReloads, kReloadsHelp, prometheus_label("result", "failure"))) {
  generation_.set(graph.generation());
}

Task<Result<void>> Reloader::reload() {
  boost::asio::steady_timer timer(executor_);
  while (busy_) {
    timer.expires_after(kTurn);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
  busy_ = true;
  auto done = co_await try_reload();
  busy_ = false;
  ++status_.attempts;
  status_.last_error = done ? "" : done.error().message;
  if (done) {
    status_.in_force_since_ms = graph_.clock().unix_ms();
  }
  hooks_.attempted();
  if (!done) {
    failed_.add();
    log(LogLevel::kError,
        "configuration not reloaded, the old one stays in force",
        {{"generation", graph_.generation()},
         {"key", done.error().param},
         {"reason", done.error().message}});
    co_return done;
  }
  succeeded_.add();
  generation_.set(graph_.generation());
  log(LogLevel::kInfo,
      "configuration reloaded",
      {{"generation", graph_.generation()}, {"endpoints", graph_.config().endpoints.size()}});
  co_return done;
}

Task<Result<void>> Reloader::try_reload() {
  GENESIS_CO_TRY(Config config, source_());
  GENESIS_CO_TRY_VOID(check_unchangeable(graph_.config(), config));
  GENESIS_CO_TRY(const Apply apply, hooks_.prepare(config));
  GENESIS_CO_TRY_VOID(co_await graph_.reload(std::make_shared<const Config>(std::move(config))));
  apply();
  co_return Result<void>{};
}

std::string Reloader::config_report() const {
  JsonWriter writer;
  writer.begin_object();
  writer.field("generation", std::int64_t{graph_.generation()});
  writer.field("in_force_since_unix_ms", status_.in_force_since_ms);
  writer.field("reloads", status_.attempts);
  if (status_.last_error.empty()) {
    writer.field_null("last_error");
  } else {
    writer.field("last_error", status_.last_error);
  }
  writer.key("options");
  write_options(writer, graph_.config().origins);
  writer.end_object();
  return writer.take();
}

std::vector<server::AdminRoute> Reloader::admin_routes() {
  using Answer = Task<Result<std::string>>;
  return {{.method = "GET",
           .path = "/admin/config",
           .handle = [this](const net::ServerRequest&) -> Answer { co_return config_report(); }},
          {.method = "POST",
           .path = "/admin/reload",
           .handle = [this](const net::ServerRequest&) -> Answer {
             if (auto done = co_await reload(); !done) {
               // The file is at fault, not the server, and whoever asked can mend it.
               done.error().code = ErrorCode::kInvalidArgument;
               co_return std::unexpected(std::move(done).error());
             }
             JsonWriter writer;
             writer.begin_object();
             writer.field("generation", std::int64_t{graph_.generation()});
             writer.end_object();
             co_return writer.take();
           }}};
}

}  // namespace genesis::app
