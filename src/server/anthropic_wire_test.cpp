// Anthropic answers byte for byte, through the whole gateway.
#include "server/server_fixture.h"
#include "server/tool_stream.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {
namespace {

const std::string kAsk =
    R"({"model":"auto","max_tokens":9,"messages":[{"role":"user","content":"x"}])";

std::string ask(std::string_view fields = "") {
  return kAsk + std::string(fields) + "}";
}

constexpr const char* kStream = R"(,"stream":true)";

std::string event(std::string_view name, std::string_view data) {
  return "event: " + std::string(name) + "\ndata: " + std::string(data) + "\n\n";
}

const std::string kStart =
    event("message_start",
          R"({"type":"message_start","message":{"id":"msg_ID","type":"message",)"
          R"("role":"assistant","model":"tiny","content":[],"stop_reason":null,)"
          R"("stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,)"
          R"("cache_read_input_tokens":0,"output_tokens":0}}})") +
    event("ping", R"({"type":"ping"})");

std::string block_start(int index, std::string_view block) {
  return event("content_block_start",
               R"({"type":"content_block_start","index":)" + std::to_string(index) +
                   R"(,"content_block":)" + std::string(block) + "}");
}

std::string block_delta(int index, std::string_view delta) {
  return event("content_block_delta",
               R"({"type":"content_block_delta","index":)" + std::to_string(index) +
                   R"(,"delta":)" + std::string(delta) + "}");
}

std::string block_stop(int index) {
  return event("content_block_stop",
               R"({"type":"content_block_stop","index":)" + std::to_string(index) + "}");
}

std::string ending(std::string_view reason, std::string_view sequence = "null") {
  return event("message_delta",
               R"({"type":"message_delta","delta":{"stop_reason":")" + std::string(reason) +
                   R"(","stop_sequence":)" + std::string(sequence) +
                   R"(},"usage":{"input_tokens":3,"cache_creation_input_tokens":1,)"
                   R"("cache_read_input_tokens":4,"output_tokens":2}})") +
         event("message_stop", R"({"type":"message_stop"})");
}

// 8 tokens in: 4 from a cache, 1 into it, 3 else.
constexpr Usage kUsage{.input = 8, .cached_input = 4, .cache_write = 1, .output = 2};

TEST(AnthropicWire, Body) {
  World world;
  world.chat.script =
      answers({{.reasoning = "hm"},
               {.text = "Hi "},
               {.text = "you"},
               {.tool_calls_json = R"([{"index":0,"id":"c1","function":{"name":"f",)"
                                   R"("arguments":"{\"a\""}}])"},
               {.tool_calls_json = R"([{"index":0,"function":{"arguments":":1}"}}])"},
               {.finish = FinishReason::kToolCalls}},
              kUsage);
  const auto response = world.post("/v1/messages", ask());
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->normal(),
            R"({"id":"msg_ID","type":"message","role":"assistant","model":"tiny","content":[)"
            R"({"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"Hi you"},)"
            R"({"type":"tool_use","id":"c1","name":"f","input":{"a":1}}],"stop_reason":"tool_use",)"
            R"("stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":1,)"
            R"("cache_read_input_tokens":4,"output_tokens":2}})");
  EXPECT_EQ(response->header("request-id"), response->header("x-request-id"));
  EXPECT_EQ(world.chat.seen.at(0).dialect, Dialect::kAnthropic);
}

TEST(AnthropicWire, StopReasons) {
  const auto reason = [](FinishReason finish, std::string matched, std::string fields) {
    World world;
    world.chat.script =
        answers({{.text = "a", .finish = finish, .stop_sequence = std::move(matched)}}, kUsage);
    const std::string body = world.post("/v1/messages", ask(fields))->body;
    const auto from = body.find("\"stop_reason\"");
    return body.substr(from, body.find(",\"usage\"") - from);
  };
  const std::string one = R"(,"stop_sequences":["X"])";
  const std::string two = R"(,"stop_sequences":["X","Y"])";
  EXPECT_EQ(reason(FinishReason::kStop, "", ""),
            R"("stop_reason":"end_turn","stop_sequence":null)");
  EXPECT_EQ(reason(FinishReason::kLength, "", ""),
            R"("stop_reason":"max_tokens","stop_sequence":null)");
  EXPECT_EQ(reason(FinishReason::kContentFilter, "", ""),
            R"("stop_reason":"refusal","stop_sequence":null)");
  EXPECT_EQ(reason(FinishReason::kStopSequence, "", one),
            R"("stop_reason":"stop_sequence","stop_sequence":"X")");
  EXPECT_EQ(reason(FinishReason::kStopSequence, "Y", two),
            R"("stop_reason":"stop_sequence","stop_sequence":"Y")");
  EXPECT_EQ(reason(FinishReason::kStopSequence, "", two),
            R"("stop_reason":"stop_sequence","stop_sequence":null)");
}

