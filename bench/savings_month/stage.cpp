#include "stage.h"

#include "app/config.h"
#include "app/home.h"
#include "app/prices.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "endpoint/dispatcher.h"
#include "ledger/machine.h"
#include "ledger/metered.h"
#include "ledger/schema.h"
#include "ledger/sql_ledger.h"
#include "ledger/verify.h"
#include "router/agent_chat.h"
#include "router/capped_chat.h"
#include "router/rule_router.h"
#include "store/database.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>

namespace genesis::bench {

namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kStart = 1'762'214'400'000;  // 2025-11-04T00:00:00Z, a Tuesday
// Failures before the first token (nothing is billed) and within the answer (what came is).
constexpr double kFailsBefore = 0.010;
constexpr double kFailsWithin = 0.004;
// A distilled R1 thinks before it answers; three times the output tokens of the answer alone.
constexpr std::int64_t kThinking = 3;
constexpr std::string_view kThinker = "deepseek-r1";
constexpr milliseconds kFirstToken{400};
constexpr milliseconds kPerToken{12};
constexpr std::int64_t kBytesPerToken = 4;

// Reads the answer and throws it away.
class NullSink final : public ChatSink {
 public:
  Task<Result<void>> begin(const ServedBy&) override { co_return Result<void>{}; }

  Task<Result<void>> write(const ChatDelta&) override { co_return Result<void>{}; }

  CancelToken cancel_token() const override { return source_.token(); }

 private:
  CancelSource source_;
};

// What the request in hand really is; endpoints "generate" so many tokens.
struct Truth {
  Ask ask;
};

// An endpoint that takes time on the manual clock and tells its usage.
class SimulatedChat final : public ChatModel {
 public:
  struct Options {
    std::string name;
    std::string model;
    Tier tier = Tier::kManaged;
    std::int64_t cached_permille = 0;
  };

  SimulatedChat(ManualClock& clock, Random& random, const Truth& truth, Options options)
      : clock_(clock), random_(random), truth_(truth), options_(std::move(options)) {}

  Task<Result<Usage>> chat(const ChatRequest&, ChatSink& sink) override {
    used_at_ = clock_.unix_ms();
    const std::int64_t factor = options_.model.starts_with(kThinker) ? kThinking : 1;
    Usage usage{.input = truth_.ask.input, .output = truth_.ask.output * factor};
    usage.reasoning = usage.output - truth_.ask.output;
    usage.cached_input = usage.input * options_.cached_permille / 1000;
    clock_.advance(kFirstToken);
    if (random_.uniform() < kFailsBefore) {
      co_return failed(503);
    }
    GENESIS_CO_TRY_VOID(co_await sink.begin(
        {.endpoint = options_.name, .model = options_.model, .tier = options_.tier}));
    const bool cut = random_.uniform() < kFailsWithin;
    const std::int64_t tokens =
        cut ? static_cast<std::int64_t>(static_cast<double>(usage.output) * random_.uniform())
            : usage.output;
    clock_.advance(kPerToken * tokens);
    ChatDelta delta;
    delta.text.assign(static_cast<std::size_t>(tokens * kBytesPerToken), 'x');
    if (!cut) {
      delta.finish = FinishReason::kStop;
    }
    GENESIS_CO_TRY_VOID(co_await sink.write(delta));
    used_at_ = clock_.unix_ms();
    if (cut) {
      co_return failed(200);
    }
    co_return usage;
  }

  // When it last had work; 0: never.
  std::int64_t used_at() const { return used_at_; }

 private:
  std::unexpected<Error> failed(int status) const {
    Error error;
    error.code = ErrorCode::kUnavailable;
    error.message = "simulated failure";
    error.upstream_status = status;
    return std::unexpected(std::move(error));
  }

  ManualClock& clock_;
  Random& random_;
  const Truth& truth_;
  Options options_;
  std::int64_t used_at_ = 0;
};

// The machine under an endpoint that is paid by the hour: up from its first work until it has been
// idle for long enough.
class Machine {
 public:
  Machine(ledger::SqlLedger& ledger,
          const Clock& clock,
          const SimulatedChat& chat,
          ledger::MachineMeterOptions options,
          std::int64_t idle_stop_minutes)
      : ledger_(ledger),
        clock_(clock),
        chat_(chat),
        options_(std::move(options)),
        idle_stop_ms_(idle_stop_minutes * kMinuteMs) {}

  // Once a minute.
  Task<Result<void>> tick() {
    const bool idle = clock_.unix_ms() - chat_.used_at() > idle_stop_ms_;
    if (idle_stop_ms_ > 0 && idle) {
      meter_.reset();
      co_return Result<void>{};
    }
    if (!meter_) {
      meter_.emplace(ledger_, clock_, options_);
    }
    co_return co_await meter_->pay();
  }

