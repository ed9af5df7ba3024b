// The configuration as values: genesis.toml, environment and flags merged (flag > env > file >
// default), checked as a whole, with the origin of every key kept for `genesis config show`.
#pragma once

#include "api/chat.h"
#include "app/home.h"
#include "app/options.h"
#include "base/log.h"
#include "base/result.h"
#include "endpoint/dispatcher.h"
#include "endpoint/guarded_chat.h"
#include "ledger/budget.h"
#include "ledger/pins.h"
#include "ledger/token_ratio.h"
#include "net/http.h"
#include "router/route_rules.h"
#include "router/share_cap.h"

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

enum class EndpointKind : std::uint8_t { kLocal, kUrl };

// What an endpoint speaks.
enum class UpstreamDialect : std::uint8_t { kOpenAi, kAnthropic, kTgi, kTei };

// A header field that goes with every request to an endpoint.
struct HeaderConfig {
  std::string name;
  std::string value;   // empty when it is a secret
  std::string source;  // of a secret: "env:NAME" or "file:path"

  bool operator==(const HeaderConfig&) const = default;
};

struct EndpointConfig {
  std::string name;
  EndpointKind kind = EndpointKind::kUrl;
  Tier tier = Tier::kCommercial;
  UpstreamDialect dialect = UpstreamDialect::kOpenAi;
  net::BaseUrl url;  // kUrl
  // kLocal: the endpoint whose engine this one shares, and the PEFT adapter that it puts on that
  // engine's model; both empty for an endpoint with an engine of its own.
  std::string adapter_of;
  std::string adapter_folder;
  std::string model;
  std::string draft;           // kLocal: the model that guesses for it; empty = none
  std::string api_key_source;  // "env:NAME", "file:path" or empty
  std::vector<HeaderConfig> headers;
  std::string price_model;
  // Decimal USD texts, empty = from the price table.
  std::string price_input;
  std::string price_cached_input;
  std::string price_output;
  std::string price_per_hour;
  endpoint::Budgets budgets;
  bool always_stream = true;
  std::int64_t context = 0;  // tokens; 0 = not known
  int max_in_flight = 0;     // 0 = no limit
  endpoint::BreakerOptions outlier;

  // A reload keeps the endpoints that are equal to what they were.
  bool operator==(const EndpointConfig&) const = default;
};

struct EngineConfig {
  int threads = 0;
  std::int64_t kv_bytes = 0;
  std::string kv_format = "int8";
  int max_context = 0;
  int max_batch = 64;
  int max_queue = 256;
  bool prefix_cache = true;
  bool speculation = true;
  std::chrono::milliseconds step_target{50};
  std::string isa;                    // empty = the best of the machine
  std::chrono::seconds idle_stop{0};  // 0 = never
  std::int64_t memory_bytes = 0;      // 0 = no cap

  bool operator==(const EngineConfig&) const = default;
};

// What is kept of finished requests for `genesis explain`.
struct TraceConfig {
  std::int64_t max_requests = 50'000;  // 0 = nothing
  std::chrono::milliseconds max_age{std::chrono::hours(7 * 24)};
};

// Where the spans of finished requests go.
struct OtelConfig {
  std::optional<net::BaseUrl> endpoint;  // none: nowhere
  std::string header;                    // the field that carries the secret
  std::string secret_source;             // as EndpointConfig::api_key_source
  double sample_ratio = 1;
};

struct Config {
  net::Address listen;
  std::size_t max_body_bytes = 0;
  int max_concurrent = 0;
  bool require_key = false;
  std::chrono::seconds keys_trusted{0};  // while the database is away
  std::vector<std::string> allowed_hosts;
  bool check_host = true;
  std::string tls_cert;  // both empty: no TLS
  std::string tls_key;
  bool insecure_plaintext = false;
  bool public_metrics = false;
  std::string metrics_key_source;   // as EndpointConfig::api_key_source
  std::int64_t max_memory_mib = 0;  // 0 = of the control group, or the machine
  int max_connections = 0;
  std::chrono::seconds unready{0};  // from readiness off to no new connections, at the end
  std::chrono::seconds drain{0};    // for requests in flight, at the end
  std::filesystem::path ledger_path;
  std::string database_url;  // empty: the file; may hold a password
  std::string database_shown;
  std::string database_password_source;  // "env:NAME", "file:path" or empty
  ledger::BaselineRules baselines;
  ledger::TokenRatio baseline_tokens;
  std::string price_file;
  std::string machine_usd_per_hour;
  EngineConfig engine;
  endpoint::Budgets budgets;
  endpoint::DispatchOptions retry;
  std::string default_route;
  std::vector<EndpointConfig> endpoints;
  std::vector<router::RouteRule> routes;
  std::vector<router::AgentRule> agents;
  std::map<std::string, std::string, std::less<>> cheap_models;  // by task
  // Nullopt: no cap was asked for and there is no other tier that could do the work.
  std::optional<router::ShareCapOptions> commercial_cap;
  TraceConfig traces;
  std::vector<ledger::Budget> spend_limits;  // [[budget]]
  OtelConfig otel;
  LogLevel log_level = LogLevel::kInfo;
  std::string log_format;
  OptionMap origins;  // every key with its value and where it came from
};

// The model served when nothing is configured.
inline constexpr std::string_view kDefaultModel = "smollm2-135m-instruct";

// A flag that sets an option, e.g. {"server.listen", "0.0.0.0:80", "--listen"}.
struct OptionOverride {
  std::string key;
  std::string text;
  std::string flag;
};

// Reads the file of `home` (if any), the environment and the flags. kConfig errors name file and
// line.
Result<Config> load_config(const Home& home, const std::vector<OptionOverride>& flags);

// The endpoint that serves `name`: the model of the local endpoint `base` with the adapter in
// `folder`. Its machine is paid for by `base`.
EndpointConfig adapter_endpoint(const EndpointConfig& base, std::string name, std::string folder);

// The local endpoint called `name`, or the only one there is when it is empty; the error is about
// `field`.
Result<const EndpointConfig*> adapter_base(const Config& config,
                                           const std::string& name,
                                           const std::string& field);

// Replaces the configured endpoints by one local engine for a pulled model.
void serve_only(Config& config, const std::string& model);

// True if `name` is an agent, a route, an alias, an endpoint or an endpoint's model.
bool knows_name(const Config& config, std::string_view name);

// Everything the router has to know.
router::RouterRules router_rules(const Config& config);

// What must not be in a file of its own: read when an endpoint is built.
struct EndpointSecrets {
  std::string api_key;                                       // empty when none is configured
  std::vector<std::pair<std::string, std::string>> headers;  // all of them, by name
};

Result<EndpointSecrets> read_endpoint_secrets(const EndpointConfig& endpoint);

// kConfig when the gateway would be reachable from other machines without TLS and nobody said that
// this is meant.
Result<void> check_transport(const Config& config);

// What `source` ("env:NAME", "file:path" or empty) points to, without blanks
// at its end; the error is about `key`.
Result<std::string> read_secret(const std::string& source, const std::string& key);

}  // namespace genesis::app