TEST(AnthropicWire, StreamOfThinkingTextAndTools) {
  World world;
  world.chat.script = answers(
      {{.reasoning = "h"},
       {.reasoning = "m"},
       {.text = "Hi"},
       {.tool_calls_json =
            R"([{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\":"}}])"},
       {.tool_calls_json = R"([{"index":0,"function":{"arguments":"1}"}},{"index":1,"id":"c2",)"
                           R"("function":{"name":"g","arguments":"{}"}}])"},
       {.finish = FinishReason::kStop}},
      kUsage);
  const auto response = world.post("/v1/messages", ask(kStream));
  EXPECT_EQ(response->normal(),
            kStart + block_start(0, R"({"type":"thinking","thinking":"","signature":""})") +
                block_delta(0, R"({"type":"thinking_delta","thinking":"h"})") +
                block_delta(0, R"({"type":"thinking_delta","thinking":"m"})") + block_stop(0) +
                block_start(1, R"({"type":"text","text":""})") +
                block_delta(1, R"({"type":"text_delta","text":"Hi"})") + block_stop(1) +
                block_start(2, R"({"type":"tool_use","id":"c1","name":"f","input":{}})") +
                block_delta(2, R"({"type":"input_json_delta","partial_json":"{\"a\":"})") +
                block_delta(2, R"({"type":"input_json_delta","partial_json":"1}"})") +
                block_stop(2) +
                block_start(3, R"({"type":"tool_use","id":"c2","name":"g","input":{}})") +
                block_delta(3, R"({"type":"input_json_delta","partial_json":"{}"})") +
                block_stop(3) + ending("tool_use"));
  EXPECT_TRUE(response->finished);
}

TEST(AnthropicWire, MixedPiecesOfParallelCallsComeOneCallAfterTheOther) {
  ToolSequencer tools;
  std::string told;
  const auto take = [&](const std::vector<ToolPiece>& pieces) {
    for (const ToolPiece& piece : pieces) {
      told += std::to_string(piece.call);
      told += piece.kind == ToolPiece::Kind::kBegin ? "<" + piece.name
              : piece.kind == ToolPiece::Kind::kEnd ? ">"
                                                    : piece.arguments;
    }
  };
  take(tools
           .add(R"([{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"}"}},)"
                R"({"index":1,"id":"b","function":{"name":"g","arguments":"{"}}])")
           .value());
  take(tools.add(R"([{"index":1,"function":{"arguments":"}"}}])").value());
  EXPECT_EQ(told, "0<f0{\"x\":\"}");  // the brace was inside a string: call 0 goes on
  take(tools.add(R"([{"index":0,"function":{"arguments":"\"}"}}])").value());
  EXPECT_EQ(told, "0<f0{\"x\":\"}0\"}0>1<g1{}");
  take(tools.finish());
  EXPECT_EQ(told, "0<f0{\"x\":\"}0\"}0>1<g1{}1>");
  EXPECT_TRUE(tools.finish().empty());
  for (const char* bad : {"{", "{}", "[1]", R"([{"index":-1}])", R"([{"index":128}])"}) {
    EXPECT_FALSE(ToolSequencer().add(bad)) << bad;
  }
}

TEST(AnthropicWire, AnEmptyAnswerStillHasABlock) {
  World world;
  world.chat.script = answers({{.finish = FinishReason::kStop}}, kUsage);
  EXPECT_EQ(
      world.post("/v1/messages", ask(kStream))->normal(),
      kStart + block_start(0, R"({"type":"text","text":""})") + block_stop(0) + ending("end_turn"));
}

TEST(AnthropicWire, ACutStreamEndsInAnErrorEvent) {
  World world;
  Error error;
  error.code = ErrorCode::kUnavailable;
  error.message = "gone";
  world.chat.script = answers({{.text = "Hi"}}, std::unexpected(error));
  const auto response = world.post("/v1/messages", ask(kStream));
  EXPECT_TRUE(response->normal().ends_with(
      event("error",
            R"({"type":"error","error":{"type":"api_error","message":"gone"},"request_id":"ID"})")))
      << response->body;
  EXPECT_EQ(response->body.find("message_stop"), std::string::npos);
}

TEST(AnthropicWire, ErrorsBeforeTheStart) {
  World world;
  const auto bad = world.post("/v1/messages", R"({"messages":[]})");
  EXPECT_EQ(bad->status, 400);
  EXPECT_EQ(bad->normal(),
            R"({"type":"error","error":{"type":"invalid_request_error",)"
            R"("message":"'messages' must be a list with at least one message"},)"
            R"("request_id":"ID"})");
  Error full;
  full.code = ErrorCode::kOverloaded;
  full.message = "full";
  world.chat.script = fails_with(full);
  EXPECT_EQ(world.post("/v1/messages", ask())->status, 529);
  auto request = make_request("POST", "/v1/messages", ask());
  request.headers.set("x-api-key", "wrong");
  const auto stranger = world.call(request);
  EXPECT_EQ(stranger->status, 401);
  EXPECT_NE(stranger->body.find(R"("type":"authentication_error")"), std::string::npos);
  request.headers.set("x-api-key", "user-key");
  world.chat.script = answers({{.text = "a", .finish = FinishReason::kStop}});
  EXPECT_EQ(world.call(request)->status, 200);
}

