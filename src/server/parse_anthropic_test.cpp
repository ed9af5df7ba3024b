// Anthropic requests and their translation to OpenAI's shape.
#include "server/parse_anthropic.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace genesis::server {
namespace {

Result<InferenceCall> parse(const std::string& body) {
  return parse_anthropic_request(body, AnthropicRoute::kMessages);
}

// A request around `fields`.
std::string request(const std::string& fields) {
  return R"({"model":"m","max_tokens":9,)" + fields + "}";
}

std::string user(const std::string& content) {
  return R"("messages":[{"role":"user","content":)" + content + "}]";
}

constexpr const char* kHello = R"("messages":[{"role":"user","content":"hi"}])";

TEST(ParseAnthropic, EveryFieldHasItsPlaceInTheTranslation) {
  const std::string body =
      R"({"model":"claude","max_tokens":64,"system":[{"type":"text","text":"Be",)"
      R"("cache_control":{"type":"ephemeral"}},{"type":"text","text":"kind"}],)"
      R"("messages":[{"role":"user","content":"hi"}],"stop_sequences":["END"],"stream":true,)"
      R"("temperature":0.5,"top_p":0.9,"top_k":40,"metadata":{"user_id":"u-1"},)"
      R"("tools":[{"name":"f","description":"d","input_schema":{"type":"object"},)"
      R"("cache_control":{"type":"ephemeral"}}],)"
      R"("tool_choice":{"type":"any","disable_parallel_tool_use":true},)"
      R"("thinking":{"type":"enabled","budget_tokens":8000}})";
  const auto call = parse(body);
  ASSERT_TRUE(call) << call.error().message;
  const ChatInput& input = *call->request.input;
  EXPECT_EQ(input.body,
            R"({"model":"claude","messages":[{"role":"system","content":"Be\nkind"},)"
            R"({"role":"user","content":"hi"}],"max_tokens":64,"stream":true,"temperature":5E-1,)"
            R"("top_p":9E-1,"top_k":40,"stop":["END"],"tools":[{"type":"function","function":)"
            R"({"name":"f","description":"d","parameters":{"type":"object"}}}],)"
            R"("parallel_tool_calls":false,"tool_choice":"required","reasoning_effort":"medium",)"
            R"("user":"u-1"})");
  EXPECT_EQ(input.native, body);
  EXPECT_EQ(input.native_only, "");
  EXPECT_EQ(input.demands, std::vector<std::string>{"tool_choice"});
  EXPECT_EQ(call->request.dialect, Dialect::kAnthropic);
  EXPECT_TRUE(call->request.stream);
  EXPECT_EQ(call->request.route, "claude");
  EXPECT_EQ(call->request.sampling.max_tokens, 64);
  EXPECT_EQ(call->request.sampling.top_k, 40);
  EXPECT_EQ(call->request.sampling.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(call->session_hint, "u-1");
  EXPECT_EQ(input.messages.at(0).content, "Be\nkind");
  EXPECT_NE(input.tools_json.find("\"parameters\""), std::string::npos);
}

TEST(ParseAnthropic, ToolHistoryBecomesToolCallsAndToolMessages) {
  const auto call = parse(
      request(R"("messages":[{"role":"user","content":"go"},{"role":"assistant","content":[)"
              R"({"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking",)"
              R"("data":"x"},{"type":"text","text":"I "},{"type":"text","text":"look"},)"
              R"({"type":"tool_use","id":"t1","name":"f","input":{"a":1}}]},)"
              R"({"role":"user","content":[{"type":"text","text":"and?"},{"type":"tool_result",)"
              R"("tool_use_id":"t1","is_error":true,"content":[{"type":"text","text":"no"},)"
              R"({"type":"text","text":"file"},{"type":"image","source":{"type":"url",)"
              R"("url":"https://x/y.png"}}]}]}])"));
  ASSERT_TRUE(call) << call.error().message;
  EXPECT_EQ(
      call->request.input->body,
      R"({"model":"m","messages":[{"role":"user","content":"go"},{"role":"assistant",)"
      R"("content":"I look","reasoning_content":"hm","tool_calls":[{"id":"t1","type":"function",)"
      R"("function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"t1",)"
      R"("content":"Error: no\nfile"},{"role":"user","content":[{"type":"text","text":"and?"},)"
      R"({"type":"image_url","image_url":{"url":"https://x/y.png"}}]}],"max_tokens":9})");
  const auto& messages = call->request.input->messages;
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[1].reasoning, "hm");
  EXPECT_EQ(messages[2].tool_call_id, "t1");
  EXPECT_EQ(messages[3].content, "and?");
  EXPECT_FALSE(messages[3].parts_json.empty());
}

TEST(ParseAnthropic, ImagesAndDocuments) {
  const auto call = parse(request(
      user(R"([{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}},)"
           R"({"type":"document","title":"T","source":{"type":"text","media_type":"text/plain",)"
           R"("data":"body"}},{"type":"document","source":{"type":"base64",)"
           R"("media_type":"application/pdf","data":"QUJD"}}])")));
  ASSERT_TRUE(call) << call.error().message;
  EXPECT_NE(call->request.input->body.find(
                R"({"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}},)"
                R"({"type":"text","text":"T\nbody"},{"type":"file","file":{)"
                R"("filename":"document.pdf","file_data":"data:application/pdf;base64,QUJD"}})"),
            std::string::npos)
      << call->request.input->body;
}

