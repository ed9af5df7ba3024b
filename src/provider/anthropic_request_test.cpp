// OpenAI's form into Anthropic's, and native bytes.
#include "provider/anthropic_request.h"

#include <gtest/gtest.h>

namespace genesis::provider {
namespace {

ChatRequest with_body(std::string body, Dialect dialect = Dialect::kOpenAiChat) {
  ChatRequest request;
  request.dialect = dialect;
  auto input = std::make_shared<ChatInput>();
  input->body = std::move(body);
  request.input = std::move(input);
  return request;
}

UpstreamOptions options() {
  UpstreamOptions options;
  options.model = "claude";
  options.served.endpoint = "up";
  return options;
}

Result<std::string> translate(std::string fields) {
  return anthropic_request_body(
      with_body(R"({"model":"auto","messages":[{"role":"user","content":"hi"}])" + fields + "}"),
      options(),
      true);
}

// What stands behind the messages, or the error's name and field.
std::string rest(std::string fields) {
  const auto body = translate(std::move(fields));
  if (!body) {
    return std::string(error_code_name(body.error().code)) + " " + body.error().param;
  }
  constexpr std::string_view kHead =
      R"({"model":"claude","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],)";
  EXPECT_TRUE(body->starts_with(kHead)) << *body;
  return body->substr(kHead.size());
}

std::string messages(std::string list) {
  const auto body =
      anthropic_request_body(with_body(R"({"messages":[)" + list + "]}"), options(), false);
  if (!body) {
    return std::string(error_code_name(body.error().code)) + " " + body.error().param;
  }
  constexpr std::string_view kHead = R"({"model":"claude",)";
  constexpr std::string_view kTail = R"(,"max_tokens":4096,"stream":false})";
  EXPECT_TRUE(body->starts_with(kHead) && body->ends_with(kTail)) << *body;
  return body->substr(kHead.size(), body->size() - kHead.size() - kTail.size());
}

TEST(AnthropicRequest, KeepsNativeBytes) {
  ChatRequest request;
  request.dialect = Dialect::kAnthropic;
  auto input = std::make_shared<ChatInput>();
  input->native =
      R"({"max_tokens":  5,"model":"auto","new":{"a" : 1e2},"messages":[ ],"stream":false})";
  input->body = "{}";
  request.input = std::move(input);
  EXPECT_EQ(anthropic_request_body(request, options(), true),
            R"({"model":"claude","max_tokens":5,"new":{"a" : 1e2},"messages":[ ],"stream":true})");
}

TEST(AnthropicRequest, TranslatesTurns) {
  EXPECT_EQ(messages(R"({"role":"system","content":"be"},{"role":"developer","content":"good"},)"
                     R"({"role":"user","content":"a"},{"role":"user","content":"b"},)"
                     R"({"role":"assistant","content":"c","reasoning_content":"r"})"),
            R"("system":[{"type":"text","text":"be"},{"type":"text","text":"good"}],)"
            R"("messages":[{"role":"user","content":[{"type":"text","text":"a"},)"
            R"({"type":"text","text":"b"}]},)"
            R"({"role":"assistant","content":[{"type":"text","text":"c"}]}])");
}

TEST(AnthropicRequest, TranslatesImagesAndFiles) {
  EXPECT_EQ(
      messages(
          R"({"role":"user","content":[{"type":"text","text":"see","cache_control":{"type":"e"}},)"
          R"({"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}},)"
          R"({"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}},)"
          R"({"type":"file","file":{"file_data":"data:application/pdf;base64,QQ=="}}]})"),
      R"("messages":[{"role":"user","content":[)"
      R"({"type":"text","text":"see","cache_control":{"type":"e"}},)"
      R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}},)"
      R"({"type":"image","source":{"type":"url","url":"https://x/y.png"}},)"
      R"({"type":"document","source":{"type":"base64","media_type":"application/pdf",)"
      R"("data":"QQ=="}}]}])");
  EXPECT_EQ(messages(R"({"role":"user","content":[{"type":"input_audio","input_audio":{}}]})"),
            "unsupported messages[0].content[0]");
  EXPECT_EQ(messages(R"({"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]})"),
            "unsupported messages[0].content[0]");
  EXPECT_EQ(messages(R"({"role":"user","content":[{"type":"image_url",)"
                     R"("image_url":{"url":"ftp://x"}}]})"),
            "invalid_argument messages[0].content[0]");
}

TEST(AnthropicRequest, TranslatesToolCallsAndTheirResults) {
  EXPECT_EQ(
      messages(
          R"({"role":"user","content":"go"},)"
          R"({"role":"assistant","content":null,"tool_calls":[)"
          R"({"id":"call.1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},)"
          R"({"id":"call_2","type":"function","function":{"name":"g","arguments":""}}]},)"
          R"({"role":"tool","tool_call_id":"call.1","content":"one"},)"
          R"({"role":"tool","tool_call_id":"call_2","content":[{"type":"text","text":"two"}]},)"
          R"({"role":"user","content":"and?"})"),
      R"("messages":[{"role":"user","content":[{"type":"text","text":"go"}]},)"
      R"({"role":"assistant","content":[)"
      R"({"type":"tool_use","id":"call_1","name":"f","input":{"a":1}},)"
      R"({"type":"tool_use","id":"call_2","name":"g","input":{}}]},)"
      R"({"role":"user","content":[)"
      R"({"type":"tool_result","tool_use_id":"call_1","content":[{"type":"text","text":"one"}]},)"
      R"({"type":"tool_result","tool_use_id":"call_2","content":[{"type":"text","text":"two"}]},)"
      R"({"type":"text","text":"and?"}]}])");
  EXPECT_EQ(messages(R"({"role":"assistant","tool_calls":[{"id":"a","function":)"
                     R"({"name":"f","arguments":"[1]"}}]})"),
            "invalid_argument messages[0].tool_calls[0].function.arguments");
  EXPECT_EQ(messages(R"({"role":"tool","content":"x"})"),
            "invalid_argument messages[0].tool_call_id");
  EXPECT_EQ(messages(R"({"role":"function","content":"x"})"), "unsupported messages[0].role");
  EXPECT_EQ(messages("7"), "invalid_argument messages[0]");
}

