// EndpointChain: one configured endpoint with everything it owns, in the order in which an attempt
// passes through it: metered -> guarded -> (local engine ->) provider -> its own HTTP client.
#pragma once

#include "app/config.h"
#include "app/engine_supervisor.h"
#include "app/local_endpoint.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "endpoint/dispatcher.h"
#include "endpoint/guarded_chat.h"
#include "ledger/metered.h"
#include "net/client.h"
#include "provider/openai.h"

#include <memory>
#include <optional>
#include <string>

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
  // `launch` is set for local endpoints; `api_key` is empty or the upstream's key.
  EndpointChain(ChainPorts ports,
                EndpointConfig config,
                std::string api_key,
                std::optional<EngineLaunch> launch);

  const EndpointConfig& config() const { return config_; }

  // Null for urls.
  EngineSupervisor* engine() { return supervisor_.get(); }

  const EngineSupervisor* engine() const { return supervisor_.get(); }

  endpoint::DispatchTarget target();

  EndpointSnapshot snapshot() const { return guarded_.snapshot(); }

 private:
  provider::OpenAiOptions provider_options(std::string api_key) const;
  endpoint::GuardedChat::Options guard_options();

  EndpointConfig config_;
  net::Client client_;
  std::unique_ptr<EngineSupervisor> supervisor_;  // local endpoints only, as the next but one
  provider::OpenAiProvider provider_;
  std::unique_ptr<LocalEndpoint> local_;
  endpoint::GuardedChat guarded_;
  ledger::MeteredChat metered_;
};

}  // namespace genesis::app
