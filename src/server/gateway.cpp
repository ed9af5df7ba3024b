// The router table and the way of every request through it.
#include "server/gateway.h"

#include "base/random.h"
#include "server/access.h"
#include "server/exchange.h"
#include "server/inference.h"
#include "server/service_routes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace genesis::server {

namespace {

using RouteHandler = std::function<Task<void>(Exchange&)>;

struct Route {
  std::string method;
  std::string path;  // one that ends in "{id}" matches every longer path with its prefix
  Access access = Access::kAdmin;
  Wire wire = Wire::kOpenAi;
  RouteHandler handle;
};

constexpr std::string_view kIdPattern = "{id}";

bool matches(const Route& route, std::string_view path) {
  if (!route.path.ends_with(kIdPattern)) {
    return route.path == path;
  }
  const std::string_view prefix =
      std::string_view(route.path).substr(0, route.path.size() - kIdPattern.size());
  return path.size() > prefix.size() && path.starts_with(prefix);
}

// A client's id is kept for the log when it is a plain word.
std::string plain_word(std::string_view text) {
  const bool plain = text.size() <= 64 && std::ranges::all_of(text, [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
                     });
  return plain ? std::string(text) : std::string();
}

Task<void> serve_admin(const AdminRoute& route, Exchange& x) {
  auto body = co_await route.handle(x.request);
  if (body) {
    co_await send_json(x, 200, *body);
  } else {
    co_await send_error(x, body.error());
  }
}

}  // namespace

struct Gateway::Impl {
  Impl(Executor executor, GatewayOptions gateway_options, GatewayPorts gateway_ports)
      : options(std::move(gateway_options)),
        ports(std::move(gateway_ports)),
        metrics(ports.metrics),
        limiter(ports.clock),
        inference{.executor = std::move(executor),
                  .options = options,
                  .ports = ports,
                  .metrics = metrics,
                  .limiter = limiter} {
    add_service_routes();
    add_inference_routes();
    for (const AdminRoute& route : ports.admin_routes) {
      table.push_back(
          {route.method, route.path, Access::kAdmin, Wire::kOpenAi, [&route](Exchange& x) {
             return serve_admin(route, x);
           }});
    }
  }

  void add_service_routes() {
    const auto get = [&](std::string path, Access access, Wire wire, RouteHandler handle) {
      table.push_back({"GET", std::move(path), access, wire, std::move(handle)});
    };
    const auto health = [](Exchange& x) { return serve_health(x); };
    get("/health", Access::kPublic, Wire::kTgi, health);
    get("/ping", Access::kPublic, Wire::kTgi, health);
    get("/ready", Access::kPublic, Wire::kOpenAi, [this](Exchange& x) {
      return serve_ready(ports, x);
    });
    get("/metrics", Access::kPublic, Wire::kOpenAi, [this](Exchange& x) {
      return serve_metrics(ports, x);
    });
    get("/", Access::kInference, Wire::kOpenAi, [this](Exchange& x) {
      return serve_root(options, x);
    });
    get("/info", Access::kInference, Wire::kTgi, [this](Exchange& x) {
      return serve_info(options, ports, x);
    });
    get("/v1/models", Access::kInference, Wire::kOpenAi, [this](Exchange& x) {
      return serve_models(ports, x);
    });
    get("/v1/models/{id}", Access::kInference, Wire::kOpenAi, [this](Exchange& x) {
      const std::string_view prefix = "/v1/models/";
      return serve_model(ports, x, std::string_view(x.request.path).substr(prefix.size()));
    });
  }

  void add_inference_routes() {
    const auto post = [&](std::string path, Wire wire, InferenceRoute route) {
      table.push_back(
          {"POST", std::move(path), Access::kInference, wire, [this, route](Exchange& x) {
             return serve_inference(inference, x, route);
           }});
    };
    post("/v1/chat/completions", Wire::kOpenAi, InferenceRoute::kChat);
    post("/v1/completions", Wire::kOpenAi, InferenceRoute::kCompletion);
    post("/", Wire::kTgi, InferenceRoute::kTgiCompat);
    post("/generate", Wire::kTgi, InferenceRoute::kTgiGenerate);
    post("/generate_stream", Wire::kTgi, InferenceRoute::kTgiGenerateStream);
  }

  Task<void> dispatch(Exchange& x);
  Task<void> refuse_unrouted(Exchange& x);

  GatewayOptions options;
  GatewayPorts ports;
  RequestMetrics metrics;
  RateLimiter limiter;
  InferenceContext inference;
  std::vector<Route> table;
};

Gateway::Gateway(Executor executor, GatewayOptions options, GatewayPorts ports)
    : impl_(std::make_unique<Impl>(std::move(executor), std::move(options), std::move(ports))) {}

Gateway::~Gateway() = default;

Task<void> Gateway::handle(const net::ServerRequest& request, net::ResponseWriter& response) {
  Exchange x{.request = request, .response = response, .principal = {}, .rate = {}, .record = {}};
  x.record.id = new_id("req-");
  x.record.client_id = plain_word(request.headers.get("x-request-id").value_or(""));
  x.record.started = impl_->ports.clock.steady();
  x.record.parsed = x.record.started;
  co_await impl_->dispatch(x);
  const SteadyTime now = impl_->ports.clock.steady();
  impl_->metrics.finish(x.record, now);
  log_request(x.record, now);
}

Task<void> Gateway::Impl::dispatch(Exchange& x) {
  const auto route = std::ranges::find_if(table, [&](const Route& row) {
    return row.method == x.request.method && matches(row, x.request.path);
  });
  if (route == table.end()) {
    co_await refuse_unrouted(x);
    co_return;
  }
  x.record.route = route->path;
  x.wire = route->wire;
  auto principal = authorize(route->access, x.request, options, ports.auth);
  if (!principal) {
    co_await send_error(x, principal.error());
    co_return;
  }
  x.principal = std::move(*principal);
  x.record.key_id = x.principal.key_id;
  co_await route->handle(x);
}

// 405 with Allow when only the method is wrong, else 404.
Task<void> Gateway::Impl::refuse_unrouted(Exchange& x) {
  std::vector<std::string_view> methods;
  for (const Route& row : table) {
    if (matches(row, x.request.path)) {
      methods.push_back(row.method);
      x.record.route = row.path;
      x.wire = row.wire;
    }
  }
  if (methods.empty()) {
    x.record.route = "unknown";
    const auto error = fail(ErrorCode::kNotFound,
                            "no such route",
                            "the OpenAI routes begin with /v1, such as /v1/chat/completions");
    co_await send_error(x, error.error());
    co_return;
  }
  Error error;
  error.code = ErrorCode::kInvalidArgument;
  const std::string allow = fmt::format("{}", fmt::join(methods, ", "));
  error.message = fmt::format("this route takes {} only", allow);
  x.record.finish = error_code_name(error.code);
  x.record.status = 405;
  net::Headers headers = response_headers(x, "application/json");
  headers.add("Allow", allow);
  const std::string body = error_body(error, x.wire, x.record.id);
  (void)co_await x.response.send(405, headers, body);
}

void Gateway::set_options(GatewayOptions options) {
  impl_->options = std::move(options);
}

std::vector<RouteRow> Gateway::routes() const {
  std::vector<RouteRow> rows;
  for (const Route& route : impl_->table) {
    rows.push_back({route.method, route.path, route.access});
  }
  return rows;
}

}  // namespace genesis::server
