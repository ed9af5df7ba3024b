#include "app/graph.h"

#include "app/adapter_orders.h"
#include "app/attempt_metrics.h"
#include "app/endpoint_chain.h"
#include "app/explain.h"
#include "app/generation.h"
#include "app/key_access.h"
#include "app/ledger_place.h"
#include "app/machine_clock.h"
#include "app/models.h"
#include "app/otlp_exporter.h"
#include "app/prices.h"
#include "app/share_history.h"
#include "app/trace_store.h"
#include "base/json.h"
#include "ledger/savings.h"
#include "ledger/sql_ledger.h"
#include "store/database.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unistd.h>
#include <utility>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// How often the requests of former generations are looked for.
constexpr milliseconds kSweepPeriod{50};
// The endpoints' gauges are for scrapers, who come every few seconds.
constexpr int kEndpointTurns = 10;
// How often is looked for gateways that are gone.
constexpr milliseconds kSettlePeriod{30'000};
// For an engine that no configuration names any more; its requests have ended.
constexpr milliseconds kRetiredGrace{5'000};
constexpr milliseconds kStopPoll{5};
// An engine that is starting may be told of an adapter when it is ready.
constexpr milliseconds kLongestAdapterWait{60'000};
// How long a failed write to the ledger makes us unready when nothing is written after it; then
// traffic may try again.
constexpr milliseconds kLedgerDoubt{10'000};

// An answer that ends when its reader leaves, or when the process does.
class UntilStopped final : public ChatSink {
 public:
  UntilStopped(ChatSink& inner, const CancelToken& stop)
      : inner_(inner),
        on_leave_(inner.cancel_token().on_cancel([end = end_]() mutable { end.cancel(); })),
        on_stop_(stop.on_cancel([end = end_]() mutable { end.cancel(); })) {}

  Task<Result<void>> begin(const ServedBy& served) override { return inner_.begin(served); }

  Task<Result<void>> write(const ChatDelta& delta) override { return inner_.write(delta); }

  CancelToken cancel_token() const override { return end_.token(); }

 private:
  ChatSink& inner_;
  CancelSource end_;
  CancelHook on_leave_;
  CancelHook on_stop_;
};

// The generation in force as a ChatModel and a catalog: a request holds on to the one it began in.
class CurrentGeneration final : public ChatModel, public ModelCatalog {
 public:
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override {
    const std::shared_ptr<Generation> held = generation;
    UntilStopped stoppable(sink, stop.token());
    co_return co_await held->chat().chat(request, stoppable);
  }

  Task<Result<std::optional<std::int64_t>>> count_tokens(const ChatRequest& request) {
    const std::shared_ptr<Generation> held = generation;
    co_return co_await held->count_tokens(request);
  }

  std::vector<ModelCard> models() const override { return generation->models(); }

  std::shared_ptr<Generation> generation;
  CancelSource stop;
};

// "Bearer " goes in front of a secret that is sent as authorization.
Result<OtlpOptions> otlp_options(const OtelConfig& config) {
  GENESIS_TRY(std::string secret, read_secret(config.secret_source, "otel.secret"));
  if (!secret.empty() && net::equal_names(config.header, "authorization")) {
    secret.insert(0, "Bearer ");
  }
  return OtlpOptions{.endpoint = config.endpoint,
                     .header = config.header,
                     .secret = std::move(secret),
                     .sample_ratio = config.sample_ratio};
}

TraceStoreOptions trace_options(const Config& config) {
  return {.max_requests = config.traces.max_requests, .max_age = config.traces.max_age};
}

class GraphImpl final : public Graph {
 public:
  GraphImpl(boost::asio::io_context& io, std::shared_ptr<const Config> config, const Home& home)
      : io_(io),
        first_config_(std::move(config)),
        home_(home),
        exporter_(io.get_executor(), metrics_, GENESIS_VERSION),
        ledger_lag_(metrics_.gauge("genesis_ledger_lag_seconds",
                                   "Age of the oldest ledger row that is not committed yet")),
        attempt_metrics_(metrics_) {}

  Result<void> open();

  Result<void> build(const OnProgress& progress) override;
  void start() override;

  void stop_answers() override { current_.stop.cancel(); }

  Task<void> stop(milliseconds grace) override;
  Task<Result<void>> reload(std::shared_ptr<const Config> config) override;

  const Config& config() const override { return now().config(); }

  int generation() const override { return now().number(); }

  ChatModel& chat() override { return current_; }

  Task<Result<std::optional<std::int64_t>>> count_tokens(const ChatRequest& request) override {
    return current_.count_tokens(request);
  }

  const ModelCatalog& catalog() const override { return current_; }

  const server::Authenticator& authenticator() const override { return *authenticator_; }

  ledger::KeyStore& keys() override { return *keys_; }

  MetricsRegistry& metrics() override { return metrics_; }

  const Clock& clock() const override { return clock_; }

  server::Readiness readiness() const override;

  double ledger_queue() const override {
    return static_cast<double>(database_->stats().queued) /
           static_cast<double>(store::DatabaseOptions{}.max_queue);
  }

  std::chrono::nanoseconds booking_wait() const override { return ledger_->longest_wait(); }

  server::ServiceInfo info() const override;
  std::vector<server::AdminRoute> admin_routes() override;
  std::vector<std::shared_ptr<EngineSupervisor>> engines() override;

 private:
  const Generation& now() const { return *current_.generation; }

  GenerationParts parts() {
    return {.ports = {.executor = io_.get_executor(),
                      .clock = clock_,
                      .metrics = metrics_,
                      .ledger = *ledger_},
            .access = *authenticator_,
            .observers = observers_,
            .routing = routing_};
  }

  Result<EngineLaunch> engine_launch(const Config& config,
                                     const EndpointConfig& endpoint,
                                     const OnProgress* progress);
  void enter(std::shared_ptr<Generation> next);
  Task<void> take_turn();
  Task<Result<void>> apply(std::shared_ptr<const Config> file);
  Task<Result<std::string>> load_adapter(std::string body);
  Task<Result<std::string>> unload_adapter(std::string body);
  Task<void> sweep();
  Task<void> keep_traces();
  Task<void> send_spans();
  void look_at_ledger();
  Task<void> settle_for_others();
  void tear_down(const Generation& generation);
  bool uses(const std::shared_ptr<EndpointChain>& chain) const;
  bool uses(const std::shared_ptr<EngineSupervisor>& engine) const;
  Task<void> stop_engine(std::shared_ptr<EngineSupervisor> engine, milliseconds grace);
  Result<std::string> savings_report() const;
  std::string endpoints_report() const;

  boost::asio::io_context& io_;
  std::shared_ptr<const Config> first_config_;
  const Home& home_;
  SystemClock clock_;
  MetricsRegistry metrics_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<ledger::SqlLedger> ledger_;
  std::unique_ptr<ledger::KeyStore> keys_;
  std::unique_ptr<KeyAccess> authenticator_;
  std::unique_ptr<MachineClock> machine_clock_;
  std::unique_ptr<TraceStore> traces_;
  OtlpExporter exporter_;
  Metric& ledger_lag_;
  AttemptMetrics attempt_metrics_;
  router::RouterState routing_;
  std::vector<RequestObserver*> observers_;  // filled before build(); they outlive the generations
  CurrentGeneration current_;
  // Former generations that may still have requests, the oldest first.
  std::vector<std::shared_ptr<Generation>> former_;
  CancelSource stopping_;
  std::optional<SteadyTime> last_failed_commit_;
  std::uint64_t failed_commits_ = 0;
  std::uint64_t commits_ = 0;
  // The configuration as it was read, and the adapters that were loaded since: they stay over the
  // next reading.
  std::shared_ptr<const Config> file_config_;
  std::vector<EndpointConfig> loaded_adapters_;
  bool changing_ = false;  // a change of generation is under way
  int background_ = 0;     // coroutines that stop() waits for
  int sockets_ = 0;        // engine sockets named so far
};

Result<void> GraphImpl::open() {
  GENESIS_TRY(auto prices, load_prices(*first_config_));
  GENESIS_TRY(auto place, ledger_place(*first_config_, home_, store::OpenMode::kOwner));
  place.schemas.push_back(trace_schema());
  GENESIS_TRY(database_, store::Database::open(std::move(place)));
  GENESIS_TRY(ledger_,
              ledger::SqlLedger::open(*database_,
                                      clock_,
                                      metrics_,
                                      {.prices = std::move(prices),
                                       .baselines = first_config_->baselines,
                                       .ring = first_config_->ledger_path.string() + ".ring"}));
  GENESIS_TRY_VOID(ledger_->set_file_budgets(first_config_->spend_limits));
  GENESIS_TRY(keys_, open_keys(*database_, clock_, home_));
  keys_->set_trusted(first_config_->keys_trusted);
  authenticator_ = std::make_unique<KeyAccess>(*keys_, first_config_->require_key);
  machine_clock_ = std::make_unique<MachineClock>(io_.get_executor(), *ledger_, clock_);
  traces_ = std::make_unique<TraceStore>(
      io_.get_executor(), *database_, metrics_, trace_options(*first_config_));
  observers_.push_back(traces_.get());
  GENESIS_TRY(OtlpOptions otlp, otlp_options(first_config_->otel));
  exporter_.configure(std::move(otlp));
  observers_.push_back(&exporter_);
  observers_.push_back(&attempt_metrics_);
  GENESIS_TRY(routing_.cap, make_share_cap(*first_config_, nullptr, *database_, clock_));
  return {};
}

// Without `progress` a model that is missing is an error, not a download.
Result<EngineLaunch> GraphImpl::engine_launch(const Config& config,
                                              const EndpointConfig& endpoint,
                                              const OnProgress* progress) {
  hub::ModelStore store(home_.models);
  const auto weights_of = [&](const std::string& name) -> Result<std::filesystem::path> {
    GENESIS_TRY(
        const hub::InstalledModel model,
        progress == nullptr ? find_model(store, name) : ensure_model(store, name, *progress));
    return store.weights_path(model);
  };
  GENESIS_TRY(const std::filesystem::path weights, weights_of(endpoint.model));
  std::filesystem::path draft;
  if (!endpoint.draft.empty()) {
    GENESIS_TRY(draft, weights_of(endpoint.draft));
  }
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
                      .draft_path = draft,
                      .socket = home_.run / fmt::format("e{}-{}.sock", ::getpid(), sockets_++),
                      .engine = config.engine};
}

Result<void> GraphImpl::build(const OnProgress& progress) {
  file_config_ = first_config_;
  GENESIS_TRY(current_.generation,
              Generation::build(parts(), first_config_, nullptr, [&](const auto& endpoint) {
                return engine_launch(*first_config_, endpoint, &progress);
              }));
  return {};
}

void GraphImpl::start() {
  enter(current_.generation);
  boost::asio::co_spawn(io_, sweep(), boost::asio::detached);
  boost::asio::co_spawn(io_, keep_traces(), boost::asio::detached);
  boost::asio::co_spawn(io_, send_spans(), boost::asio::detached);
  if (!database_->writer().empty()) {
    boost::asio::co_spawn(io_, settle_for_others(), boost::asio::detached);
  }
}

Task<void> GraphImpl::send_spans() {
  ++background_;
  co_await exporter_.run(stopping_.token());
  --background_;
}

Task<void> GraphImpl::keep_traces() {
  ++background_;
  co_await traces_->run(stopping_.token());
  --background_;
}

Task<Result<void>> GraphImpl::reload(std::shared_ptr<const Config> config) {
  co_await take_turn();
  auto done = co_await apply(std::move(config));
  changing_ = false;
  co_return done;
}

// Changes of generation come from the file and from the adapter routes, one at a time.
Task<void> GraphImpl::take_turn() {
  boost::asio::steady_timer timer(io_);
  while (changing_) {
    timer.expires_after(kStopPoll);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
  changing_ = true;
}

Task<Result<void>> GraphImpl::apply(std::shared_ptr<const Config> file) {
  const auto config = with_adapters(*file, loaded_adapters_);
  GenerationParts next_parts = parts();
  GENESIS_CO_TRY(next_parts.routing.cap, make_share_cap(*config, routing_.cap, *database_, clock_));
  GENESIS_CO_TRY(OtlpOptions otlp, otlp_options(config->otel));
  GENESIS_CO_TRY(auto next,
                 Generation::build(next_parts, config, &now(), [&](const auto& endpoint) {
                   return engine_launch(*config, endpoint, nullptr);
                 }));
  // Attempts reserved while the baselines are pinned still go by the old configuration.
  GENESIS_CO_TRY_VOID(
      co_await ledger_->reconfigure({.prices = next->prices(), .baselines = config->baselines}));
  GENESIS_CO_TRY_VOID(co_await ledger_->change_file_budgets(config->spend_limits));
  authenticator_->set_require_key(config->require_key);
  keys_->set_trusted(config->keys_trusted);
  traces_->configure(trace_options(*config));
  exporter_.configure(std::move(otlp));
  routing_ = next_parts.routing;
  file_config_ = std::move(file);
  former_.push_back(std::exchange(current_.generation, next));
  enter(std::move(next));
  co_return Result<void>{};
}

// What begins with a generation: its engines and the payment for its machines.
void GraphImpl::enter(std::shared_ptr<Generation> next) {
  for (const auto& chain : next->chains()) {
    const bool new_here = std::ranges::none_of(former_, [&](const auto& generation) {
      const auto before = generation->chain(chain->config().name);
      return before && before->engine() == chain->engine();
    });
    if (chain->engine() && new_here) {
      chain->engine()->start();
    }
  }
  for (const auto& chain : next->chains()) {
    const EndpointConfig& endpoint = chain->config();
    if (!endpoint.adapter_of.empty()) {
      chain->engine()->want_adapters({{endpoint.name, endpoint.adapter_folder}});
    }
  }
  machine_clock_->follow(*next);
}

// A commit that failed with none after it that did not: the disk is full, or gone.
void GraphImpl::look_at_ledger() {
  const store::DatabaseStats stats = database_->stats();
  if (stats.failed_commits > failed_commits_) {
    last_failed_commit_ = clock_.steady();
  } else if (stats.commits > commits_) {
    last_failed_commit_.reset();
  }
  ledger_lag_.set(std::chrono::duration<double>(ledger_->lag()).count());
  failed_commits_ = stats.failed_commits;
  commits_ = stats.commits;
}

// Tears former generations down as soon as none of their requests is left.
Task<void> GraphImpl::sweep() {
  ++background_;
  boost::asio::steady_timer timer(io_);
  const CancelToken stop = stopping_.token();
  const CancelHook wake = stop.on_cancel([&timer] { timer.cancel(); });
  for (int turn = 0; !stop.cancelled(); ++turn) {
    timer.expires_after(kSweepPeriod);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    look_at_ledger();
    if (turn % kEndpointTurns == 0) {
      for (const auto& chain : now().chains()) {
        attempt_metrics_.look_at(chain->snapshot());
      }
    }
    for (std::size_t i = 0; i < former_.size();) {
      if (former_[i].use_count() > 1) {
        ++i;
        continue;
      }
      const auto ended = former_[i];
      former_.erase(former_.begin() + static_cast<std::ptrdiff_t>(i));
      tear_down(*ended);
    }
  }
  --background_;
}

// Gateways that share the database and went for good leave attempts open; somebody has to end them.
Task<void> GraphImpl::settle_for_others() {
  ++background_;
  boost::asio::steady_timer timer(io_);
  const CancelToken stop = stopping_.token();
  const CancelHook wake = stop.on_cancel([&timer] { timer.cancel(); });
  while (!stop.cancelled()) {
    timer.expires_after(kSettlePeriod);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    if (stop.cancelled()) {
      break;
    }
    // Without the database there is nothing to settle; the next round comes soon.
    [[maybe_unused]] const auto settled = co_await ledger_->settle_absent_writers();
  }
  --background_;
}

void GraphImpl::tear_down(const Generation& generation) {
  for (const auto& chain : generation.chains()) {
    if (!uses(chain)) {
      machine_clock_->release(*chain);
    }
    // Its last request has ended, unless the name goes on in another generation.
    const EndpointConfig& endpoint = chain->config();
    if (!endpoint.adapter_of.empty() && now().chain(endpoint.name) == nullptr) {
      boost::asio::co_spawn(
          io_, chain->engine()->drop_adapter(endpoint.name), boost::asio::detached);
    }
    if (chain->engine() && !uses(chain->engine())) {
      boost::asio::co_spawn(
          io_, stop_engine(chain->engine(), kRetiredGrace), boost::asio::detached);
    }
  }
}

bool GraphImpl::uses(const std::shared_ptr<EndpointChain>& chain) const {
  const auto has = [&](const std::shared_ptr<Generation>& generation) {
    return std::ranges::count(generation->chains(), chain) > 0;
  };
  return has(current_.generation) || std::ranges::any_of(former_, has);
}

bool GraphImpl::uses(const std::shared_ptr<EngineSupervisor>& engine) const {
  const auto has = [&](const std::shared_ptr<Generation>& generation) {
    return std::ranges::any_of(generation->chains(),
                               [&](const auto& chain) { return chain->engine() == engine; });
  };
  return has(current_.generation) || std::ranges::any_of(former_, has);
}

Task<void> GraphImpl::stop_engine(std::shared_ptr<EngineSupervisor> engine, milliseconds grace) {
  ++background_;
  co_await engine->stop(grace);
  --background_;
}

Task<void> GraphImpl::stop(milliseconds grace) {
  stopping_.cancel();
  for (const auto& engine : engines()) {
    co_await engine->stop(grace);
  }
  co_await machine_clock_->stop();
  boost::asio::steady_timer timer(io_);
  while (background_ > 0) {
    timer.expires_after(kStopPoll);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

server::Readiness GraphImpl::readiness() const {
  server::Readiness readiness;
  bool any_usable = false;
  std::string why;
  for (const auto& chain : now().chains()) {
    const EndpointSnapshot snapshot = chain->snapshot();
    any_usable = any_usable || snapshot.usable;
    why += fmt::format("{}{}: {}", why.empty() ? "" : "; ", snapshot.name, snapshot.why_not);
  }
  if (last_failed_commit_ && clock_.steady() - *last_failed_commit_ < kLedgerDoubt) {
    readiness.reasons.emplace_back("the ledger could not be written a moment ago");
  }
  if (!any_usable) {
    readiness.reasons.push_back("no endpoint is usable (" + why + ")");
  }
  return readiness;
}

// TGI's clients ask one model's figures: the first local engine's, which told them when it was
// ready.
server::ServiceInfo GraphImpl::info() const {
  server::ServiceInfo info{.model_id = config().endpoints.front().model,
                           .max_concurrent_requests = config().max_concurrent};
  for (const auto& chain : now().chains()) {
    const auto told = parse_json(chain->engine() == nullptr ? "" : chain->engine()->info_json());
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
    info.kv_format = text("kv_format");
    info.max_input_tokens = number("max_input_tokens");
    info.max_total_tokens = number("max_total_tokens");
    break;
  }
  return info;
}

// Of the generation in force first, then those that end with former ones.
std::vector<std::shared_ptr<EngineSupervisor>> GraphImpl::engines() {
  std::vector<std::shared_ptr<EngineSupervisor>> out;
  const auto add = [&](const Generation& generation) {
    for (const auto& chain : generation.chains()) {
      if (chain->engine() && std::ranges::count(out, chain->engine()) == 0) {
        out.push_back(chain->engine());
      }
    }
  };
  add(now());
  for (const auto& generation : former_) {
    add(*generation);
  }
  return out;
}

Result<std::string> GraphImpl::savings_report() const {
  GENESIS_TRY(
      const ledger::Savings savings,
      ledger::compute_savings(
          *database_, {.until_ms = clock_.unix_ms() + 1, .tokens = config().baseline_tokens}));
  return ledger::savings_json(savings);
}

// Loads into the engine first, which knows what is wrong with it; then the name is made known.
Task<Result<std::string>> GraphImpl::load_adapter(std::string body) {
  GENESIS_CO_TRY(const EndpointConfig endpoint, read_adapter_order(body, config()));
  const auto engine = now().chain(endpoint.adapter_of)->engine();
  GENESIS_CO_TRY_VOID(
      co_await engine->wait_ready(clock_.steady() + kLongestAdapterWait, stopping_.token()));
  // Whoever had the name before may still be there for requests of a former generation.
  GENESIS_CO_TRY(
      std::string told,
      co_await engine->load_adapter(endpoint.name, endpoint.adapter_folder, /*in_place=*/true));
  co_await take_turn();
  const auto before = loaded_adapters_;
  std::erase_if(loaded_adapters_,
                [&](const EndpointConfig& each) { return each.name == endpoint.name; });
  loaded_adapters_.push_back(endpoint);
  const auto done = co_await apply(file_config_);
  if (!done) {
    loaded_adapters_ = before;
  }
  changing_ = false;
  GENESIS_CO_TRY_VOID(done);
  co_return told;
}

// The name goes first; the engine lets go of it when the requests that know it have ended.
Task<Result<std::string>> GraphImpl::unload_adapter(std::string body) {
  GENESIS_CO_TRY(const std::string name, read_adapter_name(body));
  co_await take_turn();
  const auto removed = std::erase_if(loaded_adapters_,
                                     [&](const EndpointConfig& each) { return each.name == name; });
  const auto done = removed == 0 ? no_adapter(config(), name) : co_await apply(file_config_);
  changing_ = false;
  GENESIS_CO_TRY_VOID(done);
  co_return unloaded_json(name);
}

std::string GraphImpl::endpoints_report() const {
  JsonWriter writer;
  writer.begin_array();
  for (const auto& chain : now().chains()) {
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
       .handle = [this](const net::ServerRequest&) -> Answer {
         GENESIS_CO_TRY_VOID(co_await ledger_->flush());
         co_return savings_report();
       }},
      {.method = "POST",
       .path = "/v1/load_lora_adapter",
       .handle = [this](const net::ServerRequest& request) { return load_adapter(request.body); }},
      {.method = "POST",
       .path = "/v1/unload_lora_adapter",
       .handle =
           [this](const net::ServerRequest& request) { return unload_adapter(request.body); }},
      {.method = "GET",
       .path = "/admin/endpoints",
       .handle = [this](const net::ServerRequest&) -> Answer { co_return endpoints_report(); }},
      {.method = "GET",
       .path = "/admin/explain/{id}",
       .handle = [this](const net::ServerRequest& request) -> Answer {
         const std::string id = request.path.substr(request.path.rfind('/') + 1);
         GENESIS_CO_TRY_VOID(co_await ledger_->flush());
         co_return explain_json(*database_, id);
       }}};
}

}  // namespace

Result<std::unique_ptr<Graph>> Graph::open(boost::asio::io_context& io,
                                           std::shared_ptr<const Config> config,
                                           const Home& home) {
  auto graph = std::make_unique<GraphImpl>(io, std::move(config), home);
  GENESIS_TRY_VOID(graph->open());
  return graph;
}

}  // namespace genesis::app
