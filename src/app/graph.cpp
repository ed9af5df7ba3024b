#include "app/graph.h"

#include "app/endpoint_chain.h"
#include "app/key_access.h"
#include "app/models.h"
#include "app/prices.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "ledger/machine.h"
#include "ledger/savings.h"
#include "ledger/schema.h"
#include "ledger/sql_ledger.h"
#include "router/rule_router.h"
#include "store/database.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <unistd.h>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// How often running engines are looked at; minutes are paid ahead, so this can be slow.
constexpr milliseconds kMachinePeriod{1'000};

// Routes, aliases, endpoints and their models: everything `model` may say.
class RouteCatalog final : public ModelCatalog {
 public:
  RouteCatalog(const Config& config, std::int64_t created_unix) {
    for (const router::RouteRule& rule : config.routes) {
      add(rule.name, "genesis", "route", created_unix);
      for (const std::string& alias : rule.aliases) {
        add(alias, "genesis", "alias", created_unix);
      }
    }
    for (const EndpointConfig& endpoint : config.endpoints) {
      add(endpoint.name, endpoint.name, "endpoint", created_unix);
      add(endpoint.model, endpoint.name, "model", created_unix);
    }
  }

  std::vector<ModelCard> models() const override { return cards_; }

 private:
  void add(const std::string& id,
           const std::string& owner,
           const std::string& kind,
           std::int64_t created_unix) {
    if (std::ranges::find(cards_, id, &ModelCard::id) == cards_.end()) {
      cards_.push_back({.id = id, .owned_by = owner, .created_unix = created_unix, .kind = kind});
    }
  }

  std::vector<ModelCard> cards_;
};

class GraphImpl final : public Graph {
 public:
  GraphImpl(boost::asio::io_context& io, const Config& config, const Home& home)
      : io_(io), config_(config), home_(home), catalog_(config, clock_.unix_ms() / 1000) {}

  Result<void> open();

  Result<void> build(const OnProgress& progress) override;
  void start() override;
  Task<void> stop(milliseconds grace) override;

  ChatModel& chat() override { return *dispatcher_; }

  const ModelCatalog& catalog() const override { return catalog_; }

  const server::Authenticator& authenticator() const override { return *authenticator_; }

  ledger::KeyStore& keys() override { return *keys_; }

  MetricsRegistry& metrics() override { return metrics_; }

  const Clock& clock() const override { return clock_; }

  server::Readiness readiness() const override;
  server::ServiceInfo info() const override;
  std::vector<server::AdminRoute> admin_routes() override;
  std::vector<EngineSupervisor*> engines() override;

 private:
  Result<void> add_endpoint(const EndpointConfig& endpoint, const OnProgress& progress);
  Result<EngineLaunch> engine_launch(const EndpointConfig& endpoint, const OnProgress& progress);
  Task<void> pay_for(EndpointChain& chain, NanoUsd per_hour);
  Result<std::string> savings_report() const;
  std::string endpoints_report() const;

  boost::asio::io_context& io_;
  const Config& config_;
  const Home& home_;
  SystemClock clock_;
  MetricsRegistry metrics_;
  std::unique_ptr<store::Database> database_;
  std::shared_ptr<const ledger::PriceTable> prices_;
  std::unique_ptr<ledger::SqlLedger> ledger_;
  std::unique_ptr<ledger::KeyStore> keys_;
  std::unique_ptr<KeyAccess> authenticator_;
  RouteCatalog catalog_;
  std::vector<std::unique_ptr<EndpointChain>> chains_;
  std::unique_ptr<router::RuleRouter> router_;
  std::vector<RequestObserver*> observers_;  // told of every request; filled before build() ends
  std::unique_ptr<endpoint::Dispatcher> dispatcher_;
  CancelSource stopping_;
  int payers_ = 0;
};

Result<void> GraphImpl::open() {
  GENESIS_TRY(prices_, load_prices(config_));
  GENESIS_TRY(database_,
              store::Database::open({.path = config_.ledger_path,
                                     .mode = store::OpenMode::kOwner,
                                     .schemas = {ledger::schema()}}));
  GENESIS_TRY(
      ledger_,
      ledger::SqlLedger::open(
          *database_, clock_, metrics_, {.prices = prices_, .baselines = config_.baselines}));
  GENESIS_TRY(keys_, open_keys(*database_, clock_, home_));
  authenticator_ = std::make_unique<KeyAccess>(*keys_, config_.require_key);
  return {};
}

Result<EngineLaunch> GraphImpl::engine_launch(const EndpointConfig& endpoint,
                                              const OnProgress& progress) {
  hub::ModelStore store(home_.models);
  GENESIS_TRY(const hub::InstalledModel model, ensure_model(store, endpoint.model, progress));
  GENESIS_TRY(const std::filesystem::path weights, store.weights_path(model));
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return fail(ErrorCode::kInternal,
                fmt::format("cannot find the genesis binary: {}", error.message()));
  }
  return EngineLaunch{.name = endpoint.name,
                      .program = program.string(),
                      .model_path = weights,
                      .model_name = endpoint.model,
                      .socket = home_.run / fmt::format("e{}-{}.sock", ::getpid(), chains_.size()),
                      .engine = config_.engine};
}

