#include "app/endpoint_chain.h"

#include "base/log.h"
#include "provider/anthropic.h"
#include "provider/count_tokens.h"
#include "provider/openai.h"
#include "provider/tei.h"
#include "provider/tgi.h"

#include <utility>

namespace genesis::app {

namespace {

// Tells secrets apart without keeping them.
Digest digest_of(const EndpointSecrets& secrets) {
  std::string all = secrets.api_key;
  for (const auto& [name, value] : secrets.headers) {
    all.append("\n").append(name).append(":").append(value);
  }
  return sha256(all);
}

std::unique_ptr<ChatModel> make_provider(UpstreamDialect dialect,
                                         net::Client& client,
                                         const Clock& clock,
                                         provider::UpstreamOptions options) {
  switch (dialect) {
    case UpstreamDialect::kAnthropic:
      return std::make_unique<provider::AnthropicProvider>(client, clock, std::move(options));
    case UpstreamDialect::kTgi:
      return std::make_unique<provider::TgiProvider>(client, clock, std::move(options));
    case UpstreamDialect::kTei:
      return std::make_unique<provider::TeiProvider>(client, clock, std::move(options));
    case UpstreamDialect::kOpenAi:
      break;
  }
  return std::make_unique<provider::OpenAiProvider>(client, clock, std::move(options));
}

EndpointPhase phase_of(EngineState state) {
  switch (state) {
    case EngineState::kStopped:
    case EngineState::kBroken:
      return EndpointPhase::kCold;
    case EngineState::kStarting:
    case EngineState::kCrashed:
      return EndpointPhase::kWarming;
    case EngineState::kReady:
    case EngineState::kSilent:
      break;
  }
  return EndpointPhase::kWarm;
}

}  // namespace

EndpointChain::EndpointChain(ChainPorts ports,
                             EndpointConfig config,
                             EndpointSecrets secrets,
                             std::shared_ptr<EngineSupervisor> engine)
    : executor_(ports.executor),
      config_(std::move(config)),
      secrets_digest_(digest_of(secrets)),
      client_(ports.executor,
              {.connect_timeout = config_.budgets.connect,
               .adaptive_connect = true,
               .resend_on_stale = false}),
      supervisor_(std::move(engine)),
      upstream_(provider_options(std::move(secrets))),
      provider_(make_provider(config_.dialect, client_, ports.clock, upstream_)),
      local_(supervisor_ ? std::make_unique<LocalEndpoint>(*supervisor_, *provider_) : nullptr),
      guarded_(ports.executor,
               ports.clock,
               local_ ? static_cast<ChatModel&>(*local_) : *provider_,
               guard_options()),
      metered_(ports.ledger,
               ports.clock,
               ports.metrics,
               guarded_,
               {.endpoint = config_.name,
                .tier = config_.tier,
                .price_model = config_.price_model.empty() ? config_.model : config_.price_model}) {
}

provider::UpstreamOptions EndpointChain::provider_options(EndpointSecrets secrets) const {
  provider::UpstreamOptions options{
      .base = config_.url,
      .api_key = std::move(secrets.api_key),
      .model = config_.model,
      .token_ids = supervisor_ != nullptr,
      .tell_tenant = supervisor_ != nullptr,
      .always_stream = config_.always_stream,
      .served = {.endpoint = config_.name, .model = config_.model, .tier = config_.tier},
      .headers = std::move(secrets.headers)};
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
      .breaker = config_.outlier,
      .max_in_flight = config_.max_in_flight,
      .max_context = config_.context,
      // Vectors come in one piece, so silence before them says nothing.
      .always_streams = config_.always_stream && config_.dialect != UpstreamDialect::kTei};
  if (supervisor_) {
    options.phase = [engine = supervisor_.get()] { return phase_of(engine->state()); };
    options.life_cycle = [engine = supervisor_.get()] { return engine->why_not(); };
  }
  return options;
}

bool EndpointChain::counts_tokens() const {
  return supervisor_ ? supervisor_->state() == EngineState::kReady
                     : config_.dialect == UpstreamDialect::kAnthropic;
}

Task<std::optional<std::int64_t>> EndpointChain::count_tokens(const ChatRequest& request,
                                                              CancelToken cancel) {
  if (!counts_tokens()) {
    co_return std::nullopt;
  }
  const auto counted =
      co_await provider::count_tokens(client_, upstream_, request, std::move(cancel));
  if (!counted) {
    log(LogLevel::kWarn,
        "the tokens of a request are estimated",
        {{"endpoint", config_.name}, {"error", counted.error().message}});
    co_return std::nullopt;
  }
  co_return *counted;
}

bool EndpointChain::made_from(const EndpointConfig& config,
                              const EndpointSecrets& secrets,
                              const std::shared_ptr<EngineSupervisor>& engine) const {
  return config_ == config && secrets_digest_ == digest_of(secrets) && supervisor_ == engine;
}

endpoint::DispatchTarget EndpointChain::target() {
  return {.name = config_.name, .model = config_.model, .chat = &metered_, .snapshot = [this] {
            return guarded_.snapshot();
          }};
}

}  // namespace genesis::app
