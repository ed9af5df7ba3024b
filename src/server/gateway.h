// Every inbound route: dialect <-> api types, authentication, SSE. Sees only ports, so the same
// code serves the gateway and a single engine process.
#pragma once

#include "api/catalog.h"
#include "api/chat.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/task.h"
#include "net/server.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

// Principal::key_id of a caller without a key.
inline constexpr std::string_view kKeylessId = "local";

// What one key may ask for at most; 0 = no limit. See rate_limit.h.
struct RateLimits {
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;
  std::int64_t parallel = 0;

  bool any() const { return requests_per_minute + tokens_per_minute + parallel > 0; }
};

// Who is asking, after authentication.
struct Principal {
  std::string key_id;  // "local" without a key on loopback
  std::string tenant;
  std::string team;
  bool admin = false;
  std::vector<std::string> models;  // empty = all routes and models
  RateLimits limits;
};

// Checks keys. `token` is the bearer token, or nullopt when none was sent. A word that merely fills
// a client's key field may be answered with kKeylessId where keys are not required.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  virtual Result<Principal> authenticate(std::optional<std::string_view> token) const = 0;

  // authenticate() never waits; a key that it has not heard of yet is learned first.
  virtual bool knows(std::string_view /*token*/) const { return true; }

  // kUnavailable when whoever knows the keys cannot be asked.
  virtual Task<Result<void>> learn() const { co_return Result<void>{}; }
};

// What GET /ready tells: an empty list of reasons means ready.
struct Readiness {
  std::vector<std::string> reasons;
};

// The figures behind TGI's /info and x-compute headers; a gateway tells its default route's model.
struct ServiceInfo {
  std::string model_id;
  std::string model_sha;
  std::string model_dtype;
  std::string isa;
  std::string kv_format;
  std::int64_t max_input_tokens = 0;
  std::int64_t max_total_tokens = 0;
  std::int64_t max_concurrent_requests = 0;
};

// An admin route that `app` adds (savings, keys, endpoints): JSON body in, JSON text out.
struct AdminRoute {
  std::string method;
  std::string path;
  std::function<Task<Result<std::string>>(const net::ServerRequest&)> handle;
};

struct GatewayOptions {
  std::string version;
  std::string default_model = "auto";      // used by dialects that carry no `model`
  std::string embed_model = "embed";       // the same for TEI's routes, where such a name exists
  std::vector<std::string> allowed_hosts;  // names that the Host header may have
  // Look at Host whether or not a key is sent (against DNS rebinding); keyless access on loopback
  // always asks for a name of the list.
  bool check_host = false;
  // Make a trace context for requests that bring none, and send it on: their spans are exported.
  bool trace = false;
  bool public_metrics = false;  // GET /metrics for everybody
  std::string metrics_key;      // opens GET /metrics and nothing else; empty = none
  // The peer is a gateway of ours: it says whose request it is and under which id it knows it.
  bool behind_gateway = false;
  bool require_key = false;   // true when bound beyond loopback
  int max_concurrent = 1024;  // requests in flight; above it 429 with Retry-After
  std::chrono::milliseconds total_budget{600'000};
  std::chrono::milliseconds keep_alive_comment{15'000};  // SSE comment while nothing else is sent
};

struct GatewayPorts {
  ChatModel& chat;
  const ModelCatalog& catalog;
  const Authenticator& auth;
  MetricsRegistry& metrics;
  const Clock& clock;
  std::function<Readiness()> readiness;
  std::function<ServiceInfo()> info;
  // The prompt tokens of a chat request; nullopt, or no function, where nobody knows the tokenizer.
  std::function<Task<Result<std::optional<std::int64_t>>>(const ChatRequest&)> count_tokens = {};
  std::vector<AdminRoute> admin_routes;
  // Asked after the key was checked: may another request begin, under the present load? Null: yes.
  std::function<Result<void>(bool low_priority)> admits = {};
};

// One row of the router table; public for the test that enumerates it.
enum class Access : std::uint8_t { kPublic, kInference, kMetrics, kAdmin };

struct RouteRow {
  std::string_view method;
  std::string_view path;
  Access access;
};

class Gateway {
 public:
  Gateway(Executor executor, GatewayOptions options, GatewayPorts ports);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Give these two to net::Server: refusals that need no body, and the rest.
  Task<std::optional<net::EarlyAnswer>> admit(const net::ServerRequest& head);
  Task<void> handle(const net::ServerRequest& request, net::ResponseWriter& response);
  std::vector<RouteRow> routes() const;
  // For requests from now on; the configuration was read again.
  void set_options(GatewayOptions options);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genesis::server
