#include "app/engine_app.h"

#include "app/engine_adapters.h"
#include "app/ready_line.h"
#include "base/log.h"
#include "base/sha256.h"
#include "engine/local_chat.h"
#include "net/server.h"
#include "server/errors.h"
#include "server/gateway.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

#include <csignal>

namespace genesis::app {

namespace {

// The heartbeat of a healthy engine is younger than this.
constexpr std::int64_t kHeartbeatLimitMs = 2'000;
constexpr std::chrono::milliseconds kDrain{10'000};

// One model under its name, and its adapters under theirs.
class EngineCatalog final : public ModelCatalog {
 public:
  EngineCatalog(ModelCard card, const EngineAdapters& adapters)
      : card_(std::move(card)), adapters_(adapters) {}

  std::vector<ModelCard> models() const override {
    std::vector<ModelCard> cards = adapters_.cards();
    for (ModelCard& adapter : cards) {
      adapter.created_unix = card_.created_unix;
    }
    cards.insert(cards.begin(), card_);
    return cards;
  }

 private:
  ModelCard card_;
  const EngineAdapters& adapters_;
};

// One key, or none (loopback and Unix sockets only).
class SingleKey final : public server::Authenticator {
 public:
  explicit SingleKey(std::string key) : key_(std::move(key)) {}

  Result<server::Principal> authenticate(std::optional<std::string_view> token) const override {
    if (!key_.empty() && !(token && equal_constant_time(*token, key_))) {
      return fail(ErrorCode::kUnauthenticated,
                  "missing or wrong API key",
                  "send Authorization: Bearer KEY");
    }
    return server::Principal{.key_id = std::string(key_.empty() ? server::kKeylessId : "engine"),
                             .tenant = "default",
                             // Who has the only key may do everything; without one, nobody
                             // may tell this process which files to read.
                             .admin = !key_.empty(),
                             .models = {}};
  }

 private:
  std::string key_;
};

// Everything an engine process owns, in order of construction.
class EngineApp {
 public:
  EngineApp(const EngineAppOptions& options,
            model::LoadedModel loaded,
            std::unique_ptr<engine::Runner> draft_model)
      : options_(options),
        engine_(std::move(loaded.runner), options.engine, metrics_, std::move(draft_model)),
        adapters_(engine_, options.model_name),
        chat_(
            io_.get_executor(),
            engine_,
            std::move(loaded.text),
            ServedBy{.endpoint = "engine", .model = options.model_name, .tier = Tier::kSelfHosted},
            &adapters_.book()),
        catalog_({.id = options.model_name,
                  .owned_by = "genesis",
                  .created_unix = clock_.unix_ms() / 1000,
                  .max_context = engine_.info().max_context,
                  .sha256 = engine_.info().weights_sha256,
                  .kind = "model"},
                 adapters_),
        auth_(options.api_key),
        gateway_(io_.get_executor(), gateway_options(), ports()),
        server_(
            io_.get_executor(),
            [this](const net::ServerRequest& request, net::ResponseWriter& response) {
              return gateway_.handle(request, response);
            },
            net::ServerLimits{},
            server::refusal_body) {}

  Result<void> run() {
    for (const std::string& adapter : options_.adapters) {
      GENESIS_TRY_VOID(adapters_.load_first(adapter));
    }
    GENESIS_TRY(const net::Address bound, server_.listen(options_.listen));
    log(LogLevel::kInfo,
        "engine ready",
        {{"model", options_.model_name},
         {"listen", bound.to_string()},
         {"isa", engine_.info().isa},
         {"kv", engine_.info().kv_format},
         {"context", engine_.info().max_context},
         {"kv_pages", engine_.info().num_pages}});
    if (options_.announce) {
      print_engine_ready(bound, options_.model_name, engine_.info().isa);
    }
    boost::asio::signal_set signals(io_, SIGTERM, SIGINT);
    signals.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) {
        boost::asio::co_spawn(io_, shut_down(), boost::asio::detached);
      }
    });
    io_.run();
    return {};
  }

 private:
  Task<void> shut_down() {
    server_.stop_accepting();
    co_await server_.drain(kDrain);
    io_.stop();
  }