 private:
  ledger::SqlLedger& ledger_;
  const Clock& clock_;
  const SimulatedChat& chat_;
  ledger::MachineMeterOptions options_;
  std::int64_t idle_stop_ms_;
  std::optional<ledger::MachineMeter> meter_;
};

EndpointSnapshot snapshot_of(const app::EndpointConfig& endpoint,
                             const ledger::PriceTable& prices) {
  EndpointSnapshot snapshot{.name = endpoint.name, .model = endpoint.model, .tier = endpoint.tier};
  snapshot.price.per_hour = prices.endpoint_per_hour(endpoint.name);
  if (const auto* tokens = prices.find_for(endpoint.name, endpoint.model, kStart)) {
    snapshot.price.input = tokens->input;
    snapshot.price.cached_input = tokens->cached_input;
    snapshot.price.output = tokens->output;
  }
  return snapshot;
}

// The gateway of one stage without its sockets.
class Gateway {
 public:
  Gateway(const Stage& stage, const StageRun& run)
      : stage_(stage), run_(run), random_(run.seed), clock_(kStart) {}

  Result<StageResult> run(const std::vector<Ask>& traffic) {
    GENESIS_TRY_VOID(open());
    Result<void> ended;
    std::exception_ptr thrown;
    boost::asio::co_spawn(io_, month(traffic), [&](std::exception_ptr error, Result<void> result) {
      thrown = error;
      ended = std::move(result);
    });
    io_.run();
    if (thrown) {
      std::rethrow_exception(thrown);
    }
    GENESIS_TRY_VOID(ended);
    GENESIS_TRY_VOID(ledger::verify_rows(*database_));
    GENESIS_TRY(result_.savings,
                ledger::compute_savings(*database_,
                                        {.since_ms = kStart,
                                         .until_ms = kStart + run_.hours * 60 * kMinuteMs,
                                         .tokens = config_.baseline_tokens}));
    return std::move(result_);
  }

 private:
  Result<void> open() {
    app::Home home;
    home.data = run_.scratch;
    home.config_file = run_.configs / (stage_.name + ".toml");
    home.config_file_required = true;
    GENESIS_TRY(config_, app::load_config(home, {}));
    GENESIS_TRY(prices_, app::load_prices(config_));
    const auto path = run_.scratch / (stage_.name + ".db");
    GENESIS_TRY(database_, store::Database::open({.path = path, .schemas = {ledger::schema()}}));
    GENESIS_TRY(
        ledger_,
        ledger::SqlLedger::open(
            *database_,
            clock_,
            metrics_,
            {.prices = prices_, .baselines = config_.baselines, .ring = path.string() + ".ring"}));
    router::RouterState state;
    if (config_.commercial_cap) {
      state.cap = std::make_shared<router::ShareCap>(*config_.commercial_cap);
    }
    router_ = std::make_unique<router::RuleRouter>(app::router_rules(config_), state);
    std::vector<endpoint::DispatchTarget> targets;
    for (const app::EndpointConfig& endpoint : config_.endpoints) {
      targets.push_back(add_endpoint(endpoint, state.cap));
    }
    dispatcher_ = std::make_unique<endpoint::Dispatcher>(
        endpoint::DispatcherParts{
            .executor = io_.get_executor(),
            .clock = clock_,
            .router = *router_,
            .targets = std::move(targets),
            .permission = [](const auto&, const auto&) { return Result<void>{}; },
            .observers = {router_.get()}},
        endpoint::DispatchOptions{.retry_pause = milliseconds(1), .seed = run_.seed});
    agents_ = std::make_unique<router::AgentChat>(*dispatcher_, config_.agents);
    return {};
  }