// What an Anthropic upstream says, one delta for each event as the provider hands them on.
std::vector<ChatDelta> native_events() {
  const auto raw = [](std::string name, std::string data) {
    return ChatDelta{.raw = std::move(data), .raw_event = std::move(name)};
  };
  std::vector<ChatDelta> deltas{
      raw("message_start",
          R"({"type":"message_start","message":{"id":"msg_up","type":"message","new":1,)"
          R"("content":[],"stop_reason":null,"usage":{"input_tokens":5,"service_tier":"std"}}})"),
      raw("content_block_start",
          R"({"type":"content_block_start","index":0,"content_block":{"type":"thinking",)"
          R"("thinking":"","signature":""}})"),
      raw("content_block_delta",
          R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",)"
          R"("thinking":"hm"}})"),
      raw("content_block_delta",
          R"({"type":"content_block_delta","index":0,"delta":{"type":"signature_delta",)"
          R"("signature":"c2ln"}})"),
      raw("content_block_stop", R"({"type":"content_block_stop","index":0})"),
      raw("content_block_start",
          R"({"type":"content_block_start","index":1,"content_block":{"type":"tool_use",)"
          R"("id":"t","name":"f","input":{}}})"),
      raw("content_block_delta",
          R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta",)"
          R"("partial_json":"{\"a\":1}"}})"),
      raw("content_block_stop", R"({"type":"content_block_stop","index":1})"),
      raw("message_delta",
          R"({"type":"message_delta","delta":{"stop_reason":"tool_use"},)"
          R"("usage":{"output_tokens":7}})"),
      raw("message_stop", R"({"type":"message_stop"})")};
  deltas[2].reasoning = "hm";
  deltas.back().finish = FinishReason::kToolCalls;
  return deltas;
}

TEST(AnthropicWire, EventsOfTheSameDialectPassByteForByte) {
  World world;
  world.chat.script = answers(native_events(), kUsage);
  std::string wanted;
  for (const ChatDelta& delta : native_events()) {
    wanted += event(delta.raw_event, delta.raw);
  }
  EXPECT_EQ(world.post("/v1/messages", ask(kStream))->body, wanted);
}

TEST(AnthropicWire, EventsOfTheSameDialectAddUpToAMessage) {
  World world;
  world.chat.script = answers(native_events(), kUsage);
  EXPECT_EQ(world.post("/v1/messages", ask())->body,
            R"({"id":"msg_up","type":"message","new":1,"content":[{"type":"thinking",)"
            R"("thinking":"hm","signature":"c2ln"},{"type":"tool_use","id":"t","name":"f",)"
            R"("input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":5,)"
            R"("service_tier":"std","output_tokens":7}})");
}

TEST(AnthropicWire, AWholeMessageOfTheSameDialectIsTheBody) {
  World world;
  const std::string whole = R"({"id": "msg_up", "type":"message","content":[],"unknown":[1, 2]})";
  world.chat.script = answers({{.text = "x", .finish = FinishReason::kStop, .raw = whole}}, kUsage);
  EXPECT_EQ(world.post("/v1/messages", ask())->body, whole);
}

TEST(AnthropicWire, AStreamThatGoesOnAtAnotherUpstreamStaysInOrder) {
  World world;
  std::vector<ChatDelta> deltas = native_events();
  deltas.resize(3);
  deltas.push_back({.text = "rest"});
  deltas.push_back({.finish = FinishReason::kStop});
  world.chat.script = answers(deltas, kUsage);
  const std::string body = world.post("/v1/messages", ask(kStream))->body;
  EXPECT_TRUE(body.ends_with(block_stop(0) + block_start(1, R"({"type":"text","text":""})") +
                             block_delta(1, R"({"type":"text_delta","text":"rest"})") +
                             block_stop(1) + ending("end_turn")))
      << body;
}

TEST(AnthropicWire, TokensAreCountedOrEstimated) {
  World world;
  const std::string body =
      R"({"model":"auto","messages":[{"role":"user","content":"0123456789ab"}]})";
  const auto response = world.post("/v1/messages/count_tokens", body);
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, R"({"input_tokens":7})");
  EXPECT_EQ(response->header("x-genesis-token-count"), "estimate");
  EXPECT_TRUE(world.chat.seen.empty());
  EXPECT_EQ(world.post("/v1/messages/count_tokens", body, "small-key")->status, 403);
}

TEST(AnthropicWire, HeadersOfTheDialectGoWithTheBody) {
  World world;
  auto request = make_request("POST", "/v1/messages", ask());
  request.headers.add("Authorization", "Bearer user-key");
  request.headers.add("anthropic-version", "2023-06-01");
  request.headers.add("anthropic-beta", "a");
  request.headers.add("anthropic-beta", "b");
  request.headers.add("openai-beta", "c");
  ASSERT_EQ(world.call(request)->status, 200);
  const std::vector<std::pair<std::string, std::string>> wanted{{"anthropic-version", "2023-06-01"},
                                                                {"anthropic-beta", "a,b"}};
  EXPECT_EQ(world.chat.seen.at(0).input->native_headers, wanted);
}

}  // namespace
}  // namespace genesis::server