Result<void> GraphImpl::add_endpoint(const EndpointConfig& endpoint, const OnProgress& progress) {
  std::optional<EngineLaunch> launch;
  if (endpoint.kind == EndpointKind::kLocal) {
    GENESIS_TRY(launch, engine_launch(endpoint, progress));
  }
  GENESIS_TRY(std::string key, read_secret(endpoint.api_key_source));
  const ChainPorts ports{
      .executor = io_.get_executor(), .clock = clock_, .metrics = metrics_, .ledger = *ledger_};
  chains_.push_back(
      std::make_unique<EndpointChain>(ports, endpoint, std::move(key), std::move(launch)));
  return {};
}

Result<void> GraphImpl::build(const OnProgress& progress) {
  for (const EndpointConfig& endpoint : config_.endpoints) {
    GENESIS_TRY_VOID(add_endpoint(endpoint, progress));
  }
  router_ = std::make_unique<router::RuleRouter>(config_.routes);
  std::vector<endpoint::DispatchTarget> targets;
  for (const auto& chain : chains_) {
    targets.push_back(chain->target());
  }
  std::array<std::uint8_t, 8> seed{};
  secure_random_bytes(seed);
  dispatcher_ = std::make_unique<endpoint::Dispatcher>(
      endpoint::DispatcherParts{
          .executor = io_.get_executor(),
          .clock = clock_,
          .router = *router_,
          .targets = std::move(targets),
          .permission =
              [this](const ChatRequest& request, const endpoint::DispatchTarget& target) {
                return authenticator_->may_use(request, target);
              },
          .observers = observers_},
      endpoint::DispatchOptions{.seed = std::bit_cast<std::uint64_t>(seed)});
  return {};
}

void GraphImpl::start() {
  for (const auto& chain : chains_) {
    if (EngineSupervisor* engine = chain->engine()) {
      engine->start();
    }
    if (const auto per_hour = prices_->endpoint_per_hour(chain->config().name)) {
      ++payers_;
      boost::asio::co_spawn(io_, pay_for(*chain, *per_hour), boost::asio::detached);
    }
  }
}

