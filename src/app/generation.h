// Generation: all that one reading of the configuration decides about where requests go. Reading it
// again makes the next generation, which takes over the endpoints that did not change with their
// breakers, connections and engines; requests in flight end in the generation they began in.
#pragma once

#include "api/catalog.h"
#include "api/chat.h"
#include "api/routing.h"
#include "app/config.h"
#include "app/endpoint_chain.h"
#include "app/key_access.h"
#include "base/result.h"
#include "endpoint/dispatcher.h"
#include "ledger/price_table.h"
#include "router/agent_chat.h"
#include "router/capped_chat.h"
#include "router/rule_router.h"

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace genesis::app {

// What is shared by all generations and outlives them.
struct GenerationParts {
  ChainPorts ports;
  const KeyAccess& access;
  std::vector<RequestObserver*> observers;  // told of every request
  router::RouterState routing;
};

// Where a local endpoint's engine is to be found and started.
using LaunchOf = std::function<Result<EngineLaunch>(const EndpointConfig&)>;

// Lives on the io thread. Whatever a request starts must have ended when its chat() returns: the
// generation may be gone right after.
class Generation {
 public:
  // Reads prices and secrets; starts nothing. `previous` may be null.
  static Result<std::shared_ptr<Generation>> build(const GenerationParts& parts,
                                                   std::shared_ptr<const Config> config,
                                                   const Generation* previous,
                                                   const LaunchOf& launch_of);

  int number() const { return number_; }

  const Config& config() const { return *config_; }

  const std::shared_ptr<const ledger::PriceTable>& prices() const { return prices_; }

  ChatModel& chat() { return *agents_; }

  // By the endpoint that would answer; nullopt where it cannot tell.
  Task<Result<std::optional<std::int64_t>>> count_tokens(const ChatRequest& request);

  // Routes, aliases, endpoints and their models: everything `model` may say.
  const std::vector<ModelCard>& models() const { return models_; }

  const std::vector<std::shared_ptr<EndpointChain>>& chains() const { return chains_; }

  // Null when there is no endpoint of that name.
  std::shared_ptr<EndpointChain> chain(std::string_view name) const;

 private:
  Generation(std::shared_ptr<const Config> config, int number);

  Result<void> add_chain(const ChainPorts& ports,
                         const EndpointConfig& endpoint,
                         const Generation* previous,
                         const LaunchOf& launch_of);
  endpoint::DispatchTarget make_target(const GenerationParts& parts, EndpointChain& chain);
  void add_dispatcher(const GenerationParts& parts);
  void add_model(const std::string& id, const std::string& owner, const std::string& kind);
  void list_models();

  std::shared_ptr<const Config> config_;
  int number_;
  std::shared_ptr<const ledger::PriceTable> prices_;
  std::vector<std::shared_ptr<EndpointChain>> chains_;
  std::unique_ptr<router::RuleRouter> router_;
  std::vector<std::unique_ptr<router::CappedChat>> capped_;  // commercial endpoints, with a cap
  std::unique_ptr<endpoint::Dispatcher> dispatcher_;
  std::unique_ptr<router::AgentChat> agents_;
  std::vector<ModelCard> models_;
  std::int64_t made_unix_;
};

}  // namespace genesis::app