  server::GatewayOptions gateway_options() const {
    return {.version = options_.version,
            .default_model = options_.model_name,
            .allowed_hosts = {"localhost", "127.0.0.1", "[::1]"},
            .behind_gateway = options_.supervised,
            .require_key = !options_.api_key.empty(),
            .max_concurrent = options_.engine.max_batch + options_.engine.max_queue};
  }

  server::GatewayPorts ports() {
    return {.chat = chat_,
            .catalog = catalog_,
            .auth = auth_,
            .metrics = metrics_,
            .clock = clock_,
            .readiness = [this] { return readiness(); },
            .info = [this] { return info(); },
            .count_tokens =
                [this](const ChatRequest& request) -> Task<Result<std::optional<std::int64_t>>> {
              GENESIS_CO_TRY(const std::int64_t tokens, chat_.count_tokens(request));
              co_return tokens;
            },
            .admin_routes = adapters_.routes()};
  }

  server::Readiness readiness() const {
    const std::int64_t age = clock_.unix_ms() - engine_.stats().last_step_unix_ms;
    if (age > kHeartbeatLimitMs) {
      return {.reasons = {fmt::format("the engine has not stepped for {} ms", age)}};
    }
    return {};
  }

  server::ServiceInfo info() const {
    const engine::RunnerInfo& runner = engine_.info();
    return {
        .model_id = options_.model_name,
        .model_sha = runner.weights_sha256,
        .model_dtype = options_.load.precision == model::Precision::kFp32 ? "float32" : "quantized",
        .isa = runner.isa,
        .kv_format = runner.kv_format,
        .max_input_tokens = runner.max_context - 1,
        .max_total_tokens = runner.max_context,
        .max_concurrent_requests = options_.engine.max_batch + options_.engine.max_queue};
  }

  const EngineAppOptions& options_;
  boost::asio::io_context io_{1};
  SystemClock clock_;
  MetricsRegistry metrics_;
  engine::Engine engine_;
  EngineAdapters adapters_;
  engine::LocalChat chat_;
  EngineCatalog catalog_;
  SingleKey auth_;
  server::Gateway gateway_;
  net::Server server_;
};

// The keys and values of guesses need less room than those of answers: who has none guesses
// nothing.
constexpr std::int64_t kDraftShareOfPages = 4;

// Guesses only help if the same number is the same token to both; a few more at the end do no harm,
// as models of one family are padded to different sizes.
Result<void> check_same_tokens(const text::Tokenizer& model, const text::Tokenizer& draft) {
  const std::int32_t common = std::min(model.vocab_size(), draft.vocab_size());
  for (std::int32_t id = 0; id < common; ++id) {
    if (model.token_bytes(id) != draft.token_bytes(id)) {
      return fail_param(
          "draft",
          fmt::format("the draft model has another vocabulary: its token {} differs", id),
          ErrorCode::kConfig);
    }
  }
  return {};
}

Result<std::unique_ptr<engine::Runner>> load_draft_model(const EngineAppOptions& options,
                                                         const text::Tokenizer& tokenizer) {
  model::LoadOptions load = options.load;
  load.kv_bytes /= kDraftShareOfPages;
  auto loaded = model::load_model(options.draft_path, load);
  if (!loaded) {
    Error error = std::move(loaded).error();
    error.message = fmt::format("the draft model: {}", error.message);
    return std::unexpected(std::move(error));
  }
  GENESIS_TRY_VOID(check_same_tokens(tokenizer, *loaded->text.tokenizer));
  log(LogLevel::kInfo, "draft model", {{"path", options.draft_path.string()}});
  return std::move(loaded->runner);
}

}  // namespace

Result<void> run_engine(const EngineAppOptions& options) {
  if (!options.listen.is_loopback() && options.api_key.empty()) {
    return fail_param("listen",
                      fmt::format("{} is reachable from other machines and no API key is set",
                                  options.listen.to_string()),
                      ErrorCode::kConfig);
  }
  GENESIS_TRY(model::LoadedModel loaded, model::load_model(options.model_path, options.load));
  std::unique_ptr<engine::Runner> draft_model;
  if (!options.draft_path.empty()) {
    GENESIS_TRY(draft_model, load_draft_model(options, *loaded.text.tokenizer));
  }
  EngineApp app(options, std::move(loaded), std::move(draft_model));
  return app.run();
}

}  // namespace genesis::app
