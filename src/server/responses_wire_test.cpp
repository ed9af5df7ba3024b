// /v1/responses over the wire: the translation to chat, the response object, and its events.
#include "base/json.h"
#include "net/sse.h"
#include "server/parse_responses.h"
#include "server/server_fixture.h"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace genesis::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const char* const kCall = R"([{"index":0,"id":"c1","type":"function",)"
                          R"("function":{"name":"f","arguments":"{\"a\":1}"}}])";

TEST(ResponsesParse, ItemsBecomeMessages) {
  const auto call = parse_responses_request(R"({"model":"m","instructions":"Be brief.","input":[
      {"role":"user","content":[{"type":"input_text","text":"hi"},
                                {"type":"input_image","image_url":"https://x/y.png"}]},
      {"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},
      {"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},
      {"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},
      {"type":"function_call_output","call_id":"c1","output":"one"},
      {"type":"message","role":"assistant","content":[{"type":"output_text","text":"done"}]}],
      "max_output_tokens":7,"reasoning":{"effort":"low"},
      "tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],
      "text":{"format":{"type":"json_schema","name":"s","schema":{"type":"object"}}}})");
  ASSERT_TRUE(call) << call.error().message;
  const auto body = *parse_json(call->request.input->body);
  const auto& messages = body.at("messages").as_array();
  ASSERT_EQ(messages.size(), 5U);
  EXPECT_EQ(messages[0].at("content"), "Be brief.");
  EXPECT_EQ(messages[1].at("content").at(1).at("image_url").at("url"), "https://x/y.png");
  EXPECT_EQ(messages[2].at("reasoning_content"), "hm");
  EXPECT_EQ(messages[2].at("tool_calls").as_array().size(), 2U);
  EXPECT_EQ(messages[3].at("tool_call_id"), "c1");
  EXPECT_EQ(messages[4].at("content"), "done");
  EXPECT_EQ(body.at("tools").at(0).at("function").at("name"), "f");
  EXPECT_EQ(body.at("response_format").at("json_schema").at("name"), "s");
  EXPECT_EQ(body.at("reasoning_effort"), "low");
  EXPECT_EQ(call->request.sampling.max_tokens, 7);
  EXPECT_EQ(call->request.dialect, Dialect::kResponses);
}

TEST(ResponsesParse, WhatNeedsAStoreIsNamed) {
  const auto refused = [](const char* body) {
    const auto call = parse_responses_request(body);
    return call ? std::string("accepted") : call.error().param;
  };
  EXPECT_EQ(refused(R"({"input":"x","previous_response_id":"r"})"), "previous_response_id");
  EXPECT_EQ(refused(R"({"input":"x","background":true})"), "background");
  EXPECT_EQ(refused(R"({"input":"x","tools":[{"type":"web_search"}]})"), "tools[0].type");
  EXPECT_EQ(refused(R"({"input":[{"type":"item_reference","id":"x"}]})"), "input[0].type");
  EXPECT_EQ(refused(R"({"input":[{"role":"user"}]})"), "input[0].content");
  EXPECT_EQ(refused(R"({"input":[]})"), "input");
  EXPECT_EQ(refused(R"({"model":"m"})"), "input");
}

TEST(ResponsesWire, AWholeAnswer) {
  World world;
  world.chat.script = answers({{.text = "Hello", .reasoning = "hm"},
                               {.tool_calls_json = kCall, .finish = FinishReason::kToolCalls}});
  const auto got = world.post("/v1/responses", R"({"input":"hi","metadata":{"k":"v"}})");
  ASSERT_EQ(got->status, 200) << got->body;
  const auto body = *parse_json(got->body);
  EXPECT_EQ(body.at("object"), "response");
  EXPECT_EQ(body.at("status"), "completed");
  EXPECT_EQ(body.at("metadata").at("k"), "v");
  const auto& output = body.at("output").as_array();
  ASSERT_EQ(output.size(), 3U);
  EXPECT_EQ(output[0].at("type"), "reasoning");
  EXPECT_EQ(output[1].at("content").at(0).at("text"), "Hello");
  EXPECT_EQ(output[2].at("call_id"), "c1");
  EXPECT_EQ(output[2].at("arguments"), R"({"a":1})");
  EXPECT_TRUE(body.at("usage").as_object().contains("input_tokens_details"));
}

std::vector<std::string> event_names(std::string_view stream) {
  net::SseReader reader;
  std::vector<std::string> names;
  std::int64_t number = 0;
  const auto events = reader.push(stream);
  for (const net::SseEvent& event : *events) {
    const auto data = *parse_json(event.data);
    EXPECT_EQ(data.at("type").as_string(), std::string_view(event.event));
    EXPECT_EQ(data.at("sequence_number").as_int64(), number++);
    names.push_back(event.event);
  }
  return names;
}

TEST(ResponsesWire, EventsInOrder) {
  World world;
  world.chat.script = answers({{.text = "Hel"}, {.text = "lo", .finish = FinishReason::kLength}});
  const auto got = world.post("/v1/responses", R"({"input":"hi","stream":true})");
  EXPECT_THAT(event_names(got->body),
              ElementsAre("response.created",
                          "response.in_progress",
                          "response.output_item.added",
                          "response.content_part.added",
                          "response.output_text.delta",
                          "response.output_text.delta",
                          "response.output_text.done",
                          "response.content_part.done",
                          "response.output_item.done",
                          "response.incomplete"));
  EXPECT_THAT(got->body, HasSubstr(R"("incomplete_details":{"reason":"max_output_tokens"})"));
}

TEST(ResponsesWire, ACutStreamFails) {
  World world;
  world.chat.script = [](const ChatRequest&, ChatSink& sink) -> Task<Result<Usage>> {
    GENESIS_CO_TRY_VOID(co_await sink.begin({.endpoint = "e", .model = "m"}));
    GENESIS_CO_TRY_VOID(co_await sink.write({.text = "Hel"}));
    co_return fail(ErrorCode::kUnavailable, "the stream ended early");
  };
  const auto got = world.post("/v1/responses", R"({"input":"hi","stream":true})");
  const auto names = event_names(got->body);
  ASSERT_GE(names.size(), 2U);
  EXPECT_EQ(names[names.size() - 2], "response.failed");
  EXPECT_EQ(names.back(), "error");
  EXPECT_THAT(got->body, testing::Not(HasSubstr("response.completed")));
}

}  // namespace
}  // namespace genesis::server
