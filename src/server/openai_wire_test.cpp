// OpenAI answers byte for byte, through the whole gateway.
#include "server/server_fixture.h"
#include "server/tool_calls.h"

#include <gtest/gtest.h>

#include <limits>

namespace genesis::server {
namespace {

constexpr const char* kChat = R"({"messages":[{"role":"user","content":"x"}])";

std::string chat(std::string_view fields = "") {
  return kChat + std::string(fields) + "}";
}

constexpr std::string_view kChunkHead =
    R"(data: {"id":"chatcmpl-ID","object":"chat.completion.chunk",)"
    R"("created":1700000000,"model":"tiny",)"
    R"("system_fingerprint":"genesis-1.2.3","choices":[)";

std::string chunk(std::string_view choice, std::string_view tail = "]}\n\n") {
  return std::string(kChunkHead) + std::string(choice) + std::string(tail);
}

TEST(OpenAiWire, ChatBody) {
  World world;
  world.chat.script = answers({{.text = "Hel"}, {.text = "lo\n"}, {.finish = FinishReason::kStop}},
                              Usage{.input = 7, .cached_input = 4, .output = 3, .reasoning = 1});
  const auto response = world.post("/v1/chat/completions", chat());
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(
      response->normal(),
      R"({"id":"chatcmpl-ID","object":"chat.completion","created":1700000000,"model":"tiny",)"
      R"("system_fingerprint":"genesis-1.2.3","choices":[{"index":0,"message":{"role":"assistant",)"
      R"("content":"Hello\n"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":7,)"
      R"("completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":4},)"
      R"("completion_tokens_details":{"reasoning_tokens":1}}})");
  EXPECT_EQ(response->header("Content-Type"), "application/json");
  EXPECT_EQ(response->header("x-genesis-model"), "tiny");
  EXPECT_EQ(response->header("x-genesis-tier"), "self_hosted");
  EXPECT_EQ(response->header("x-genesis-endpoint"), "here");
}

TEST(OpenAiWire, ChatStream) {
  World world;
  world.chat.script = answers({{.text = "Hel"}, {.text = "lo", .finish = FinishReason::kLength}});
  const auto response = world.post("/v1/chat/completions", chat(R"(,"stream":true)"));
  EXPECT_EQ(
      response->normal(),
      chunk(R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
            R"("finish_reason":null})") +
          chunk(R"({"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null})") +
          chunk(R"({"index":0,"delta":{"content":"lo"},"logprobs":null,"finish_reason":null})") +
          chunk(R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"length"})") +
          "data: [DONE]\n\n");
  EXPECT_TRUE(response->finished);
  EXPECT_EQ(response->header("Content-Type"), "text/event-stream");
  EXPECT_EQ(response->header("X-Accel-Buffering"), "no");
  EXPECT_EQ(response->header("Cache-Control"), "no-store");
}

TEST(OpenAiWire, ChatStreamWithUsage) {
  World world;
  world.chat.script = answers({{.text = "a", .finish = FinishReason::kStopSequence}});
  const auto response = world.post(
      "/v1/chat/completions", chat(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  const std::string tail = "],\"usage\":null}\n\n";
  EXPECT_EQ(response->normal(),
            chunk(R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
                  R"("finish_reason":null})",
                  tail) +
                chunk(R"({"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null})",
                      tail) +
                chunk(R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop",)"
                      R"("stop_reason":"stop_sequence"})",
                      tail) +
                chunk("",
                      R"(],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,)"
                      R"("prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{)"
                      R"("reasoning_tokens":0}}})"
                      "\n\n") +
                "data: [DONE]\n\n");
}

TEST(OpenAiWire, ChatLogprobsAndTokenIds) {
  World world;
  TokenInfo euro = token(9, "\xE2\x82", -0.5F);
  euro.top = {{.id = 9, .text = "\xE2\x82", .logprob = -0.5F},
              {.id = 3, .text = "b", .logprob = -std::numeric_limits<float>::infinity()}};
  world.chat.script = answers({{.text = "", .tokens = {euro}, .finish = FinishReason::kStop}});
  const std::string logprobs =
      R"({"content":[{"token":"��","logprob":-0.5,"bytes":[226,130],"top_logprobs":[)"
      R"({"token":"��","logprob":-0.5,"bytes":[226,130]},{"token":"b",)"
      R"("logprob":-9999,"bytes":[98]}]}],"refusal":null})";
  const char* ask = R"(,"logprobs":true,"top_logprobs":2,"return_token_ids":true)";
  const auto whole = world.post("/v1/chat/completions", chat(ask));
  EXPECT_NE(
      whole->body.find(R"("logprobs":)" + logprobs + R"(,"finish_reason":"stop","token_ids":[9])"),
      std::string::npos)
      << whole->body;
  const auto stream =
      world.post("/v1/chat/completions", chat(ask + std::string(R"(,"stream":true)")));
  EXPECT_NE(stream->body.find(R"({"index":0,"delta":{},"logprobs":)" + logprobs +
                              R"(,"finish_reason":"stop","token_ids":[9]})"),
            std::string::npos)
      << stream->body;
}

