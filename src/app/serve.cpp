#include "app/serve.h"

#include "app/graph.h"
#include "app/ready_line.h"
#include "app/running.h"
#include "base/log.h"
#include "net/server.h"
#include "server/errors.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <memory>
#include <optional>
#include <unistd.h>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// Longer than any sensible wait of a process manager before SIGKILL (systemd: 90 s).
constexpr milliseconds kDrain{30'000};
constexpr milliseconds kEngineGrace{5'000};
// How long the ready line waits for the engines; requests before that queue or fall back.
constexpr std::chrono::seconds kEngineStart{600};
constexpr milliseconds kStatePeriod{50};

std::string_view state_name(EngineState state) {
  switch (state) {
    case EngineState::kStopped:
      return "stopped";
    case EngineState::kStarting:
      return "starting";
    case EngineState::kReady:
      return "ready";
    case EngineState::kSilent:
      return "silent";
    case EngineState::kCrashed:
      return "crashed";
    case EngineState::kBroken:
      return "broken";
  }
  return "stopped";
}

// Beyond loopback nobody may come in without a key, and the first key is made at home.
Result<void> refuse_without_keys(const Config& config, Graph& graph) {
  if (config.listen.is_loopback()) {
    return {};
  }
  GENESIS_TRY(const auto keys, graph.keys().list());
  if (!keys.empty()) {
    return {};
  }
  return fail_param("server.listen",
                    fmt::format("{} is reachable from other machines and there is no API key yet",
                                config.listen.to_string()),
                    ErrorCode::kConfig);
}

// One serving process, in order of construction.
class GatewayProcess {
 public:
  GatewayProcess(boost::asio::io_context& io,
                 const ConfigSource& source,
                 const Home& home,
                 Graph& graph)
      : io_(io),
        home_(home),
        graph_(graph),
        reloader_(
            io.get_executor(), graph, source, [this](const Config& config) { apply(config); }),
        gateway_(io.get_executor(), options(), ports()),
        server_(
            io.get_executor(),
            [this](const net::ServerRequest& request, net::ResponseWriter& response) {
              return gateway_.handle(request, response);
            },
            limits(),
            server::refusal_body) {}

  Result<int> run() {
    GENESIS_TRY(const std::string admin_key, first_admin_key());
    GENESIS_TRY(bound_, server_.listen(config().listen));
    boost::asio::signal_set signals(io_, SIGTERM, SIGINT);
    wait_for_signal(signals);
    boost::asio::signal_set hang_up(io_, SIGHUP);
    wait_for_reload(hang_up);
    graph_.start();
    boost::asio::co_spawn(io_, announce(admin_key), boost::asio::detached);
    boost::asio::co_spawn(io_, keep_state_file(), boost::asio::detached);
    io_.run();
    remove_running(home_);
    return exit_code_;
  }

 private:
  // The first start makes an admin key, shown once.
  Result<std::string> first_admin_key() {
    GENESIS_TRY(const auto keys, graph_.keys().list());
    if (!keys.empty()) {
      return std::string();
    }
    GENESIS_TRY(auto created,
                graph_.keys().create({.name = "first admin", .tenant = "default", .admin = true}));
    return created.token;
  }

  void wait_for_signal(boost::asio::signal_set& signals) {
    signals.async_wait([this, &signals](const boost::system::error_code& error, int signal) {
      if (error) {
        return;
      }
      if (std::exchange(stopping_, true)) {
        exit_code_ = 128 + signal;
        io_.stop();
        return;
      }
      boost::asio::co_spawn(io_, shut_down(), boost::asio::detached);
      wait_for_signal(signals);
    });
  }

  void wait_for_reload(boost::asio::signal_set& hang_up) {
    hang_up.async_wait([this, &hang_up](const boost::system::error_code& error, int) {
      if (error || stopping_) {
        return;
      }
      // The log and the state file tell how it went.
      boost::asio::co_spawn(
          io_,
          [this]() -> Task<void> { (void)co_await reloader_.reload(); },
          boost::asio::detached);
      wait_for_reload(hang_up);
    });
  }

  void apply(const Config& config) {
    log_configure(config.log_level, config.log_format);
    gateway_.set_options(options());
    server_.set_limits(limits());
  }

  // Ready is said when every engine answers, or cannot be started: then the other tiers carry on.
  Task<void> announce(std::string admin_key) {
    for (const auto& engine : graph_.engines()) {
      const auto ready = co_await engine->wait_ready(
          std::chrono::steady_clock::now() + kEngineStart, stop_source_.token());
      if (!ready) {
        log(LogLevel::kError,
            "engine did not start",
            {{"engine", engine->launch().name}, {"reason", ready.error().message}});
      }
    }
    if (stopping_) {
      co_return;
    }
    ReadyGateway ready{.url = url(),
                       .admin_key = std::move(admin_key),
                       .default_model = config().default_route,
                       .engines = {}};
    for (const auto& engine : graph_.engines()) {
      ready.engines.push_back({.name = engine->launch().name, .pid = engine->pid()});
    }
    print_gateway_ready(ready);
    log(LogLevel::kInfo,
        "gateway ready",
        {{"url", ready.url}, {"endpoints", config().endpoints.size()}});
  }

  std::string url() const {
    if (bound_.is_unix()) {
      return bound_.to_string();
    }
    net::Address shown = bound_;
    if (shown.host == "0.0.0.0") {
      shown.host = "127.0.0.1";
    }
    return "http://" + shown.to_string();
  }

  // Rewrites the state file when something in it changed.
  Task<void> keep_state_file() {
    boost::asio::steady_timer timer(io_);
    std::optional<std::string> written;
    while (!stopping_) {
      RunningGateway state{.pid = ::getpid(),
                           .started_unix_ms = started_ms_,
                           .url = url(),
                           .require_key = config().require_key,
                           .generation = graph_.generation(),
                           .reloads = reloader_.status().attempts,
                           .reload_error = reloader_.status().last_error,
                           .engines = {}};
      std::string summary = fmt::format("{}/{};", state.generation, state.reloads);
      for (const auto& engine : graph_.engines()) {
        state.engines.push_back({.endpoint = engine->launch().name,
                                 .model = engine->launch().model_name,
                                 .state = std::string(state_name(engine->state())),
                                 .pid = engine->pid()});
        summary += fmt::format("{}/{};", state.engines.back().state, engine->pid());
      }
      if (summary != written) {
        if (const auto done = write_running(home_, state); !done) {
          log(LogLevel::kWarn, "cannot write the state file", {{"reason", done.error().message}});
        }
        written = std::move(summary);
      }
      timer.expires_after(kStatePeriod);
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
  }

  Task<void> shut_down() {
    log(LogLevel::kInfo, "draining", {{"requests", server_.active_requests()}});
    stop_source_.cancel();
    server_.stop_accepting();
    co_await server_.drain(kDrain);
    co_await graph_.stop(kEngineGrace);
    io_.stop();
  }

  const Config& config() const { return graph_.config(); }

  net::ServerLimits limits() const { return {.body_bytes = config().max_body_bytes}; }

  server::GatewayOptions options() const {
    std::vector<std::string> hosts = config().allowed_hosts;
    hosts.insert(hosts.end(), {"localhost", "127.0.0.1", "[::1]"});
    return {.version = GENESIS_VERSION,
            .default_model = config().default_route,
            .allowed_hosts = std::move(hosts),
            .require_key = config().require_key,
            .max_concurrent = config().max_concurrent,
            .total_budget = config().budgets.total};
  }

  server::GatewayPorts ports() {
    std::vector<server::AdminRoute> routes = graph_.admin_routes();
    std::ranges::move(reloader_.admin_routes(), std::back_inserter(routes));
    return {.chat = graph_.chat(),
            .catalog = graph_.catalog(),
            .auth = graph_.authenticator(),
            .metrics = graph_.metrics(),
            .clock = graph_.clock(),
            .readiness =
                [this] {
                  return stopping_ ? server::Readiness{.reasons = {"draining"}}
                                   : graph_.readiness();
                },
            .info = [this] { return graph_.info(); },
            .admin_routes = std::move(routes)};
  }

  boost::asio::io_context& io_;
  const Home& home_;
  Graph& graph_;
  Reloader reloader_;
  server::Gateway gateway_;
  net::Server server_;
  net::Address bound_;
  CancelSource stop_source_;
  std::int64_t started_ms_ = SystemClock().unix_ms();
  bool stopping_ = false;
  int exit_code_ = 0;
};

}  // namespace

Result<int> serve(const ConfigSource& source, const Home& home, const OnProgress& progress) {
  GENESIS_TRY(Config config, source());
  log_configure(config.log_level, config.log_format);
  boost::asio::io_context io(1);
  GENESIS_TRY(const auto graph,
              Graph::open(io, std::make_shared<const Config>(std::move(config)), home));
  GENESIS_TRY_VOID(graph->build(progress));
  GENESIS_TRY_VOID(refuse_without_keys(graph->config(), *graph));
  GatewayProcess process(io, source, home, *graph);
  return process.run();
}

}  // namespace genesis::app