TEST(AnthropicRequest, TranslatesTools) {
  constexpr std::string_view kTools =
      R"(,"tools":[{"type":"function","function":{"name":"f","description":"d",)"
      R"("parameters":{"type":"object"},"strict":true}},{"type":"function",)"
      R"("function":{"name":"g"}}])";
  constexpr std::string_view kWritten =
      R"("tools":[{"name":"f","description":"d","input_schema":{"type":"object"}},)"
      R"({"name":"g","input_schema":{"type":"object","properties":{}}}])";
  const auto with = [&](std::string_view fields) {
    return rest(std::string(kTools) + std::string(fields));
  };
  const auto expected = [&](std::string_view choice) {
    return std::string(kWritten) + std::string(choice) + R"(,"max_tokens":4096,"stream":true})";
  };
  EXPECT_EQ(with(""), expected(""));
  EXPECT_EQ(with(R"(,"tool_choice":"auto")"), expected(R"(,"tool_choice":{"type":"auto"})"));
  EXPECT_EQ(with(R"(,"tool_choice":"none")"), expected(R"(,"tool_choice":{"type":"none"})"));
  EXPECT_EQ(with(R"(,"tool_choice":"required","parallel_tool_calls":false)"),
            expected(R"(,"tool_choice":{"type":"any","disable_parallel_tool_use":true})"));
  EXPECT_EQ(with(R"(,"tool_choice":{"type":"function","function":{"name":"g"}})"),
            expected(R"(,"tool_choice":{"type":"tool","name":"g"})"));
  EXPECT_EQ(with(R"(,"parallel_tool_calls":false)"),
            expected(R"(,"tool_choice":{"type":"auto","disable_parallel_tool_use":true})"));
  EXPECT_EQ(with(R"(,"tool_choice":"some")"), "invalid_argument tool_choice");
  EXPECT_EQ(with(R"(,"tool_choice":{"type":"allowed_tools"})"), "unsupported tool_choice");
  EXPECT_EQ(rest(R"(,"tools":[{"type":"web_search"}])"), "unsupported tools[0]");
}

TEST(AnthropicRequest, TranslatesLimitsAndSampling) {
  EXPECT_EQ(rest(R"(,"max_tokens":7,"temperature":1.7,"top_p":0.5,"top_k":40,"stop":"x",)"
                 R"("seed":1,"presence_penalty":1,"user":"u")"),
            R"("max_tokens":7,"temperature":1,"top_k":40,"stop_sequences":["x"],)"
            R"("metadata":{"user_id":"u"},"stream":true})");
  EXPECT_EQ(rest(R"(,"max_completion_tokens":9,"max_tokens":7,"top_p":0.5,"stop":["a","b"])"),
            R"("max_tokens":9,"top_p":0.5,"stop_sequences":["a","b"],"stream":true})");
  EXPECT_EQ(rest(R"(,"reasoning_effort":"high","max_tokens":8000,"temperature":0.5)"),
            R"("max_tokens":8000,"thinking":{"type":"enabled","budget_tokens":4096},)"
            R"("stream":true})");
  EXPECT_EQ(rest(R"(,"reasoning_effort":"high")"),
            R"("max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":3072},)"
            R"("stream":true})");
  EXPECT_EQ(rest(R"(,"reasoning_effort":"low","max_tokens":100)"),
            R"("max_tokens":100,"stream":true})")
      << "too little for the smallest budget";
}

TEST(AnthropicRequest, RefusesWhatItCannotSay) {
  EXPECT_EQ(rest(R"(,"n":2)"), "unsupported n");
  EXPECT_EQ(rest(R"(,"logprobs":true)"), "unsupported logprobs");
  EXPECT_EQ(rest(R"(,"logit_bias":{"5":1})"), "unsupported logit_bias");
  EXPECT_EQ(rest(R"(,"response_format":{"type":"json_object"})"), "unsupported response_format");
  EXPECT_EQ(rest(R"(,"stop":"\n\n")"), "unsupported stop");
  EXPECT_EQ(rest(R"(,"stop":7)"), "invalid_argument stop");
  EXPECT_EQ(rest(R"(,"max_tokens":"x")"), "invalid_argument max_tokens");
  EXPECT_EQ(rest(R"(,"n":1,"logprobs":false,"logit_bias":{},"response_format":{"type":"text"})"),
            R"("max_tokens":4096,"stream":true})");
}

TEST(AnthropicRequest, TurnsAPromptIntoATurn) {
  ChatRequest request;
  request.dialect = Dialect::kTgi;
  request.sampling.max_tokens = 3;
  request.sampling.temperature = 0;
  request.sampling.want_logprobs = true;
  auto input = std::make_shared<ChatInput>();
  input->prompt = "hi";
  request.input = input;
  EXPECT_EQ(anthropic_request_body(request, options(), true),
            R"({"model":"claude","messages":[{"role":"user","content":[{"type":"text",)"
            R"("text":"hi"}]}],"max_tokens":3,"temperature":0,"stream":true})");
  request.echo = true;
  EXPECT_EQ(anthropic_request_body(request, options(), true).error().code, ErrorCode::kUnsupported);
  request.dialect = Dialect::kTei;
  EXPECT_EQ(anthropic_request_body(request, options(), true).error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace genesis::provider
