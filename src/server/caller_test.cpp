// Caller words and trace context, alone and through the gateway.
#include "server/caller.h"

#include "server/server_fixture.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace genesis::server {
namespace {

constexpr const char* kChat = R"({"messages":[{"role":"user","content":"x"}])";

net::Headers with(std::vector<std::pair<std::string, std::string>> fields) {
  net::Headers headers;
  for (const auto& [name, value] : fields) {
    headers.add(name, value);
  }
  return headers;
}

TEST(Caller, WordsOfOurOwnHeaders) {
  const auto caller = read_caller(with({{"x-genesis-agent", "qa"},
                                        {"X-Genesis-Task", "routing"},
                                        {"x-genesis-session", "run/7:a@b.c+d-e_f"}}),
                                  "hint");
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->agent, "qa");
  EXPECT_EQ(caller->task, "routing");
  EXPECT_EQ(caller->session, "run/7:a@b.c+d-e_f");
  EXPECT_EQ(caller->team, "");
}

TEST(Caller, ABadWordIsRefusedByName) {
  for (const char* name : {"x-genesis-agent", "x-genesis-task", "x-genesis-session"}) {
    for (const std::string& word : {std::string("a b"),
                                    std::string(129, 'a'),
                                    std::string("caf\xC3\xA9"),
                                    std::string("\"")}) {
      const auto caller = read_caller(with({{name, word}}), "");
      ASSERT_FALSE(caller) << name << word;
      EXPECT_EQ(caller.error().param, name);
      EXPECT_EQ(caller.error().code, ErrorCode::kInvalidArgument);
    }
    EXPECT_TRUE(read_caller(with({{name, std::string(128, 'a')}}), ""));
  }
}

TEST(Caller, TheSessionFallsBackAndNeverLeaksText) {
  EXPECT_EQ(read_caller(with({{"x-session-id", "s1"}}), "")->session, "s1");
  EXPECT_EQ(read_caller(with({{"x-session-id", "s1"}}), "u1")->session, "u1");
  EXPECT_EQ(read_caller({}, "")->session, "");
  const std::string digest = read_caller({}, "Jane Doe, Berlin")->session;
  EXPECT_TRUE(digest.starts_with("sha256-")) << digest;
  EXPECT_EQ(digest.size(), 39U);
  EXPECT_EQ(read_caller({}, "Jane Doe, Berlin")->session, digest);
  EXPECT_NE(read_caller({}, "Jane Doe, Paris")->session, digest);
}

TEST(Caller, TravelsWithTheRequest) {
  World world;
  auto request = make_request(
      "POST", "/v1/chat/completions", std::string(kChat) + R"(,"prompt_cache_key":"conv-9"})");
  request.headers.add("Authorization", "Bearer user-key");
  request.headers.add("x-genesis-agent", "builder");
  request.headers.add("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  ASSERT_EQ(world.call(request)->status, 200);
  const ChatRequest seen = world.chat.seen.at(0);
  EXPECT_EQ(seen.caller.agent, "builder");
  EXPECT_EQ(seen.caller.session, "conv-9");
  EXPECT_EQ(seen.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  request.headers.add("x-genesis-task", "no words");
  const auto refused = world.call(request);
  EXPECT_EQ(refused->status, 400);
  EXPECT_NE(refused->body.find(R"("param":"x-genesis-task")"), std::string::npos);
  world.post("/v1/chat/completions", std::string(kChat) + R"(,"user":"u-2"})");
  EXPECT_EQ(world.chat.seen.at(1).caller.session, "u-2");
}

}  // namespace
}  // namespace genesis::server