TEST(ParseAnthropic, WhatOnlyAnthropicUnderstandsIsNamedAndKept) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {request(std::string(kHello) + R"(,"tools":[{"type":"web_search_20250305","name":"w"}])"),
       "tools[0].type"},
      {request(std::string(kHello) + R"(,"mcp_servers":[{"url":"u"}])"), "mcp_servers"},
      {request(user(R"([{"type":"container_upload","file_id":"f"}])")),
       "messages[0].content[0].type"},
      {request(user(R"([{"type":"image","source":{"type":"file","file_id":"f"}}])")),
       "messages[0].content[0].source.type"},
  };
  for (const auto& [body, field] : cases) {
    const auto call = parse(body);
    ASSERT_TRUE(call) << call.error().message;
    EXPECT_EQ(call->request.input->native_only, field);
    EXPECT_EQ(call->request.input->native, body);
  }
  EXPECT_EQ(
      parse(request(std::string(kHello) + R"(,"mcp_servers":[])"))->request.input->native_only, "");
}

TEST(ParseAnthropic, FormatsAndEffort) {
  const auto call = parse(request(
      std::string(kHello) +
      R"(,"output_config":{"effort":"max","format":{"type":"json_schema","schema":{"a":1}}})"));
  ASSERT_TRUE(call) << call.error().message;
  EXPECT_NE(call->request.input->body.find(
                R"("reasoning_effort":"high","response_format":{"type":"json_schema",)"
                R"("json_schema":{"name":"answer","strict":true,"schema":{"a":1}}})"),
            std::string::npos)
      << call->request.input->body;
  EXPECT_EQ(call->request.input->demands, std::vector<std::string>{"output_config.format"});
}

TEST(ParseAnthropic, ErrorsNameTheField) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({"model":"m",)" + std::string(kHello) + "}", "max_tokens"},
      {request(R"("messages":[])"), "messages"},
      {request(R"("messages":[{"role":"system","content":"x"}])"), "messages[0].role"},
      {request(R"("messages":[{"role":"user"}])"), "messages[0].content"},
      {request(user("[]")), "messages[0].content"},
      {request(user("[1]")), "messages[0].content[0]"},
      {request(user(R"([{"type":"text"}])")), "messages[0].content[0].text"},
      {request(user(R"([{"type":"image"}])")), "messages[0].content[0].source"},
      {request(user(R"([{"type":"image","source":{"type":"url","url":"file:///etc/passwd"}}])")),
       "messages[0].content[0].source.url"},
      {request(user(R"([{"type":"tool_result"}])")), "messages[0].content[0].tool_use_id"},
      {request(R"("messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a",)"
               R"("name":"f","input":"{}"}]}])"),
       "messages[0].content[0].input"},
      {request(std::string(kHello) + R"(,"system":7)"), "system"},
      {request(std::string(kHello) + R"(,"tools":[{"name":"f"}])"), "tools[0].input_schema"},
      {request(std::string(kHello) + R"(,"tool_choice":{"type":"maybe"})"), "tool_choice.type"},
      {request(std::string(kHello) + R"(,"tool_choice":{"type":"tool"})"), "tool_choice.name"},
      {request(std::string(kHello) + R"(,"stop_sequences":[""])"), "stop_sequences"},
      {request(std::string(kHello) + R"(,"thinking":{"type":"enabled"})"),
       "thinking.budget_tokens"},
      {request(std::string(kHello) + R"(,"temperature":3)"), "temperature"},
  };
  for (const auto& [body, field] : cases) {
    const auto call = parse(body);
    ASSERT_FALSE(call) << body;
    EXPECT_EQ(call.error().param, field) << body;
    EXPECT_EQ(call.error().code, ErrorCode::kInvalidArgument) << body;
  }
}

TEST(ParseAnthropic, CountingNeedsNoLimit) {
  const std::string body = R"({"model":"m",)" + std::string(kHello) + "}";
  EXPECT_TRUE(parse_anthropic_request(body, AnthropicRoute::kCountTokens));
}

}  // namespace
}  // namespace genesis::server
