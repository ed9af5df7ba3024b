#include "server/server_fixture.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace genesis::server {

namespace asio = boost::asio;

Task<Result<void>> FakeResponse::send(int code, const net::Headers& fields, std::string_view text) {
  status = code;
  headers = fields;
  body = text;
  finished = true;
  co_return Result<void>();
}

Task<Result<void>> FakeResponse::start_stream(int code, const net::Headers& fields) {
  status = code;
  headers = fields;
  streamed = true;
  co_return Result<void>();
}

Task<Result<void>> FakeResponse::write(std::string_view bytes) {
  overlaps += writing_ ? 1 : 0;
  writing_ = true;
  co_await asio::post(executor_, asio::use_awaitable);
  writing_ = false;
  if (writes_until_failure == 0) {
    co_return fail(ErrorCode::kIo, "connection reset");
  }
  writes_until_failure -= writes_until_failure > 0 ? 1 : 0;
  body += bytes;
  co_return Result<void>();
}

Task<Result<void>> FakeResponse::finish() {
  finished = true;
  co_return Result<void>();
}

std::string FakeResponse::normal() const {
  const std::string id = header("x-request-id");
  std::string text = body;
  for (const std::string& own : {id, id.substr(std::min<std::size_t>(id.size(), 4))}) {
    for (auto at = text.find(own); at != std::string::npos; at = text.find(own)) {
      text.replace(at, own.size(), "ID");
    }
  }
  return text;
}

Task<Result<Usage>> ScriptedChat::chat(const ChatRequest& request, ChatSink& sink) {
  seen.push_back(request);
  co_return co_await script(request, sink);
}

Script answers(std::vector<ChatDelta> deltas, Result<Usage> outcome) {
  return [deltas, outcome](const ChatRequest&, ChatSink& sink) -> Task<Result<Usage>> {
    const ServedBy served{.endpoint = "here", .model = "tiny", .tier = Tier::kSelfHosted};
    GENESIS_CO_TRY_VOID(co_await sink.begin(served));
    for (const ChatDelta& delta : deltas) {
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
    }
    co_return outcome;
  };
}

Script fails_with(Error error) {
  return [error](const ChatRequest&, ChatSink&) -> Task<Result<Usage>> {
    co_return std::unexpected(error);
  };
}

TokenInfo token(int id, std::string text, float logprob) {
  return TokenInfo{.id = id, .text = std::move(text), .logprob = logprob};
}

namespace {

class FakeAuth final : public Authenticator {
 public:
  explicit FakeAuth(World& world) : world_(world) {}

  bool knows(std::string_view token) const override {
    return token != "new-key" || world_.learned > 0;
  }

  Task<Result<void>> learn() const override {
    world_.learned += world_.learning ? 1 : 0;
    co_return world_.learning;
  }

  Result<Principal> authenticate(std::optional<std::string_view> key) const override {
    if (!key || *key == "none") {
      return Principal{.key_id = "local", .tenant = "local"};
    }
    if (*key == "new-key" && world_.learned > 0) {
      return Principal{.key_id = "new-key", .tenant = "acme"};
    }
    if (*key == "user-key" || *key == "admin-key") {
      return Principal{.key_id = std::string(*key),
                       .tenant = "acme",
                       .team = "qa",
                       .admin = *key == "admin-key",
                       .models = {},
                       .limits = *key == "user-key" ? world_.limits : RateLimits{}};
    }
    if (*key == "small-key") {
      return Principal{.key_id = "small-key", .tenant = "acme", .models = {"tiny"}};
    }
    return fail(ErrorCode::kUnauthenticated, "unknown API key", "genesis key create");
  }

 private:
  World& world_;
};

class FakeCatalog final : public ModelCatalog {
 public:
  std::vector<ModelCard> models() const override {
    return {{.id = "auto", .owned_by = "genesis", .created_unix = 5, .kind = "route"},
            {.id = "org/tiny",
             .owned_by = "genesis",
             .created_unix = 6,
             .max_context = 2048,
             .kind = "model"},
            {.id = "tiny", .owned_by = "genesis", .created_unix = 7, .kind = "alias"}};
  }
};

Task<Result<std::string>> echo_query(const net::ServerRequest& request) {
  if (request.query == "bad") {
    co_return fail_param("since", "'since' is not a date");
  }
  co_return R"({"saved":"1.00"})";
}

}  // namespace

struct World::Ports {
  FakeAuth auth;
  FakeCatalog catalog;
};

World::World(GatewayOptions options)
    : ports_(std::make_unique<Ports>(FakeAuth(*this), FakeCatalog{})) {
  options.version = "1.2.3";
  chat.script = answers({{.text = "Hi"}, {.finish = FinishReason::kStop}});
  GatewayPorts ports{
      .chat = chat,
      .catalog = ports_->catalog,
      .auth = ports_->auth,
      .metrics = metrics,
      .clock = clock,
      .readiness = [this] { return Readiness{.reasons = not_ready}; },
      .info =
          [] {
            return ServiceInfo{.model_id = "org/tiny",
                               .model_dtype = "q4_1",
                               .isa = "cpu avx2",
                               .kv_format = "int8",
                               .max_input_tokens = 2047,
                               .max_total_tokens = 2048,
                               .max_concurrent_requests = 64};
          },
      .admin_routes = {{.method = "GET", .path = "/admin/savings", .handle = echo_query}}};
  gateway = std::make_unique<Gateway>(io.get_executor(), std::move(options), std::move(ports));
}

World::~World() = default;

std::unique_ptr<FakeResponse> World::call(net::ServerRequest request) {
  auto response = std::make_unique<FakeResponse>(io.get_executor());
  if (prepare) {
    prepare(*response);
  }
  asio::co_spawn(io, gateway->handle(request, *response), asio::detached);
  io.restart();
  io.run();
  return response;
}

std::unique_ptr<FakeResponse> World::post(std::string path, std::string body, std::string key) {
  net::ServerRequest request = make_request("POST", std::move(path), std::move(body));
  request.headers.set("Authorization", "Bearer " + key);
  return call(std::move(request));
}

std::unique_ptr<FakeResponse> World::get(std::string path, std::string key) {
  net::ServerRequest request = make_request("GET", std::move(path));
  request.headers.set("Authorization", "Bearer " + key);
  return call(std::move(request));
}

net::ServerRequest make_request(std::string method, std::string path, std::string body) {
  net::ServerRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.body = std::move(body);
  request.headers.add("Host", "127.0.0.1:8080");
  request.peer = "127.0.0.1:50000";
  return request;
}

}  // namespace genesis::server
