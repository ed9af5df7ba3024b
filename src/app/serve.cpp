#include "app/serve.h"

#include "app/descriptors.h"
#include "app/graph.h"
#include "app/pressure.h"
#include "app/probe.h"
#include "app/ready_line.h"
#include "app/running.h"
#include "base/log.h"
#include "kernel/cpu.h"
#include "net/server.h"
#include "net/server_tls.h"
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

// For the error events of answers that the end has stopped.
constexpr milliseconds kLastWords{3'000};
constexpr milliseconds kEngineGrace{5'000};
// How long the ready line waits for the engines; requests before that queue or fall back.
constexpr std::chrono::seconds kEngineStart{600};
constexpr milliseconds kStatePeriod{50};
constexpr milliseconds kPressurePeriod{250};
// Nothing is fast any more when the event loop comes to its work this late.
constexpr milliseconds kUnbearableLag{2'000};
// A disk or database that takes this long for a booking is stuck.
constexpr milliseconds kUnbearableBookingWait{2'000};
constexpr std::chrono::seconds kGiveBackPeriod{10};
constexpr std::size_t kProbeConnections = 16;

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

// What the listener needs beside the configuration's own values.
struct Door {
  std::shared_ptr<const net::ServerTls> tls;
  std::string metrics_key;
};

Result<Door> open_door(const Config& config) {
  Door door;
  if (!config.tls_cert.empty()) {
    GENESIS_TRY(door.tls, net::ServerTls::load(config.tls_cert, config.tls_key));
  }
  GENESIS_TRY(door.metrics_key, read_secret(config.metrics_key_source, "server.metrics_key"));
  return door;
}

// The model that GET /admin/probe asks for.
std::string probed_route(const std::string& query, const Config& config) {
  constexpr std::string_view kModel = "model=";
  return query.starts_with(kModel) ? query.substr(kModel.size()) : config.default_route;
}

// One serving process, in order of construction.
class GatewayProcess {
 public:
  GatewayProcess(boost::asio::io_context& io,
                 const ConfigSource& source,
                 const Home& home,
                 Graph& graph,
                 Door door)
      : io_(io),
        home_(home),
        graph_(graph),
        door_(std::move(door)),
        pressure_(graph.metrics()),
        reloader_(io.get_executor(),
                  graph,
                  source,
                  {.prepare = [this](const Config& config) { return prepare(config); },
                   .attempted = [this] { write_state(); }}),
        gateway_(io.get_executor(), options(), ports()),
        server_(
            io.get_executor(),
            [this](const net::ServerRequest& request, net::ResponseWriter& response) {
              return gateway_.handle(request, response);
            },
            limits(),
            server::refusal_body) {
    note_room();
    server_.set_tls(door_.tls);
    server_.set_admission([this](const net::ServerRequest& head) { return gateway_.admit(head); });
  }

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
    boost::asio::co_spawn(io_, watch_pressure(), boost::asio::detached);
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

  Result<Reloader::Apply> prepare(const Config& next) {
    GENESIS_TRY(Door door, open_door(next));
    return [this, door = std::move(door)] {
      door_ = door;
      log_configure(config().log_level, config().log_format);
      gateway_.set_options(options());
      note_room();
      server_.set_limits(limits());
      server_.set_tls(door_.tls);
    };
  }

  // Looks at what runs out, and takes the steps of the ladder that are not a refusal.
  Task<void> watch_pressure() {
    boost::asio::steady_timer timer(io_);
    SteadyTime given_back{};
    while (!stopping_) {
      const SteadyTime due = std::chrono::steady_clock::now() + kPressurePeriod;
      timer.expires_at(due);
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
      const SteadyTime now = std::chrono::steady_clock::now();
      loop_lag_ = now - due;
      const PressureStage stage = pressure_.update(look());
      server_.set_keep_alive(stage == PressureStage::kCalm);
      server_.set_limits(limits());
      if (stage != PressureStage::kCalm && now - given_back > kGiveBackPeriod) {
        give_back_memory();
        given_back = now;
      }
    }
  }

  PressureSample look() const {
    const MemoryUse memory = memory_use(config().max_memory_mib);
    const auto share = [](auto part, auto whole) {
      return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
    };
    const auto age = [&share](std::chrono::nanoseconds waited,
                              std::chrono::nanoseconds unbearable) {
      return share(waited.count(), unbearable.count());
    };
    return {.memory = share(memory.used, memory.limit),
            .ledger_queue = graph_.ledger_queue(),
            .connections = share(server_.open_connections(), max_connections()),
            .loop_lag = age(loop_lag_, kUnbearableLag),
            .booking_wait = age(graph_.booking_wait(), kUnbearableBookingWait)};
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
    write_state();
    if (!ready.engines.empty()) {
      const std::string& forced = config().engine.isa;
      ready.isa = forced.empty() ? std::string(kernel::tier_name(kernel::best_tier())) : forced;
    }
    print_gateway_ready(ready);
    log(LogLevel::kInfo,
        "gateway ready",
        {{"url", ready.url},
         {"endpoints", config().endpoints.size()},
         {"max_connections", max_connections()}});
  }

  std::string url() const {
    if (bound_.is_unix()) {
      return bound_.to_string();
    }
    net::Address shown = bound_;
    if (shown.host == "0.0.0.0") {
      shown.host = "127.0.0.1";
    }
    return (door_.tls ? "https://" : "http://") + shown.to_string();
  }

  // Rewrites the state file when something in it changed.
  Task<void> keep_state_file() {
    boost::asio::steady_timer timer(io_);
    while (!stopping_) {
      write_state();
      timer.expires_after(kStatePeriod);
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
  }

  void write_state() {
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
    if (summary == written_) {
      return;
    }
    if (const auto done = write_running(home_, state); !done) {
      log(LogLevel::kWarn, "cannot write the state file", {{"reason", done.error().message}});
    }
    written_ = std::move(summary);
  }

  // Readiness is off from the signal on.
  Task<void> shut_down() {
    log(LogLevel::kInfo, "draining", {{"requests", server_.active_requests()}});
    stop_source_.cancel();
    boost::asio::steady_timer timer(io_, config().unready);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    server_.stop_accepting();
    boost::asio::co_spawn(io_, say_last_words(), boost::asio::detached);
    co_await server_.drain(config().drain + kLastWords);
    co_await graph_.stop(kEngineGrace);
    io_.stop();
  }

  // What is not over by then ends with an error event, not with a cut.
  Task<void> say_last_words() {
    boost::asio::steady_timer timer(io_, config().drain);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    graph_.stop_answers();
  }

  const Config& config() const { return graph_.config(); }

  void note_room() const {
    if (std::cmp_greater(config().max_connections, room_)) {
      log(LogLevel::kWarn,
          "server.max_connections is lowered to what the limit of open files allows",
          {{"configured", config().max_connections}, {"max_connections", room_}});
    }
  }

  // In the last stage no connection is taken on beyond those that are open and a few for probes.
  std::size_t max_connections() const {
    return std::min(static_cast<std::size_t>(config().max_connections), room_);
  }

  net::ServerLimits limits() const {
    std::size_t connections = max_connections();
    if (pressure_.stage() == PressureStage::kSevere) {
      connections = std::min(connections, server_.open_connections() + kProbeConnections);
    }
    return {.body_bytes = config().max_body_bytes, .connections = connections};
  }

  server::GatewayOptions options() const {
    std::vector<std::string> hosts = config().allowed_hosts;
    hosts.insert(hosts.end(), {"localhost", "127.0.0.1", "[::1]"});
    return {.version = GENESIS_VERSION,
            .default_model = config().default_route,
            .allowed_hosts = std::move(hosts),
            // Beyond loopback only the operator knows our names.
            .check_host = config().check_host &&
                          (config().listen.is_loopback() || !config().allowed_hosts.empty()),
            .trace = config().otel.endpoint.has_value(),
            .public_metrics = config().public_metrics,
            .metrics_key = door_.metrics_key,
            .require_key = config().require_key,
            .max_concurrent = config().max_concurrent,
            .total_budget = config().budgets.total};
  }

  server::Readiness readiness() const {
    if (stopping_) {
      return {.reasons = {"draining"}};
    }
    server::Readiness ready = graph_.readiness();
    if (pressure_.stage() >= PressureStage::kHigh) {
      ready.reasons.emplace_back("near its limits: new requests are refused");
    }
    return ready;
  }

  server::GatewayPorts ports() {
    std::vector<server::AdminRoute> routes = graph_.admin_routes();
    std::ranges::move(reloader_.admin_routes(), std::back_inserter(routes));
    routes.push_back({.method = "GET",
                      .path = "/admin/probe",
                      .handle = [this](const net::ServerRequest& request) {
                        return probe(
                            graph_.chat(), graph_.clock(), probed_route(request.query, config()));
                      }});
    return {
        .chat = graph_.chat(),
        .catalog = graph_.catalog(),
        .auth = graph_.authenticator(),
        .metrics = graph_.metrics(),
        .clock = graph_.clock(),
        .readiness = [this] { return readiness(); },
        .info = [this] { return graph_.info(); },
        .count_tokens = [this](const ChatRequest& request) { return graph_.count_tokens(request); },
        .admin_routes = std::move(routes),
        .admits = [this](bool low_priority) { return pressure_.admits(low_priority); }};
  }

  boost::asio::io_context& io_;
  const std::size_t room_ = connections_within(raise_descriptor_limit());
  const Home& home_;
  Graph& graph_;
  Door door_;
  Pressure pressure_;
  std::chrono::nanoseconds loop_lag_{0};
  Reloader reloader_;
  server::Gateway gateway_;
  net::Server server_;
  net::Address bound_;
  CancelSource stop_source_;
  std::int64_t started_ms_ = SystemClock().unix_ms();
  std::optional<std::string> written_;  // the state file's content in short
  bool stopping_ = false;
  int exit_code_ = 0;
};

}  // namespace

Result<int> serve(const ConfigSource& source, const Home& home, const OnProgress& progress) {
  GENESIS_TRY(Config read, source());
  const auto config = std::make_shared<const Config>(std::move(read));
  log_configure(config->log_level, config->log_format);
  boost::asio::io_context io(1);
  GENESIS_TRY(const auto graph, Graph::open(io, config, home));
  GENESIS_TRY_VOID(refuse_without_keys(*config, *graph));
  GENESIS_TRY_VOID(check_transport(*config));
  GENESIS_TRY(Door door, open_door(*config));
  GENESIS_TRY_VOID(graph->build(progress));
  GatewayProcess process(io, source, home, *graph, std::move(door));
  return process.run();
}

}  // namespace genesis::app
