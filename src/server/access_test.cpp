// Keys, the default deny of every route, and the browser guard.
#include "server/access.h"

#include "server/server_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace genesis::server {
namespace {

GatewayOptions loopback() {
  return {.allowed_hosts = {"127.0.0.1", "localhost", "[::1]"}};
}

net::Headers with(std::string_view name, std::string_view value) {
  net::Headers headers;
  headers.add(name, value);
  return headers;
}

// A path that the row matches.
std::string concrete(std::string_view path) {
  std::string text(path);
  const auto at = text.find("{id}");
  return at == std::string::npos ? text : text.replace(at, 4, "tiny");
}

TEST(Access, AKeyThatIsNotKnownYetIsLearnedFirst) {
  const std::string chat = R"({"model":"auto","messages":[{"role":"user","content":"hi"}]})";
  World world;
  world.learning = fail(ErrorCode::kUnavailable, "the database does not answer");
  EXPECT_EQ(world.post("/v1/chat/completions", chat, "new-key")->status, 503)
      << "nobody can say that it is wrong";
  EXPECT_EQ(world.get("/health", "new-key")->status, 200) << "who needs no key is not asked for it";
  world.learning = {};
  EXPECT_EQ(world.post("/v1/chat/completions", chat, "new-key")->status, 200);
  EXPECT_EQ(world.learned, 1);
  EXPECT_EQ(world.post("/v1/chat/completions", chat, "new-key")->status, 200);
  EXPECT_EQ(world.post("/v1/chat/completions", chat)->status, 200);
  EXPECT_EQ(world.learned, 1) << "known from then on";
}

TEST(Access, TokenComesFromTwoHeadersOnly) {
  EXPECT_EQ(*request_token(with("authorization", "Bearer abc")), "abc");
  EXPECT_EQ(*request_token(with("Authorization", "bEaReR   abc ")), "abc");
  EXPECT_EQ(*request_token(with("X-Api-Key", "abc")), "abc");
  EXPECT_EQ(*request_token(with("Authorization", "Bearer ")), std::nullopt);
  EXPECT_EQ(*request_token(with("Authorization", "Bearer")), std::nullopt);
  EXPECT_EQ(*request_token({}), std::nullopt);
  EXPECT_FALSE(request_token(with("Authorization", "Basic dXNlcjprZXk=")));
  EXPECT_FALSE(request_token(with("Authorization", "user-key")));
}

TEST(Access, HostListMatchesWithAndWithoutPort) {
  const std::vector<std::string> allowed{"127.0.0.1", "localhost", "[::1]", "box:9000"};
  for (const char* host : {"127.0.0.1", "127.0.0.1:8080", "LocalHost:1", "[::1]:80", "box:9000"}) {
    EXPECT_TRUE(host_allowed(host, allowed)) << host;
  }
  for (const char* host : {"",
                           ":8080",
                           "evil.com",
                           "evil.com:8080",
                           "127.0.0.1.evil.com",
                           "box",
                           "box:9001",
                           "[::2]:80",
                           "localhost.",
                           "[::1",
                           "user@localhost"}) {
    EXPECT_FALSE(host_allowed(host, allowed)) << host;
  }
}

TEST(Access, WithRequireKeyOnlyThePublicListAnswersWithoutOne) {
  World world({.allowed_hosts = {"127.0.0.1"}, .require_key = true});
  const std::vector<std::string> open{"/health", "/ping", "/ready"};
  std::size_t denied = 0;
  for (const RouteRow& row : world.gateway->routes()) {
    SCOPED_TRACE(row.path);
    const bool listed = std::ranges::count(open, row.path) > 0;
    EXPECT_EQ(row.access == Access::kPublic, listed);
    for (const char* key : {"", "Bearer wrong", "Basic user-key"}) {
      auto request = make_request(std::string(row.method), concrete(row.path), "{}");
      request.query = "api_key=admin-key&key=user-key";
      if (*key != 0) {
        request.headers.set("Authorization", key);
      }
      const auto response = world.call(request);
      EXPECT_EQ(response->status == 401, !listed);
      denied += response->status == 401 ? 1 : 0;
    }
  }
  EXPECT_EQ(denied, 3 * (world.gateway->routes().size() - open.size()));
  EXPECT_TRUE(world.chat.seen.empty());
}

TEST(Access, LoopbackWithoutKeyNeedsAKnownHostAndNoForeignOrigin) {
  World world(loopback());
  auto request = make_request("GET", "/v1/models");
  EXPECT_EQ(world.call(request)->status, 200);
  request.headers.set("Host", "evil.com:8080");
  const auto denied = world.call(request);
  EXPECT_EQ(denied->status, 403);
  EXPECT_NE(denied->body.find("\"hint\":"), std::string::npos);
  request.from_unix_socket = true;
  EXPECT_EQ(world.call(request)->status, 200);

  auto browser = make_request("GET", "/v1/models");
  for (const char* origin : {"https://evil.com", "null", "http://127.0.0.1.evil.com"}) {
    browser.headers.set("Origin", origin);
    EXPECT_EQ(world.call(browser)->status, 403) << origin;
  }
  browser.headers.set("Origin", "http://localhost:3000");
  EXPECT_EQ(world.call(browser)->status, 200);

  auto hostless = make_request("GET", "/v1/models");
  hostless.headers = {};
  EXPECT_EQ(world.call(hostless)->status, 403);
}

TEST(Access, WrongKeyIsRefusedEvenWhereNoneIsNeeded) {
  World world(loopback());
  EXPECT_EQ(world.get("/v1/models", "wrong")->status, 401);
  EXPECT_EQ(world.get("/v1/models", "user-key")->status, 200);
  EXPECT_EQ(world.get("/v1/models", "")->status, 200);
}

TEST(Access, PlaceholderKeyIsTrustedNoMoreThanNoKey) {
  World open(loopback());
  auto request = make_request("GET", "/v1/models");
  request.headers.set("Authorization", "Bearer none");
  EXPECT_EQ(open.call(request)->status, 200);
  request.headers.set("Origin", "https://evil.com");
  EXPECT_EQ(open.call(request)->status, 403);
  EXPECT_EQ(open.get("/admin/savings", "none")->status, 403);
  World closed({.allowed_hosts = {"127.0.0.1"}, .require_key = true});
  EXPECT_EQ(closed.get("/v1/models", "none")->status, 401);
}

TEST(Access, AdminRoutesAlwaysNeedAnAdminKey) {
  World world(loopback());
  EXPECT_EQ(world.call(make_request("GET", "/admin/savings"))->status, 401);
  EXPECT_EQ(world.get("/admin/savings", "user-key")->status, 403);
  const auto answer = world.get("/admin/savings", "admin-key");
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, R"({"saved":"1.00"})");