  endpoint::DispatchTarget add_endpoint(const app::EndpointConfig& endpoint,
                                        const std::shared_ptr<router::ShareCap>& cap) {
    simulated_.push_back(std::make_unique<SimulatedChat>(
        clock_,
        random_,
        truth_,
        SimulatedChat::Options{.name = endpoint.name,
                               .model = endpoint.model,
                               .tier = endpoint.tier,
                               .cached_permille = stage_.cached_permille}));
    models_.push_back(std::make_unique<ledger::MeteredChat>(
        *ledger_,
        clock_,
        metrics_,
        *simulated_.back(),
        ledger::MeteredOptions{
            .endpoint = endpoint.name, .tier = endpoint.tier, .price_model = endpoint.model}));
    if (const auto per_hour = prices_->endpoint_per_hour(endpoint.name)) {
      machines_.push_back(std::make_unique<Machine>(
          *ledger_,
          clock_,
          *simulated_.back(),
          ledger::MachineMeterOptions{
              .endpoint = endpoint.name, .tier = endpoint.tier, .per_hour = *per_hour},
          stage_.idle_stop_minutes));
    }
    if (endpoint.tier == Tier::kCommercial && cap) {
      models_.push_back(std::make_unique<router::CappedChat>(*models_.back(), cap, clock_));
    }
    return {.name = endpoint.name,
            .model = endpoint.model,
            .chat = models_.back().get(),
            .snapshot = [snapshot = snapshot_of(endpoint, *prices_)] { return snapshot; }};
  }

  Task<Result<void>> month(const std::vector<Ask>& traffic) {
    const std::int64_t minutes = run_.hours * 60;
    auto next = traffic.begin();
    for (std::int64_t minute = 0; minute < minutes; ++minute) {
      reach(minute * kMinuteMs);
      for (const auto& machine : machines_) {
        GENESIS_CO_TRY_VOID(co_await machine->tick());
      }
      for (; next != traffic.end() && next->at_ms < (minute + 1) * kMinuteMs; ++next) {
        reach(next->at_ms);
        GENESIS_CO_TRY_VOID(co_await answer(*next));
      }
    }
    co_return co_await ledger_->flush();
  }

  // Answers that take longer than the gap to the next request push it back: they are served one by
  // one here.
  void reach(std::int64_t at_ms) {
    const std::int64_t behind = kStart + at_ms - clock_.unix_ms();
    if (behind > 0) {
      clock_.advance(milliseconds(behind));
    }
  }

  Task<Result<void>> answer(const Ask& ask) {
    ++result_.requests;
    const bool cheap =
        ask.task == "routing" || ask.task == "classification" || ask.task == "validation";
    if (cheap && random_.below(1000) < static_cast<std::uint64_t>(stage_.case_bank_permille)) {
      ++result_.from_case_bank;
      co_return Result<void>{};
    }
    truth_.ask = ask;
    ChatRequest request;
    request.id = fmt::format("r{}", result_.requests);
    request.route = ask.agent;
    request.tenant = "fleet";
    request.key_id = "sim";
    request.caller.task = ask.task;
    request.stream = true;
    request.sampling.max_tokens = 100'000;
    auto input = std::make_shared<ChatInput>();
    input->messages.push_back(
        {.role = "user",
         .content = std::string(static_cast<std::size_t>(ask.input * kBytesPerToken), 'x')});
    request.input = std::move(input);
    NullSink sink;
    const auto answered = co_await agents_->chat(request, sink);
    // Cut answers and total failures are what real traffic has too; anything else is a bug here.
    if (!answered && answered.error().code != ErrorCode::kUnavailable) {
      co_return std::unexpected(answered.error());
    }
    result_.unanswered += answered ? 0 : 1;
    co_return Result<void>{};
  }

  const Stage& stage_;
  const StageRun& run_;
  Random random_;
  ManualClock clock_;
  MetricsRegistry metrics_;
  boost::asio::io_context io_;
  Truth truth_;
  app::Config config_;
  std::shared_ptr<const ledger::PriceTable> prices_;
  std::unique_ptr<store::Database> database_;
  std::unique_ptr<ledger::SqlLedger> ledger_;
  std::vector<std::unique_ptr<SimulatedChat>> simulated_;
  std::vector<std::unique_ptr<ChatModel>> models_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::unique_ptr<router::RuleRouter> router_;
  std::unique_ptr<endpoint::Dispatcher> dispatcher_;
  std::unique_ptr<router::AgentChat> agents_;
  StageResult result_;
};

}  // namespace

Result<StageResult> run_stage(const Stage& stage,
                              const std::vector<Ask>& traffic,
                              const StageRun& run) {
  return Gateway(stage, run).run(traffic);
}

std::vector<std::string> endpoint_assumptions() {
  return {
      fmt::format("each endpoint refuses {:.1f} % of attempts and cuts {:.1f} % of answers;"
                  " a cut answer is billed and not delivered",
                  100 * kFailsBefore,
                  100 * kFailsWithin),
      fmt::format("a distilled R1 writes {} times the output tokens (it thinks aloud)", kThinking),
      "open models per token as the plan says: 98 % (Gemma), 97 % (R1 32B), 95 % (70B) below"
      " gpt-4o; machines 0.06 (CPU) and 0.60 (T4) USD an hour"};
}

}  // namespace genesis::bench
