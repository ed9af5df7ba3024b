#include "app/generation.h"

#include "app/engine_metrics.h"
#include "app/prices.h"
#include "base/random.h"

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace genesis::app {

namespace {

// The engine that runs already for the same launch, else a new one that is not started yet.
std::shared_ptr<EngineSupervisor> engine_for(EngineLaunch launch,
                                             const ChainPorts& ports,
                                             const Generation* previous) {
  const auto before = previous == nullptr ? nullptr : previous->chain(launch.name);
  if (before && before->engine() && before->engine()->launch().same_engine(launch)) {
    return before->engine();
  }
  auto on_metrics = [&metrics = ports.metrics, name = launch.name](std::string_view text) {
    mirror_engine_metrics(text, name, metrics);
  };
  return std::make_shared<EngineSupervisor>(
      ports.executor, std::move(launch), std::move(on_metrics));
}

// A secret that cannot be read, with the line that asks for it.
std::unexpected<Error> unreadable_secret(const Config& config,
                                         const EndpointConfig& endpoint,
                                         Error error) {
  const std::string field = error.param;
  for (std::size_t i = 0; i < config.endpoints.size(); ++i) {
    const auto key = fmt::format("endpoint[{}].{}", i, field);
    const auto origin = config.origins.find(key);
    if (config.endpoints[i].name == endpoint.name && origin != config.origins.end()) {
      error.param = key;
      error.message =
          fmt::format("{}: endpoint '{}': {}", origin->second.origin, endpoint.name, error.message);
    }
  }
  return std::unexpected(std::move(error));
}

// How often a dated price is looked up again for predictions.
constexpr std::chrono::seconds kPricePeriod{60};

// Who counts tokens wants to know before it asks; an estimate is better than a long wait.
constexpr std::chrono::seconds kLongestCount{2};

// What an endpoint asks at the moment, remembered for a while.
class RoutePrices {
 public:
  RoutePrices(std::shared_ptr<const ledger::PriceTable> table, const EndpointConfig& endpoint)
      : table_(std::move(table)),
        endpoint_(endpoint.name),
        model_(endpoint.price_model.empty() ? endpoint.model : endpoint.price_model) {}

  const RoutePrice& at(const Clock& clock) {
    if (clock.steady() >= until_) {
      until_ = clock.steady() + kPricePeriod;
      price_ = look_up(clock.unix_ms());
    }
    return price_;
  }

 private:
  RoutePrice look_up(std::int64_t unix_ms) const {
    RoutePrice price{.input = {},
                     .cached_input = {},
                     .output = {},
                     .per_hour = table_->endpoint_per_hour(endpoint_)};
    if (const ledger::TokenPrice* tokens = table_->find_for(endpoint_, model_, unix_ms)) {
      price.input = tokens->input;
      price.cached_input = tokens->cached_input;
      price.output = tokens->output;
    }
    return price;
  }

  std::shared_ptr<const ledger::PriceTable> table_;
  std::string endpoint_;
  std::string model_;
  SteadyTime until_;
  RoutePrice price_;
};

}  // namespace

Generation::Generation(std::shared_ptr<const Config> config, int number)
    : config_(std::move(config)), number_(number), made_unix_(SystemClock().unix_ms() / 1000) {}

Result<std::shared_ptr<Generation>> Generation::build(const GenerationParts& parts,
                                                      std::shared_ptr<const Config> config,
                                                      const Generation* previous,
                                                      const LaunchOf& launch_of) {
  const int number = previous == nullptr ? 1 : previous->number() + 1;
  std::shared_ptr<Generation> made(new Generation(std::move(config), number));
  GENESIS_TRY(made->prices_, load_prices(*made->config_));
  for (const EndpointConfig& endpoint : made->config_->endpoints) {
    GENESIS_TRY_VOID(made->add_chain(parts.ports, endpoint, previous, launch_of));
  }
  made->add_dispatcher(parts);
  made->list_models();
  return made;
}

Result<void> Generation::add_chain(const ChainPorts& ports,
                                   const EndpointConfig& endpoint,
                                   const Generation* previous,
                                   const LaunchOf& launch_of) {
  std::shared_ptr<EngineSupervisor> engine;
  if (!endpoint.adapter_of.empty()) {
    engine = chain(endpoint.adapter_of)->engine();
  } else if (endpoint.kind == EndpointKind::kLocal) {
    GENESIS_TRY(EngineLaunch launch, launch_of(endpoint));
    engine = engine_for(std::move(launch), ports, previous);
  }
  auto secrets = read_endpoint_secrets(endpoint);
  if (!secrets) {
    return unreadable_secret(*config_, endpoint, std::move(secrets).error());
  }
  auto before = previous == nullptr ? nullptr : previous->chain(endpoint.name);
  if (before && before->made_from(endpoint, *secrets, engine)) {
    chains_.push_back(std::move(before));
    return {};
  }
  chains_.push_back(
      std::make_shared<EndpointChain>(ports, endpoint, std::move(*secrets), std::move(engine)));
  return {};
}

// The chain as the dispatcher sees it, with what the router wants to know beside, and behind the
// share cap where it is commercial.
endpoint::DispatchTarget Generation::make_target(const GenerationParts& parts,
                                                 EndpointChain& chain) {
  endpoint::DispatchTarget target = chain.target();
  target.snapshot = [own = std::move(target.snapshot),
                     engine = chain.engine().get(),
                     prices = std::make_shared<RoutePrices>(prices_, chain.config()),
                     &clock = parts.ports.clock] {
    EndpointSnapshot snapshot = own();
    snapshot.price = prices->at(clock);
    snapshot.warm_up_ms = engine == nullptr ? 0 : engine->last_start_ms();
    return snapshot;
  };
  if (chain.config().tier == Tier::kCommercial && parts.routing.cap) {
    capped_.push_back(
        std::make_unique<router::CappedChat>(*target.chat, parts.routing.cap, parts.ports.clock));
    target.chat = capped_.back().get();
  }
  return target;
}

void Generation::add_dispatcher(const GenerationParts& parts) {
  router_ = std::make_unique<router::RuleRouter>(router_rules(*config_), parts.routing);
  std::vector<endpoint::DispatchTarget> targets;
  for (const auto& each : chains_) {
    targets.push_back(make_target(parts, *each));
  }
  std::vector<RequestObserver*> observers = parts.observers;
  observers.push_back(router_.get());
  std::array<std::uint8_t, 8> seed{};
  secure_random_bytes(seed);
  endpoint::DispatchOptions options = config_->retry;
  options.seed = std::bit_cast<std::uint64_t>(seed);
  dispatcher_ = std::make_unique<endpoint::Dispatcher>(
      endpoint::DispatcherParts{
          .executor = parts.ports.executor,
          .clock = parts.ports.clock,
          .router = *router_,
          .targets = std::move(targets),
          .permission =
              [&access = parts.access](const ChatRequest& request,
                                       const endpoint::DispatchTarget& target) {
                return access.may_use(request, target);
              },
          .observers = std::move(observers)},
      options);
  agents_ = std::make_unique<router::AgentChat>(*dispatcher_, config_->agents);
}

Task<Result<std::optional<std::int64_t>>> Generation::count_tokens(const ChatRequest& request) {
  GENESIS_CO_TRY(const std::string name, dispatcher_->first_choice(agents_->resolved(request)));
  const auto answers = chain(name);
  CancelSource cancel;
  boost::asio::steady_timer timer(answers->executor(), kLongestCount);
  timer.async_wait([cancel](const boost::system::error_code& error) mutable {
    if (!error) {
      cancel.cancel();
    }
  });
  co_return co_await answers->count_tokens(request, cancel.token());
}

std::shared_ptr<EndpointChain> Generation::chain(std::string_view name) const {
  const auto at =
      std::ranges::find_if(chains_, [&](const auto& each) { return each->config().name == name; });
  return at == chains_.end() ? nullptr : *at;
}

void Generation::add_model(const std::string& id,
                           const std::string& owner,
                           const std::string& kind) {
  if (std::ranges::find(models_, id, &ModelCard::id) == models_.end()) {
    models_.push_back({.id = id, .owned_by = owner, .created_unix = made_unix_, .kind = kind});
  }
}

void Generation::list_models() {
  for (const router::RouteRule& rule : config_->routes) {
    add_model(rule.name, "genesis", "route");
    for (const std::string& alias : rule.aliases) {
      add_model(alias, "genesis", "alias");
    }
  }
  for (const router::AgentRule& agent : config_->agents) {
    add_model(agent.name, "genesis", "agent");
  }
  for (const EndpointConfig& endpoint : config_->endpoints) {
    add_model(endpoint.name, endpoint.name, "endpoint");
    add_model(endpoint.model, endpoint.name, "model");
  }
}

}  // namespace genesis::app