  auto bad = make_request("GET", "/admin/savings");
  bad.headers.set("x-api-key", "admin-key");
  bad.query = "bad";
  EXPECT_EQ(world.call(bad)->status, 400);
}

TEST(Access, ScopedKeySeesAndUsesItsModelsOnly) {
  World world({.require_key = true});
  const auto denied = world.post("/v1/chat/completions",
                                 R"({"model":"auto","messages":[{"role":"user","content":"x"}]})",
                                 "small-key");
  EXPECT_EQ(denied->status, 403);
  EXPECT_NE(denied->body.find(R"("code":"model_not_allowed")"), std::string::npos);
  EXPECT_TRUE(world.chat.seen.empty());
  const auto allowed = world.post("/v1/chat/completions",
                                  R"({"model":"tiny","messages":[{"role":"user","content":"x"}]})",
                                  "small-key");
  EXPECT_EQ(allowed->status, 200);
  const auto models = world.get("/v1/models", "small-key");
  EXPECT_EQ(models->body.find("auto"), std::string::npos);
  EXPECT_NE(models->body.find(R"("id":"tiny")"), std::string::npos);
  EXPECT_EQ(world.get("/v1/models/auto", "small-key")->status, 404);
  EXPECT_EQ(world.get("/v1/models/org/tiny", "user-key")->status, 200);
  EXPECT_EQ(world.get("/v1/models/nope", "user-key")->status, 404);
}

}  // namespace
}  // namespace genesis::server
