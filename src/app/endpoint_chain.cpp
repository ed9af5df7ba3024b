#include "app/endpoint_chain.h"

#include <utility>

namespace genesis::app {

EndpointChain::EndpointChain(ChainPorts ports,
                             EndpointConfig config,
                             std::string api_key,
                             std::shared_ptr<EngineSupervisor> engine)
    : config_(std::move(config)),
      api_key_digest_(sha256(api_key)),
      client_(ports.executor,
              {.connect_timeout = config_.budgets.connect, .resend_on_stale = false}),
      supervisor_(std::move(engine)),
      provider_(client_, ports.clock, provider_options(std::move(api_key))),
      local_(supervisor_ ? std::make_unique<LocalEndpoint>(*supervisor_, provider_) : nullptr),
      guarded_(ports.executor,
               ports.clock,
               local_ ? static_cast<ChatModel&>(*local_) : provider_,
               guard_options()),
      metered_(ports.ledger,
               ports.clock,
               ports.metrics,
               guarded_,
               {.endpoint = config_.name,
                .tier = config_.tier,
                .price_model = config_.price_model.empty() ? config_.model : config_.price_model}) {
}

provider::UpstreamOptions EndpointChain::provider_options(std::string api_key) const {
  provider::UpstreamOptions options{
      .base = config_.url,
      .api_key = std::move(api_key),
      .model = config_.model,
      .token_ids = supervisor_ != nullptr,
      .always_stream = config_.always_stream,
      .served = {.endpoint = config_.name, .model = config_.model, .tier = config_.tier}};
  if (supervisor_) {
    options.base.address.unix_path = supervisor_->launch().socket.string();
    options.base.path = "/v1";
    options.base.host_header = "localhost";
  }
  return options;
}

endpoint::GuardedChat::Options EndpointChain::guard_options() {
  endpoint::GuardedChat::Options options{
      .identity = {.name = config_.name, .model = config_.model, .tier = config_.tier},
      .budgets = config_.budgets,
      .always_streams = config_.always_stream};
  if (supervisor_) {
    options.life_cycle = [engine = supervisor_.get()] { return engine->why_not(); };
  }
  return options;
}

bool EndpointChain::made_from(const EndpointConfig& config,
                              std::string_view api_key,
                              const std::shared_ptr<EngineSupervisor>& engine) const {
  return config_ == config && api_key_digest_ == sha256(api_key) && supervisor_ == engine;
}

endpoint::DispatchTarget EndpointChain::target() {
  return {.name = config_.name, .model = config_.model, .chat = &metered_, .snapshot = [this] {
            return guarded_.snapshot();
          }};
}

}  // namespace genesis::app