// Books machine time while there is a machine: always for a managed endpoint with an hourly price,
// for a local one while its process runs.
Task<void> GraphImpl::pay_for(EndpointChain& chain, NanoUsd per_hour) {
  std::optional<ledger::MachineMeter> meter;
  boost::asio::steady_timer timer(io_);
  const CancelToken stop = stopping_.token();
  const CancelHook wake = stop.on_cancel([&timer] { timer.cancel(); });
  while (!stop.cancelled()) {
    const bool runs = chain.engine() == nullptr || chain.engine()->pid() != 0;
    if (!runs) {
      meter.reset();  // what was stopped is not paid for; the next start pays anew
    } else {
      if (!meter) {
        meter.emplace(*ledger_,
                      clock_,
                      ledger::MachineMeterOptions{.endpoint = chain.config().name,
                                                  .tier = chain.config().tier,
                                                  .per_hour = per_hour});
      }
      const auto paid = co_await meter->pay();
      if (!paid) {
        log(LogLevel::kError,
            "machine time was not booked",
            {{"endpoint", chain.config().name}, {"reason", paid.error().message}});
      }
    }
    timer.expires_after(kMachinePeriod);
    if (!stop.cancelled()) {
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
  }
  --payers_;
}

Task<void> GraphImpl::stop(milliseconds grace) {
  stopping_.cancel();
  for (const auto& chain : chains_) {
    if (EngineSupervisor* engine = chain->engine()) {
      co_await engine->stop(grace);
    }
  }
  boost::asio::steady_timer timer(io_);
  while (payers_ > 0) {
    timer.expires_after(milliseconds(1));
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

server::Readiness GraphImpl::readiness() const {
  server::Readiness readiness;
  bool any_usable = false;
  std::string why;
  for (const auto& chain : chains_) {
    const EndpointSnapshot snapshot = chain->snapshot();
    any_usable = any_usable || snapshot.usable;
    why += fmt::format("{}{}: {}", why.empty() ? "" : "; ", snapshot.name, snapshot.why_not);
  }
  if (!any_usable) {
    readiness.reasons.push_back("no endpoint is usable (" + why + ")");
  }
  return readiness;
}

// TGI's clients ask one model's figures: the first local engine's, which told them when it was
// ready.
server::ServiceInfo GraphImpl::info() const {
  server::ServiceInfo info{.model_id = config_.endpoints.front().model,
                           .max_concurrent_requests = config_.max_concurrent};
  for (const auto& chain : chains_) {
    const EngineSupervisor* engine = chain->engine();
    const auto told = parse_json(engine == nullptr ? "" : engine->info_json());
    if (!told || !told->is_object()) {
      continue;
    }
    const auto text = [&](const char* key) {
      return get_string(told->get_object(), key).value_or(std::nullopt).value_or("");
    };
    const auto number = [&](const char* key) {
      return get_integer(told->get_object(), key).value_or(std::nullopt).value_or(0);
    };
    info.model_id = chain->config().model;
    info.model_sha = text("model_sha");
    info.model_dtype = text("model_dtype");
    info.isa = text("isa");
    info.max_input_tokens = number("max_input_tokens");
    info.max_total_tokens = number("max_total_tokens");
    break;
  }
  return info;
}

std::vector<EngineSupervisor*> GraphImpl::engines() {
  std::vector<EngineSupervisor*> out;
  for (const auto& chain : chains_) {
    if (EngineSupervisor* engine = chain->engine()) {
      out.push_back(engine);
    }
  }
  return out;
}

Result<std::string> GraphImpl::savings_report() const {
  GENESIS_TRY(
      const ledger::Savings savings,
      ledger::compute_savings(
          *database_, {.until_ms = clock_.unix_ms() + 1, .tokens = config_.baseline_tokens}));
  return ledger::savings_json(savings);
}

std::string GraphImpl::endpoints_report() const {
  JsonWriter writer;
  writer.begin_array();
  for (const auto& chain : chains_) {
    const EndpointSnapshot snapshot = chain->snapshot();
    writer.begin_object();
    writer.field("name", snapshot.name);
    writer.field("model", snapshot.model);
    writer.field("tier", tier_name(snapshot.tier));
    writer.field_bool("usable", snapshot.usable);
    writer.field("why_not", snapshot.why_not);
    writer.field("in_flight", std::int64_t{snapshot.in_flight});
    writer.field_number("first_token_ms", snapshot.first_token_ms);
    writer.field("pid", std::int64_t{chain->engine() == nullptr ? 0 : chain->engine()->pid()});
    writer.end_object();
  }
  writer.end_array();
  return writer.take();
}

std::vector<server::AdminRoute> GraphImpl::admin_routes() {
  using Answer = Task<Result<std::string>>;
  return {
      {.method = "GET",
       .path = "/admin/savings",
       .handle = [this](const net::ServerRequest&) -> Answer { co_return savings_report(); }},
      {.method = "GET",
       .path = "/admin/endpoints",
       .handle = [this](const net::ServerRequest&) -> Answer { co_return endpoints_report(); }}};
}

}  // namespace

Result<std::unique_ptr<Graph>> Graph::open(boost::asio::io_context& io,
                                           const Config& config,
                                           const Home& home) {
  auto graph = std::make_unique<GraphImpl>(io, config, home);
  GENESIS_TRY_VOID(graph->open());
  return graph;
}

}  // namespace genesis::app
