// The way of a request: routing, limits, commit point, errors before and after it, client gone,
// keep-alive, metrics.
#include "server/gateway.h"

#include "server/server_fixture.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

namespace genesis::server {
namespace {

namespace asio = boost::asio;

constexpr const char* kChat = R"({"messages":[{"role":"user","content":"x"}]})";
constexpr const char* kChatStream = R"({"messages":[{"role":"user","content":"x"}],"stream":true})";
const ServedBy kHere{.endpoint = "here", .model = "tiny", .tier = Tier::kManaged};

Error make_error(ErrorCode code) {
  Error error;
  error.code = code;
  error.message = "why";
  return error;
}

TEST(Gateway, UnknownPathAndWrongMethod) {
  World world;
  const auto missing = world.get("/v2/chat");
  EXPECT_EQ(missing->status, 404);
  EXPECT_NE(missing->body.find("\"code\":\"not_found\""), std::string::npos);
  const auto wrong = world.get("/v1/chat/completions");
  EXPECT_EQ(wrong->status, 405);
  EXPECT_EQ(wrong->header("Allow"), "POST");
  EXPECT_EQ(world.call(make_request("PUT", "/"))->header("Allow"), "GET, POST");
  auto preflight = make_request("OPTIONS", "/v1/chat/completions");
  preflight.headers.add("Origin", "http://localhost");
  const auto cors = world.call(preflight);
  EXPECT_EQ(cors->status, 405);
  EXPECT_EQ(cors->header("Access-Control-Allow-Origin"), "<none>");
}

TEST(Gateway, ServiceRoutes) {
  World world({.allowed_hosts = {"127.0.0.1"}});
  EXPECT_EQ(world.call(make_request("GET", "/health"))->status, 200);
  EXPECT_EQ(world.call(make_request("GET", "/ping"))->status, 200);
  EXPECT_EQ(world.call(make_request("GET", "/"))->body,
            R"({"service":"genesis","version":"1.2.3","openai_base_url":"/v1",)"
            R"("models":"/v1/models","health":"/health"})");
  EXPECT_EQ(world.call(make_request("GET", "/ready"))->body, R"({"ready":true,"reasons":[]})");
  world.not_ready = {"no endpoint is up"};
  const auto unready = world.call(make_request("GET", "/ready"));
  EXPECT_EQ(unready->status, 503);
  EXPECT_EQ(unready->body, R"({"ready":false,"reasons":["no endpoint is up"]})");
  EXPECT_EQ(world.get("/v1/models/org/tiny")->body,
            R"({"id":"org/tiny","object":"model","created":6,"owned_by":"genesis",)"
            R"("kind":"model","max_model_len":2048})");
}

TEST(Gateway, FillsTheRequestForTheModel) {
  World world({.default_model = "house", .total_budget = std::chrono::milliseconds(5000)});
  const auto response = world.post("/v1/chat/completions", kChat);
  ASSERT_EQ(world.chat.seen.size(), 1U);
  const ChatRequest seen = world.chat.seen[0];
  EXPECT_EQ(seen.id, response->header("x-request-id"));
  EXPECT_TRUE(seen.id.starts_with("req-"));
  EXPECT_EQ(seen.route, "house");
  EXPECT_EQ(seen.tenant, "acme");
  EXPECT_EQ(seen.key_id, "user-key");
  EXPECT_EQ(seen.deadline, world.clock.steady() + std::chrono::milliseconds(5000));
  world.post("/v1/chat/completions",
             R"({"model":"tgi","messages":[{"role":"user","content":"x"}]})");
  EXPECT_EQ(world.chat.seen[1].route, "house");
  EXPECT_NE(world.chat.seen[1].id, seen.id);
}

TEST(Gateway, AboveTheLimitIsRefusedAtOnceAndThePermitComesBack) {
  World world({.max_concurrent = 1});
  std::unique_ptr<FakeResponse> second;
  FakeResponse other(world.io.get_executor());
  auto request = make_request("POST", "/v1/chat/completions", kChat);
  request.headers.set("Authorization", "Bearer user-key");
  world.chat.script = [&](const ChatRequest& asked, ChatSink& sink) -> Task<Result<Usage>> {
    co_await world.gateway->handle(request, other);
    co_return co_await answers({{.finish = FinishReason::kStop}})(asked, sink);
  };
  EXPECT_EQ(world.call(request)->status, 200);
  EXPECT_EQ(other.status, 429);
  EXPECT_EQ(other.header("Retry-After"), "1");
  EXPECT_EQ(other.header("x-should-retry"), "true");
  world.chat.script = answers({{.finish = FinishReason::kStop}});
  EXPECT_EQ(world.call(request)->status, 200);
}

TEST(Gateway, ErrorsBeforeTheFirstByteArePlainHttp) {
  World world;
  for (const char* body : {kChat, kChatStream}) {
    world.chat.script = fails_with(make_error(ErrorCode::kUnavailable));
    const auto down = world.post("/v1/chat/completions", body);
    EXPECT_EQ(down->status, 503);
    EXPECT_FALSE(down->streamed);
    EXPECT_EQ(down->normal(),
              R"({"error":{"message":"why","type":"service_unavailable","param":null,)"
              R"("code":"unavailable","request_id":"ID"}})");
    world.chat.script = fails_with(make_error(ErrorCode::kContextLength));
    const auto full = world.post("/v1/chat/completions", body);
    EXPECT_EQ(full->status, 400);
    EXPECT_NE(full->body.find(R"("param":"messages","code":"context_length_exceeded")"),
              std::string::npos);
  }
}

TEST(Gateway, ErrorAfterTheFirstByteIsTheDialectsEventWithoutDone) {
  World world;
  world.chat.script =
      answers({{.text = "Hi"}}, std::unexpected(make_error(ErrorCode::kUnavailable)));
  const auto response = world.post("/v1/chat/completions", kChatStream);
  EXPECT_EQ(response->status, 200);
  EXPECT_TRUE(response->finished);
  EXPECT_EQ(response->body.find("[DONE]"), std::string::npos);
  EXPECT_TRUE(response->normal().ends_with(
      "data: "
      "{\"error\":{\"message\":\"why\",\"type\":\"service_unavailable\",\"param\":null,\"code\":"
      "\"unavailable\",\"request_id\":\"ID\"}}\n\n"))
      << response->body;
  world.chat.script = answers({{.text = "Hi"}}, std::unexpected(make_error(ErrorCode::kTimeout)));
  EXPECT_EQ(world.post("/v1/chat/completions", kChat)->status, 504);
}

TEST(Gateway, AnAnswerWithoutFinishIsNeverCalledComplete) {
  World world;
  world.chat.script = answers({{.text = "Hi"}});
  EXPECT_EQ(world.post("/v1/chat/completions", kChat)->status, 502);
  const auto stream = world.post("/v1/chat/completions", kChatStream);
  EXPECT_EQ(stream->body.find("[DONE]"), std::string::npos);
  EXPECT_EQ(stream->body.find("\"finish_reason\":\"stop\""), std::string::npos);
  EXPECT_NE(stream->body.find("upstream_error"), std::string::npos);
  world.chat.script = [](const ChatRequest&, ChatSink&) -> Task<Result<Usage>> {
    co_return Usage{};
  };
  EXPECT_EQ(world.post("/v1/chat/completions", kChat)->status, 502);
}

TEST(Gateway, ForeignChoiceIndexesAreRefused) {
  World world;
  for (const int index : {-1, 1, 1'000'000'000}) {
    world.chat.script = [index](const ChatRequest&, ChatSink& sink) -> Task<Result<Usage>> {
      GENESIS_CO_TRY_VOID(co_await sink.begin(kHere));
      const ChatDelta delta{.index = index, .text = "x", .finish = FinishReason::kStop};
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
      co_return Usage{};
    };
    EXPECT_EQ(world.post("/v1/chat/completions", kChat)->status, 502);
  }
}

TEST(Gateway, ClientGoneCancelsAndWritesNothingMore) {
  World world;
  for (const char* body : {kChat, kChatStream}) {
    FakeResponse* response = nullptr;
    bool told = false;
    world.prepare = [&](FakeResponse& made) { response = &made; };
    world.chat.script = [&](const ChatRequest&, ChatSink& sink) -> Task<Result<Usage>> {
      const CancelHook hook = sink.cancel_token().on_cancel([&] { told = true; });
      GENESIS_CO_TRY_VOID(co_await sink.begin(kHere));
      response->gone.cancel();
      const ChatDelta delta{.text = "x"};
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
      co_return Usage{};
    };
    const auto answer = world.post("/v1/chat/completions", body);
    EXPECT_TRUE(told);
    EXPECT_FALSE(answer->finished);
    EXPECT_EQ(answer->body, "");
  }
  EXPECT_NE(world.metrics.expose().find("status=\"499\"} 2"), std::string::npos);
}

TEST(Gateway, AFailedWriteCancelsTheProducer) {
  World world;
  world.prepare = [](FakeResponse& response) { response.writes_until_failure = 1; };
  int written = 0;
  bool cancelled = false;
  world.chat.script = [&](const ChatRequest&, ChatSink& sink) -> Task<Result<Usage>> {
    GENESIS_CO_TRY_VOID(co_await sink.begin(kHere));
    for (; written < 100; ++written) {
      const ChatDelta delta{.text = "x"};
      auto result = co_await sink.write(delta);
      if (!result) {
        cancelled = sink.cancel_token().cancelled();
        co_return std::unexpected(result.error());
      }
    }
    co_return Usage{};
  };
  const auto response = world.post("/v1/chat/completions", kChatStream);
  EXPECT_EQ(written, 1);
  EXPECT_TRUE(cancelled);
  EXPECT_FALSE(response->finished);
}

TEST(Gateway, CancelledWithoutTheClientIsUnavailable) {
  World world;
  world.chat.script = fails_with(make_error(ErrorCode::kCancelled));
  EXPECT_EQ(world.post("/v1/chat/completions", kChat)->status, 503);
}

TEST(Gateway, SilenceIsFilledWithCommentsThatNeverOverlapFrames) {
  World world({.keep_alive_comment = std::chrono::milliseconds(1)});
  FakeResponse* response = nullptr;
  world.prepare = [&](FakeResponse& made) { response = &made; };
  world.chat.script = [&](const ChatRequest&, ChatSink& sink) -> Task<Result<Usage>> {
    GENESIS_CO_TRY_VOID(co_await sink.begin(kHere));
    asio::steady_timer timer(co_await asio::this_coro::executor);
    // Ends by what it sees, not by the time: a comment has come.
    while (response->body.find(": keep-alive\n\n") == std::string::npos) {
      timer.expires_after(std::chrono::milliseconds(1));
      co_await timer.async_wait(asio::use_awaitable);
    }
    for (int i = 0; i < 200; ++i) {
      const ChatDelta delta{.text = "x"};
      GENESIS_CO_TRY_VOID(co_await sink.write(delta));
    }
    const ChatDelta last{.finish = FinishReason::kStop};
    GENESIS_CO_TRY_VOID(co_await sink.write(last));
    co_return Usage{};
  };
  const auto answer = world.post("/v1/chat/completions", kChatStream);
  EXPECT_EQ(answer->overlaps, 0);
  EXPECT_TRUE(answer->body.starts_with(": keep-alive\n\n"));
  EXPECT_TRUE(answer->body.ends_with("data: [DONE]\n\n"));
  EXPECT_TRUE(answer->finished);
}

TEST(Gateway, HostileModelNamesStayOutOfHeaders) {
  World world;
  world.chat.script = [](const ChatRequest&, ChatSink& sink) -> Task<Result<Usage>> {
    const ServedBy evil{
        .endpoint = "a\r\nSet-Cookie: x=1", .model = "m\n\"}", .tier = Tier::kManaged};
    GENESIS_CO_TRY_VOID(co_await sink.begin(evil));
    const ChatDelta last{.finish = FinishReason::kStop};
    GENESIS_CO_TRY_VOID(co_await sink.write(last));
    co_return Usage{};
  };
  const auto response = world.post("/v1/chat/completions", kChatStream);
  EXPECT_EQ(response->header("x-genesis-endpoint"), "a__Set-Cookie:_x=1");
  EXPECT_EQ(response->header("x-genesis-model"), "m_\"}");
  EXPECT_NE(response->body.find(R"("model":"m\n\"}")"), std::string::npos);
}

TEST(Gateway, MetricsCountRequestsByOutcome) {
  World world;
  world.post("/v1/chat/completions", kChat);
  world.post("/v1/chat/completions", "{");
  world.get("/nowhere");
  const std::string text = world.get("/metrics")->body;
  EXPECT_NE(text.find("tgi_request_count 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("tgi_request_success 1\n"), std::string::npos);
  EXPECT_NE(text.find("tgi_request_failure{err=\"invalid_argument\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("genesis_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 1\n"),
            std::string::npos);
  EXPECT_NE(text.find("genesis_requests_total{route=\"unknown\",status=\"404\"} 1\n"),
            std::string::npos);
  EXPECT_NE(text.find("tgi_request_generated_tokens_sum 2\n"), std::string::npos);
  EXPECT_NE(text.find("genesis_time_to_first_token_seconds_count 1\n"), std::string::npos);
}

}  // namespace
}  // namespace genesis::server