TEST(OpenAiWire, ReasoningUnderBothNamesAndToolCalls) {
  World world;
  world.chat.script =
      answers({{.reasoning = "hm"},
               {.tool_calls_json = "[{\"index\":0,\"id\":\"c1\",\n\"type\":\"function\","
                                   "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\"}}]"},
               {.tool_calls_json = R"([{"index":0,"function":{"arguments":"\":1}"}}])"},
               {.finish = FinishReason::kToolCalls}});
  const auto whole = world.post("/v1/chat/completions", chat());
  EXPECT_NE(
      whole->body.find(R"("message":{"role":"assistant","content":null,"reasoning_content":"hm",)"
                       R"("reasoning":"hm",)"
                       R"("tool_calls":[{"id":"c1","type":"function","function":{"name":"f",)"
                       R"("arguments":"{\"a\":1}"}}]},)"
                       R"("logprobs":null,"finish_reason":"tool_calls")"),
      std::string::npos)
      << whole->body;
  const auto stream = world.post("/v1/chat/completions", chat(R"(,"stream":true)"));
  EXPECT_NE(stream->body.find(R"("delta":{"reasoning_content":"hm","reasoning":"hm"})"),
            std::string::npos);
  EXPECT_NE(stream->body.find(R"("delta":{"tool_calls":[{"index":0,"id":"c1", "type")"),
            std::string::npos)
      << stream->body;
}

TEST(OpenAiWire, ChoicesKeepTheirIndexAndEndOnce) {
  World world;
  world.chat.script = answers({{.index = 1, .text = "b"},
                               {.index = 0, .text = "a", .finish = FinishReason::kStop},
                               {.index = 0, .text = "late", .finish = FinishReason::kLength},
                               {.index = 1, .finish = FinishReason::kLength}});
  const auto response = world.post("/v1/chat/completions", chat(R"(,"n":2,"stream":true)"));
  std::size_t finishes = 0;
  for (auto at = response->body.find("\"finish_reason\":\""); at != std::string::npos;
       at = response->body.find("\"finish_reason\":\"", at + 1)) {
    ++finishes;
  }
  EXPECT_EQ(finishes, 2U);
  EXPECT_EQ(response->body.find("late"), std::string::npos);
  EXPECT_NE(response->body.find(R"({"index":1,"delta":{"content":"b"})"), std::string::npos);
}

TEST(OpenAiWire, CompletionBodyWithEchoAndLogprobs) {
  World world;
  TokenInfo chosen = token(3, "é", -0.25F);
  chosen.top = {{.id = 4, .text = "e", .logprob = -2.0F}};
  world.chat.script =
      answers({{.text = "p q", .prompt_tokens = {token(1, "p", 0), token(2, " q", -1.5F)}},
               {.text = "é", .tokens = {chosen}},
               {.text = "!", .tokens = {token(5, "!", -1)}, .finish = FinishReason::kLength}});
  const auto response = world.post(
      "/v1/completions",
      R"({"prompt":"p q","echo":true,"logprobs":1,"return_token_ids":true,"model":"tiny"})");
  EXPECT_EQ(
      response->normal(),
      R"({"id":"cmpl-ID","object":"text_completion","created":1700000000,"model":"tiny",)"
      R"("system_fingerprint":"genesis-1.2.3","choices":[{"text":"p qé!","index":0,"logprobs":{)"
      R"("text_offset":[0,1,3,4],"token_logprobs":[null,-1.5,-0.25,-1],"tokens":["p",)"
      R"(" q","é","!"],)"
      R"("top_logprobs":[null,{" q":-1.5},{"e":-2,"é":-0.25},{"!":-1}]},"finish_reason":"length",)"
      R"("token_ids":[3,5],"prompt_token_ids":[1,2]}],"usage":{"prompt_tokens":7,)"
      R"("completion_tokens":2,)"
      R"("total_tokens":9,"prompt_tokens_details":{"cached_tokens":0},)"
      R"("completion_tokens_details":{"reasoning_tokens":0}}})");
}

TEST(OpenAiWire, CompletionStreamCountsOffsetsOn) {
  World world;
  world.chat.script =
      answers({{.text = "ab", .tokens = {token(1, "ab", -1)}},
               {.text = "c", .tokens = {token(2, "c", -2)}, .finish = FinishReason::kStop}});
  const auto response = world.post(
      "/v1/completions", R"({"prompt":[1,2],"stream":true,"logprobs":0,"return_token_ids":true})");
  const std::string head =
      R"(data: {"id":"cmpl-ID","object":"text_completion","created":1700000000,"model":"tiny",)"
      R"("system_fingerprint":"genesis-1.2.3","choices":[)";
  EXPECT_EQ(response->normal(),
            head +
                R"({"index":0,"text":"ab","logprobs":{"text_offset":[0],"token_logprobs":[-1],)"
                R"("tokens":["ab"],"top_logprobs":null},"finish_reason":null,"token_ids":[1]}]})"
                "\n\n" +
                head +
                R"({"index":0,"text":"c","logprobs":{"text_offset":[2],"token_logprobs":[-2],)"
                R"("tokens":["c"],"top_logprobs":null},"finish_reason":"stop","token_ids":[)"
                R"(2]}]})"
                "\n\ndata: [DONE]\n\n");
}

TEST(ToolCalls, HostileDeltasAreUpstreamErrors) {
  for (const char* deltas : {"{}",
                             "[1]",
                             "nope",
                             R"([{"index":-1}])",
                             R"([{"index":1000000000}])",
                             R"([{"index":"0"}])",
                             R"([{"id":7}])"}) {
    ToolCallMerger merger;
    EXPECT_FALSE(merger.add(deltas)) << deltas;
  }
}

}  // namespace
}  // namespace genesis::server
