// Answers of upstreams that speak OpenAI as the client does: passed on as they are.
#include "server/openai_raw.h"

#include "server/server_fixture.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {
namespace {

std::string chat(std::string_view fields = "") {
  return R"({"messages":[{"role":"user","content":"x"}])" + std::string(fields) + "}";
}

constexpr const char* kStream = R"(,"stream":true)";
constexpr const char* kStreamUsage = R"(,"stream":true,"stream_options":{"include_usage":true})";

const std::string kFirst =
    R"({"id":"up-1","object":"chat.completion.chunk","created":7,"model":"big","provider":"p",)"
    R"("choices":[{"index":0,"delta":{"role":"assistant","content":"Hel","novel":"ab"},)"
    R"("finish_reason":null,"zz":null}],"obfuscation":"q"})";
const std::string kLast =
    R"({"id":"up-1","object":"chat.completion.chunk","created":7,"model":"big",)"
    R"("choices":[ {"index":0,"delta":{"content":"lo","novel":"cd","list":[1]},)"
    R"("finish_reason":"stop","zz":{"a":[1,2]}} ]})";

std::vector<ChatDelta> chunks() {
  return {{.text = "Hel", .raw = kFirst},
          {.text = "lo", .finish = FinishReason::kStop, .raw = kLast}};
}

TEST(OpenAiRaw, ChunksPassByteForByte) {
  World world;
  world.chat.script = answers(chunks());
  EXPECT_EQ(world.post("/v1/chat/completions", chat(kStream))->body,
            "data: " + kFirst + "\n\ndata: " + kLast + "\n\ndata: [DONE]\n\n");
}

TEST(OpenAiRaw, TheUsageChunkHasTheIdOfTheOthers) {
  World world;
  world.chat.script = answers(chunks(), Usage{.input = 7, .output = 2});
  EXPECT_EQ(world.post("/v1/chat/completions", chat(kStreamUsage))->body,
            "data: " + kFirst + "\n\ndata: " + kLast +
                "\n\ndata: "
                R"({"id":"up-1","object":"chat.completion.chunk","created":7,"model":"big",)"
                R"("choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,)"
                R"("prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":)"
                R"({"reasoning_tokens":0}}})"
                "\n\ndata: [DONE]\n\n");
}

TEST(OpenAiRaw, UsageGoesOnlyToThoseWhoAskForIt) {
  const std::string told = R"({"id":"u","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],)"
                           R"("usage":{"prompt_tokens":1},"x":1})";
  const std::string lone = R"({"id":"u","choices":[ ],"usage":{"prompt_tokens":1}})";
  World world;
  world.chat.script = answers({{.finish = FinishReason::kStop, .raw = told}, {.raw = lone}});
  EXPECT_EQ(world.post("/v1/chat/completions", chat(kStream))->body,
            R"(data: {"id":"u","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x":1})"
            "\n\ndata: [DONE]\n\n");
  EXPECT_EQ(world.post("/v1/chat/completions", chat(kStreamUsage))->body,
            "data: " + told + "\n\ndata: " + lone + "\n\ndata: [DONE]\n\n");
}

TEST(OpenAiRaw, AWholeBodyIsTheAnswerButNoChunk) {
  const std::string whole =
      R"({"id":"up","object":"chat.completion","choices":[{"index":0,"message":{"content":"Hi"},)"
      R"("finish_reason":"stop"}], "service_tier":"x"})";
  World world;
  world.chat.script = answers({{.text = "Hi", .finish = FinishReason::kStop, .raw = whole}});
  EXPECT_EQ(world.post("/v1/chat/completions", chat())->body, whole);
  const std::string streamed = world.post("/v1/chat/completions", chat(kStream))->body;
  EXPECT_EQ(streamed.find("service_tier"), std::string::npos);
  EXPECT_NE(streamed.find(R"("delta":{"content":"Hi"})"), std::string::npos) << streamed;
}

