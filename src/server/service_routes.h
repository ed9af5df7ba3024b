// The small read-only routes: liveness, readiness, metrics, what is served.
#pragma once

#include "server/exchange.h"
#include "server/gateway.h"

#include <string>
#include <string_view>

namespace genesis::server {

// GET /: names the service.
Task<void> serve_root(const GatewayOptions& options, Exchange& x);
// GET /health and /ping: 200 while the process answers, whatever its engines do.
Task<void> serve_health(Exchange& x);
// GET /ready: 200, or 503 with the reasons.
Task<void> serve_ready(const GatewayPorts& ports, Exchange& x);
// GET /metrics: Prometheus text.
Task<void> serve_metrics(const GatewayPorts& ports, Exchange& x);
// GET /info: TGI's fields.
Task<void> serve_info(const GatewayOptions& options, const GatewayPorts& ports, Exchange& x);
// GET /v1/models: the names this key may use.
Task<void> serve_models(const GatewayPorts& ports, Exchange& x);
// GET /v1/models/{id}
Task<void> serve_model(const GatewayPorts& ports, Exchange& x, std::string_view id);

}  // namespace genesis::server
