// The router table and the way of every request through it.
#include "server/gateway.h"

#include "base/random.h"
#include "server/access.h"
#include "server/exchange.h"
#include "server/inference.h"
#include "server/openapi.h"
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

// Stands where a response would be while only the head of a request is judged.
class NoResponse final : public net::ResponseWriter {
 public:
  Task<Result<void>> send(int, const net::Headers&, std::string_view) override { return refuse(); }

  Task<Result<void>> start_stream(int, const net::Headers&) override { return refuse(); }

  Task<Result<void>> write(std::string_view) override { return refuse(); }

  Task<Result<void>> finish() override { return refuse(); }

  bool started() const override { return false; }

  CancelToken client_gone() const override { return {}; }

 private:
  static Task<Result<void>> refuse() {
    co_return fail(ErrorCode::kInternal, "the request has not arrived yet");
  }
};

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
    get("/metrics", Access::kMetrics, Wire::kOpenAi, [this](Exchange& x) {
      return serve_metrics(ports, x);
    });
    get("/openapi.json", Access::kInference, Wire::kOpenAi, [this](Exchange& x) {
      return serve_openapi(x);
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
    post("/v1/messages", Wire::kAnthropic, InferenceRoute::kMessages);
    table.push_back({"POST",
                     "/v1/messages/count_tokens",
                     Access::kInference,
                     Wire::kAnthropic,
                     [this](Exchange& x) { return serve_count_tokens(inference, x); }});
    post("/v1/responses", Wire::kOpenAi, InferenceRoute::kResponses);
    post("/v1/embeddings", Wire::kOpenAi, InferenceRoute::kEmbeddings);
    post("/v1/rerank", Wire::kOpenAi, InferenceRoute::kRerank);
    post("/embed", Wire::kTei, InferenceRoute::kTeiEmbed);
    post("/rerank", Wire::kTei, InferenceRoute::kTeiRerank);
    post("/predict", Wire::kTei, InferenceRoute::kTeiPredict);
    post("/similarity", Wire::kTei, InferenceRoute::kTeiSimilarity);
    post("/", Wire::kTgi, InferenceRoute::kTgiCompat);
    post("/generate", Wire::kTgi, InferenceRoute::kTgiGenerate);
    post("/generate_stream", Wire::kTgi, InferenceRoute::kTgiGenerateStream);
  }

  // The row that serves a request, or the answer that keeps it out.
  struct Door {
    const Route* route = nullptr;
    std::optional<net::EarlyAnswer> refusal;
  };

  const Route* find(const net::ServerRequest& request) const;
  bool is_stranger(const net::ServerRequest& request) const;
  Task<Door> open(Exchange& x);
  Door judge(Exchange& x, const Route& route);
  std::vector<RouteRow> rows() const;
  Task<void> serve_openapi(Exchange& x) const;
  static bool is_low_priority(const net::ServerRequest& request);
  net::EarlyAnswer refuse_unrouted(Exchange& x);
  Exchange begin(const net::ServerRequest& request, net::ResponseWriter& response) const;
  void end(const Exchange& x);

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

Exchange Gateway::Impl::begin(const net::ServerRequest& request,
                              net::ResponseWriter& response) const {
  Exchange x{.request = request, .response = response, .principal = {}, .rate = {}, .record = {}};
  x.record.id = new_id("req-");
  x.record.client_id = plain_word(request.headers.get("x-request-id").value_or(""));
  x.record.started = ports.clock.steady();
  x.record.parsed = x.record.started;
  return x;
}

void Gateway::Impl::end(const Exchange& x) {
  const SteadyTime now = ports.clock.steady();
  metrics.finish(x.record, now);
  log_request(x.record, now);
}

Task<void> Gateway::handle(const net::ServerRequest& request, net::ResponseWriter& response) {
  Exchange x = impl_->begin(request, response);
  const Impl::Door door = co_await impl_->open(x);
  if (door.refusal) {
    (void)co_await response.send(door.refusal->status, door.refusal->headers, door.refusal->body);
  } else {
    co_await door.route->handle(x);
  }
  impl_->end(x);
}

Task<std::optional<net::EarlyAnswer>> Gateway::admit(const net::ServerRequest& head) {
  NoResponse nobody;
  Exchange x = impl_->begin(head, nobody);
  Impl::Door door = co_await impl_->open(x);
  if (!door.refusal && door.route->access == Access::kInference &&
      impl_->inference.in_flight >= impl_->options.max_concurrent) {
    door.refusal = error_answer(x, full_house());
  }
  if (door.refusal) {
    impl_->end(x);
  }
  co_return std::move(door.refusal);
}

const Route* Gateway::Impl::find(const net::ServerRequest& request) const {
  const auto route = std::ranges::find_if(table, [&](const Route& row) {
    return row.method == request.method && matches(row, request.path);
  });
  return route == table.end() ? nullptr : &*route;
}

// Brings a key that may have been made a moment ago, by another process.
bool Gateway::Impl::is_stranger(const net::ServerRequest& request) const {
  const auto token = request_token(request.headers);
  return token && *token && !ports.auth.knows(**token);
}

Task<Gateway::Impl::Door> Gateway::Impl::open(Exchange& x) {
  const Route* route = find(x.request);
  if (route == nullptr) {
    co_return Door{.refusal = refuse_unrouted(x)};
  }
  x.record.route = route->path;
  x.wire = route->wire;
  if (route->access != Access::kPublic && is_stranger(x.request)) {
    if (const auto learned = co_await ports.auth.learn(); !learned) {
      co_return Door{.refusal = error_answer(x, learned.error())};
    }
  }
  co_return judge(x, *route);
}

Gateway::Impl::Door Gateway::Impl::judge(Exchange& x, const Route& route) {
  auto principal = authorize(route.access, x.request, options, ports.auth);
  if (!principal) {
    return {.refusal = error_answer(x, principal.error())};
  }
  x.principal = std::move(*principal);
  x.record.key_id = x.principal.key_id;
  if (route.access == Access::kInference && ports.admits) {
    if (const auto admitted = ports.admits(is_low_priority(x.request)); !admitted) {
      return {.refusal = error_answer(x, admitted.error())};
    }
  }
  return {.route = &route, .refusal = std::nullopt};
}

// Work that can wait says so, and is the first to be told to.
bool Gateway::Impl::is_low_priority(const net::ServerRequest& request) {
  return request.headers.get(kPriorityHeader).value_or("") == priority_name(Priority::kLow);
}

// 405 with Allow when only the method is wrong, else 404.
net::EarlyAnswer Gateway::Impl::refuse_unrouted(Exchange& x) {
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
    return error_answer(x, error.error());
  }
  Error error;
  error.code = ErrorCode::kInvalidArgument;
  const std::string allow = fmt::format("{}", fmt::join(methods, ", "));
  error.message = fmt::format("this route takes {} only", allow);
  x.record.finish = error_code_name(error.code);
  x.record.status = 405;
  net::EarlyAnswer answer{.status = 405,
                          .headers = response_headers(x, "application/json"),
                          .body = error_body(error, x.wire, x.record.id)};
  answer.headers.add("Allow", allow);
  return answer;
}

void Gateway::set_options(GatewayOptions options) {
  impl_->options = std::move(options);
}

std::vector<RouteRow> Gateway::Impl::rows() const {
  std::vector<RouteRow> rows;
  for (const Route& route : table) {
    rows.push_back({route.method, route.path, route.access});
  }
  return rows;
}

Task<void> Gateway::Impl::serve_openapi(Exchange& x) const {
  const std::string document = openapi_json(rows(), options.version);
  co_await send_json(x, 200, document);
}

std::vector<RouteRow> Gateway::routes() const {
  return impl_->rows();
}

}  // namespace genesis::server
