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
#include "provider/openai.h"

#include <memory>
#include <string>
#include <string_view>

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
  // `engine` is set for local endpoints; `api_key` is empty or the upstream's key.
  EndpointChain(ChainPorts ports,
                EndpointConfig config,
                std::string api_key,
                std::shared_ptr<EngineSupervisor> engine);

  const EndpointConfig& config() const { return config_; }

  // Null for urls. Shared with the chain that follows this one when the configuration is read
  // again.
  const std::shared_ptr<EngineSupervisor>& engine() const { return supervisor_; }

  // True when a chain made from these would be no other than this one.
  bool made_from(const EndpointConfig& config,
                 std::string_view api_key,
                 const std::shared_ptr<EngineSupervisor>& engine) const;

  endpoint::DispatchTarget target();

  EndpointSnapshot snapshot() const { return guarded_.snapshot(); }

 private:
  provider::UpstreamOptions provider_options(std::string api_key) const;
  endpoint::GuardedChat::Options guard_options();

  EndpointConfig config_;
  Digest api_key_digest_;
  net::Client client_;
  std::shared_ptr<EngineSupervisor> supervisor_;  // local endpoints only, as the next but one
  provider::OpenAiProvider provider_;
  std::unique_ptr<LocalEndpoint> local_;
  endpoint::GuardedChat guarded_;
  ledger::MeteredChat metered_;
};

}  // namespace genesis::app