TEST(OpenAiRaw, UnknownMembersOfChunksSurviveInTheBody) {
  World world;
  world.chat.script = answers(chunks(), Usage{.input = 7, .output = 2});
  EXPECT_EQ(world.post("/v1/chat/completions", chat())->body,
            R"({"id":"up-1","object":"chat.completion","created":7,"model":"big","provider":"p",)"
            R"("obfuscation":"q","choices":[{"index":0,"message":{"role":"assistant",)"
            R"("content":"Hello","novel":"abcd","list":[1]},"logprobs":null,)"
            R"("finish_reason":"stop","zz":{"a":[1,2]}}],"usage":{"prompt_tokens":7,)"
            R"("completion_tokens":2,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":0},)"
            R"("completion_tokens_details":{"reasoning_tokens":0}}})");
}

// The provider hands on only the first of the plain chunks, and the usage may be told in each.
TEST(OpenAiRaw, OneChunkOfManyIsNoBody) {
  World world;
  const std::string first =
      R"({"id":"up","object":"text_completion","choices":[{"index":0,"text":"a",)"
      R"("finish_reason":null}],"usage":{"prompt_tokens":1}})";
  world.chat.script =
      answers({{.text = "a", .raw = first}, {.text = "b", .finish = FinishReason::kStop}});
  const std::string body = world.post("/v1/completions", R"({"prompt":"x"})")->body;
  EXPECT_NE(body.find(R"("text":"ab")"), std::string::npos) << body;
  const std::string whole =
      R"({"id":"up","object":"text_completion","choices":[{"index":0,"text":"ab",)"
      R"("finish_reason":"stop"}],"usage":{"prompt_tokens":1},"new":1})";
  world.chat.script = answers({{.text = "ab", .finish = FinishReason::kStop, .raw = whole}});
  EXPECT_EQ(world.post("/v1/completions", R"({"prompt":"x"})")->body, whole);
}

TEST(OpenAiRaw, MembersAddUpByTheirKind) {
  RawMembers members;
  members.append("s", R"("a\n")");
  members.append("s", "null");
  members.append("s", R"("b")");
  members.append("l", "[]");
  members.append("l", "[1,{\"x\":\"],\"}]");
  members.append("l", "[ ]");
  members.append("l", "[2]");
  members.append("o", "{\"a\":1}");
  members.append("o", "{\"a\":2}");
  members.append("n", "null");
  EXPECT_EQ(members.get("s"), R"("a\nb")");
  EXPECT_EQ(members.get("l"), "[1,{\"x\":\"],\"},2]");
  EXPECT_EQ(members.get("o"), "{\"a\":2}");
  EXPECT_EQ(members.get("n"), std::nullopt);
  for (int i = 0; i < 1000; ++i) {
    members.put("k" + std::to_string(i), "1");
  }
  EXPECT_EQ(members.all().size(), 64U);
}

TEST(OpenAiRaw, ARefusalIsToldWhereItBelongs) {
  World world;
  const std::string raw = R"({"id":"r","choices":[{"index":0,"delta":{"refusal":"I will not"},)"
                          R"("finish_reason":"stop"}]})";
  world.chat.script = answers({{.text = "I will not", .finish = FinishReason::kStop, .raw = raw},
                               {.raw = R"({"id":"r"})"}});
  const std::string body = world.post("/v1/chat/completions", chat())->body;
  EXPECT_NE(body.find(R"("content":null,"refusal":"I will not")"), std::string::npos) << body;
}

TEST(OpenAiRaw, SignaturesOfToolCallsSurvive) {
  World world;
  world.chat.script =
      answers({{.tool_calls_json = R"([{"index":0,"id":"c","extra_content":{"google":{"s":"x"}},)"
                                   R"("function":{"name":"f","arguments":"{}","strict":true}}])"},
               {.finish = FinishReason::kToolCalls}});
  const std::string body = world.post("/v1/chat/completions", chat())->body;
  EXPECT_NE(body.find(R"("function":{"name":"f","arguments":"{}","strict":true},)"
                      R"("extra_content":{"google":{"s":"x"}}})"),
            std::string::npos)
      << body;
}

}  // namespace
}  // namespace genesis::server
