// EndpointChain: one configured endpoint with everything it owns, in the order in which an attempt
// passes through it: metered -> guarded -> (local engine ->) provider -> its own HTTP client.
#pragma once

#include "app/config.h"
#include "app/engine_supervisor.h"
#include "app/local_endpoint.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/sha256.h"
#include "endpoint/dispatcher.h"
#include "endpoint/guarded_chat.h"
#include "ledger/metered.h"
#include "net/client.h"
#include "provider/upstream.h"

#include <memory>

namespace genesis::app {

// What a chain needs from the graph; all of it outlives the chain.
struct ChainPorts {
  Executor executor;
  const Clock& clock;
  MetricsRegistry& metrics;
  Ledger& ledger;
};

// Lives on the io thread.
class EndpointChain {
 public:
  // `engine` is set for local endpoints.
  EndpointChain(ChainPorts ports,
                EndpointConfig config,
                EndpointSecrets secrets,
                std::shared_ptr<EngineSupervisor> engine);

  const EndpointConfig& config() const { return config_; }

  const Executor& executor() const { return executor_; }

  // Null for urls. Shared with the chain that follows this one when the configuration is read
  // again.
  const std::shared_ptr<EngineSupervisor>& engine() const { return supervisor_; }

  // True when a chain made from these would be no other than this one.
  bool made_from(const EndpointConfig& config,
                 const EndpointSecrets& secrets,
                 const std::shared_ptr<EngineSupervisor>& engine) const;

  endpoint::DispatchTarget target();

  // Of a request that came as a count_tokens call; nullopt where the endpoint cannot tell, or does
  // not at the moment. `cancel` ends the wait.
  Task<std::optional<std::int64_t>> count_tokens(const ChatRequest& request, CancelToken cancel);

  EndpointSnapshot snapshot() const { return guarded_.snapshot(); }

 private:
  provider::UpstreamOptions provider_options(EndpointSecrets secrets) const;
  endpoint::GuardedChat::Options guard_options();
  bool counts_tokens() const;

  Executor executor_;
  EndpointConfig config_;
  Digest secrets_digest_;
  net::Client client_;
  std::shared_ptr<EngineSupervisor> supervisor_;  // local endpoints only, as the next but one
  provider::UpstreamOptions upstream_;
  std::unique_ptr<ChatModel> provider_;
  std::unique_ptr<LocalEndpoint> local_;
  endpoint::GuardedChat guarded_;
  ledger::MeteredChat metered_;
};

}  // namespace genesis::app
