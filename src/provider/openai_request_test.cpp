// Golden request bodies: pass-through of unknown members and typed fields of each dialect.
#include "provider/openai_request.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

namespace genesis::provider {
namespace {

ChatRequest with_body(std::string body, bool stream) {
  ChatRequest request;
  request.stream = stream;
  auto input = std::make_shared<ChatInput>();
  input->body = std::move(body);
  request.input = std::move(input);
  return request;
}

std::string built(const ChatRequest& request, bool token_ids = false) {
  const auto body = openai_request_body(request, "up\"m", token_ids);
  EXPECT_TRUE(body);
  EXPECT_TRUE(parse_json(*body)) << *body;
  return body.value_or("");
}

TEST(OpenAiRequest, PassesTheClientsMembersOnByteForByte) {
  const std::string body =
      R"({ "model":"auto", "messages" : [ {"role":"user","content":"h\u00e9\/"} ],)"
      R"("temperature":0.70,"x_unknown":{"a":[1e2, null]},"stream":true,)"
      R"("stream_options":{"include_usage":false,"y":1}})";
  EXPECT_EQ(
      built(with_body(body, true)),
      R"({"model":"up\"m","messages":[ {"role":"user","content":"h\u00e9\/"} ],"temperature":0.70,)"
      R"("x_unknown":{"a":[1e2, null]},"stream":true,)"
      R"("stream_options":{"y":1,"include_usage":true}})");
  EXPECT_EQ(built(with_body(R"({"messages":[],"stream_options":null,"n":2})", false)),
            R"({"model":"up\"m","messages":[],"n":2,"stream":false})");
  EXPECT_EQ(built(with_body(R"({"model":"a","model":"b","stream":false,"stream":true})", false)),
            R"({"model":"up\"m","stream":false})");
  EXPECT_FALSE(openai_request_body(with_body("[1]", false), "m", false));
}

TEST(OpenAiRequest, WritesChatsFromTypedFields) {
  ChatRequest request;
  auto input = std::make_shared<ChatInput>();
  input->messages = {{.role = "system", .content = "s"},
                     {.role = "assistant", .content = "", .tool_calls_json = R"([{"id":"c"}])"},
                     {.role = "tool", .content = "r", .name = "f", .tool_call_id = "c"}};
  input->tools_json = R"([{"type":"function"}])";
  request.input = std::move(input);
  EXPECT_EQ(built(request),
            R"({"model":"up\"m","messages":[{"role":"system","content":"s"},)"
            R"({"role":"assistant","content":"","tool_calls":[{"id":"c"}]},)"
            R"({"role":"tool","content":"r","name":"f","tool_call_id":"c"}],)"
            R"("tools":[{"type":"function"}],"stream":false})");
  request.stream = true;
  request.n = 2;
  request.input = std::make_shared<ChatInput>();
  request.sampling = {.temperature = 0,
                      .top_p = 0.9,
                      .top_k = 40,
                      .min_p = 0.05,
                      .repetition_penalty = 1.1,
                      .presence_penalty = 0.5,
                      .frequency_penalty = -0.5,
                      .seed = 18446744073709551615U,
                      .max_tokens = 5,
                      .min_tokens = 1,
                      .stop = {"a", "\n"},
                      .include_stop_in_output = true,
                      .ignore_eos = true,
                      .want_logprobs = true,
                      .top_logprobs = 3,
                      .logit_bias = {{7, -100}}};
  EXPECT_EQ(
      built(request),
      R"({"model":"up\"m","messages":[],"n":2,"temperature":0,"top_p":0.9,"top_k":40,"min_p":0.05,)"
      R"("repetition_penalty":1.1,"presence_penalty":0.5,"frequency_penalty":-0.5,)"
      R"("seed":18446744073709551615,"max_tokens":5,"min_tokens":1,"stop":["a","\n"],)"
      R"("include_stop_str_in_output":true,"ignore_eos":true,"logit_bias":{"7":-100},)"
      R"("logprobs":true,"top_logprobs":3,"stream":true,"stream_options":{"include_usage":true}})");
}

TEST(OpenAiRequest, AsksForTokensInTgisDialect) {
  ChatRequest request;
  request.dialect = Dialect::kTgi;
  request.stream = true;
  auto input = std::make_shared<ChatInput>();
  input->prompt = "Once";
  input->body = "not for the upstream";
  request.input = std::move(input);
  request.sampling.want_logprobs = true;
  EXPECT_EQ(openai_target(request.dialect), "/completions");
  EXPECT_EQ(
      built(request, true),
      R"({"model":"up\"m","prompt":"Once","logprobs":1,"return_token_ids":true,"stream":true,)"
      R"("stream_options":{"include_usage":true}})");
  request.stream = false;
  request.sampling.top_logprobs = 9;
  request.sampling.want_prompt_logprobs = true;
  EXPECT_EQ(built(request),
            R"({"model":"up\"m","prompt":"Once","logprobs":5,"echo":true,"stream":false})");
}

TEST(OpenAiRequest, TellsTheFormThatTgisDialectAskedFor) {
  const auto form = [](AnswerFormat::Kind kind, std::string source) {
    ChatRequest request;
    request.dialect = Dialect::kTgi;
    auto input = std::make_shared<ChatInput>();
    input->prompt = "a";
    input->format = {.kind = kind, .source = std::move(source)};
    request.input = std::move(input);
    return built(request);
  };
  EXPECT_EQ(form(AnswerFormat::Kind::kRegex, "[0-9]\"+"),
            R"({"model":"up\"m","prompt":"a","structured_outputs":{"regex":"[0-9]\"+"},)"
            R"("stream":false})");
  EXPECT_EQ(form(AnswerFormat::Kind::kJsonSchema, R"({"type":"null"})"),
            R"({"model":"up\"m","prompt":"a","structured_outputs":{"json":{"type":"null"}},)"
            R"("stream":false})");
}

TEST(OpenAiRequest, SendsPromptTokens) {
  ChatRequest request;
  request.dialect = Dialect::kOpenAiCompletion;
  request.echo = true;
  auto input = std::make_shared<ChatInput>();
  input->prompt_tokens = {1, 2};
  request.input = std::move(input);
  EXPECT_EQ(built(request), R"({"model":"up\"m","prompt":[1,2],"echo":true,"stream":false})");
  EXPECT_EQ(openai_target(Dialect::kOpenAiChat), "/chat/completions");
}

}  // namespace
}  // namespace genesis::provider
