// OpenAI bodies: what is read, and how each wrong one is refused by name.
#include "server/parse_openai.h"

#include "base/json.h"

#include <gtest/gtest.h>

namespace genesis::server {
namespace {

struct BadBody {
  const char* body;
  const char* param;
};

std::string chat_with(std::string_view field) {
  return R"({"messages":[{"role":"user","content":"x"}],)" + std::string(field) + "}";
}

TEST(ParseChat, ReadsEveryField) {
  const auto call = parse_chat_request(R"({
    "model":"auto","stream":true,"stream_options":{"include_usage":true},"n":2,"user":"u",
    "novel":{"a":1},
    "messages":[{"role":"developer","content":"be brief"},
      {"role":"user","name":"bob","content":[{"type":"text","text":"a"},
        {"type":"text","text":"b"}]},
      {"role":"assistant","content":null,"tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},
      {"role":"tool","tool_call_id":"c1","content":"42"}],
    "tools":[ {"type":"function","function":{"name":"f"}} ],
    "temperature":0,"top_p":0.5,"top_k":-1,"min_p":0.1,"presence_penalty":1,"frequency_penalty":-1,
    "repetition_penalty":1.1,"seed":-1,"max_tokens":5,"max_completion_tokens":9,"min_tokens":1,
    "stop":["a","b"],"logprobs":true,"top_logprobs":3,"logit_bias":{"17":-100,"5":2.5},
    "ignore_eos":true,"include_stop_str_in_output":true,"return_token_ids":true})");
  ASSERT_TRUE(call) << call.error().message;
  const ChatRequest& request = call->request;
  EXPECT_EQ(request.route, "auto");
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(request.n, 2);
  EXPECT_TRUE(call->wire.include_usage);
  EXPECT_TRUE(call->wire.return_token_ids);
  const auto& messages = request.input->messages;
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0].role, "system");
  EXPECT_EQ(messages[1].content, "a\nb");
  EXPECT_EQ(messages[1].name, "bob");
  EXPECT_EQ(messages[2].tool_calls_json,
            R"([{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}])");
  EXPECT_EQ(messages[3].tool_call_id, "c1");
  EXPECT_EQ(request.input->tools_json, R"([ {"type":"function","function":{"name":"f"}} ])");
  EXPECT_NE(request.input->body.find("\"novel\":{\"a\":1}"), std::string::npos);
  const Sampling& sampling = request.sampling;
  EXPECT_EQ(sampling.temperature, 0.0);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.seed, ~std::uint64_t{0});
  EXPECT_EQ(sampling.max_tokens, 9);
  EXPECT_EQ(sampling.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(sampling.top_logprobs, 3);
  EXPECT_EQ(sampling.logit_bias, (std::map<int, double>{{5, 2.5}, {17, -100.0}}));
  EXPECT_TRUE(sampling.ignore_eos && sampling.include_stop_in_output && sampling.want_logprobs);
}

TEST(ParseChat, NullsAreAbsentAndDefaultsAreOpenAis) {
  const auto call = parse_chat_request(
      chat_with(R"("model":null,"temperature":null,"stop":null,"tools":null,"logit_bias":null,)"
                R"("n":null,"seed":null)"));
  ASSERT_TRUE(call) << call.error().message;
  EXPECT_EQ(call->request.route, "");
  EXPECT_EQ(call->request.sampling.temperature, 1.0);
  EXPECT_EQ(call->request.sampling.max_tokens, std::nullopt);
  EXPECT_FALSE(call->request.stream);
}

TEST(ParseChat, NamesTheWrongField) {
  const std::vector<BadBody> table{
      {"", ""},
      {"[]", ""},
      {"nul", ""},
      {R"({"messages":[{"role":"user","content":"x"}],"temperature":NaN})", ""},
      {R"({})", "messages"},
      {R"({"messages":[]})", "messages"},
      {R"({"messages":"hi"})", "messages"},
      {R"({"messages":["hi"]})", "messages[0]"},
      {R"({"messages":[{"content":"x"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"root","content":"x"}]})", "messages[0].role"},
      {R"({"messages":[{"role":7,"content":"x"}]})", "messages[0].role"},
      {R"({"messages":[{"role":"user"}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":null}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":{}}]})", "messages[0].content"},
      {R"({"messages":[{"role":"user","content":[7]}]})", "messages[0].content[0]"},
      {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
       "messages[0].content[0].text"},
      {R"({"messages":[{"role":"user","content":[{"text":"x"}]}]})", "messages[0].content[0].type"},
      {R"({"messages":[{"role":"tool","content":"x"}]})", "messages[0].tool_call_id"},
      {R"({"messages":[{"role":"assistant","tool_calls":{}}]})", "messages[0].tool_calls"},
      {R"({"messages":[{"role":"assistant","tool_calls":[{}]}]})", "messages[0].tool_calls[0]"},
  };
  for (const BadBody& bad : table) {
    const auto call = parse_chat_request(bad.body);
    ASSERT_FALSE(call) << bad.body;
    EXPECT_EQ(call.error().param, bad.param) << bad.body;
    EXPECT_FALSE(call.error().message.empty());
  }
}

TEST(ParseChat, NamesTheWrongOption) {
  const std::vector<BadBody> table{
      {R"("model":7)", "model"},
      {R"("stream":"yes")", "stream"},
      {R"("stream_options":true)", "stream_options"},
      {R"("stream_options":{"include_usage":1})", "stream_options.include_usage"},
      {R"("n":0)", "n"},
      {R"("n":9)", "n"},
      {R"("n":1.5)", "n"},
      {R"("n":99999999999999999999)", "n"},
      {R"("temperature":"hot")", "temperature"},
      {R"("temperature":2.1)", "temperature"},
      {R"("temperature":-0.1)", "temperature"},
      {R"("temperature":1e400)", "temperature"},
      {R"("top_p":0)", "top_p"},
      {R"("top_p":1.1)", "top_p"},
      {R"("top_k":-2)", "top_k"},
      {R"("max_tokens":0)", "max_tokens"},
      {R"("max_tokens":-1)", "max_tokens"},
      {R"("max_completion_tokens":0)", "max_completion_tokens"},
      {R"("max_tokens":4294967297)", "max_tokens"},
      {R"("seed":1.5)", "seed"},
      {R"("seed":"7")", "seed"},
      {R"("stop":7)", "stop"},
      {R"("stop":["a",7])", "stop[1]"},
      {R"("stop":[""])", "stop"},
      {R"("stop":["1","2","3","4","5","6","7","8","9","0","1","2","3","4","5","6","7"])", "stop"},
      {R"("stop_token_ids":[1])", "stop_token_ids"},
      {R"("logit_bias":[1])", "logit_bias"},
      {R"("logit_bias":{"x":1})", "logit_bias"},
      {R"("logit_bias":{"-1":1})", "logit_bias"},
      {R"("logit_bias":{"1":"a"})", "logit_bias.1"},
      {R"("logit_bias":{"1":101})", "logit_bias.1"},
      {R"("logprobs":5)", "logprobs"},
      {R"("top_logprobs":2)", "top_logprobs"},
      {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
      {R"("tools":{})", "tools"},
      {R"("tools":["f"])", "tools[0]"},
      {R"("ignore_eos":0)", "ignore_eos"},
      {R"("min_tokens":-1)", "min_tokens"},
  };
  for (const BadBody& bad : table) {
    const auto call = parse_chat_request(chat_with(bad.body));
    ASSERT_FALSE(call) << bad.body;
    EXPECT_EQ(call.error().param, bad.param) << bad.body << ": " << call.error().message;
  }
}

TEST(ParseChat, PartsBeyondTextAreCarried) {
  const std::string parts =
      R"([{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:"}},)"
      R"({"type":"text","text":"b"}])";
  const auto call = parse_chat_request(R"({"messages":[{"role":"user","content":)" + parts + "}]}");
  ASSERT_TRUE(call) << call.error().message;
  EXPECT_EQ(call->request.input->messages[0].content, "a\nb");
  EXPECT_EQ(call->request.input->messages[0].parts_json, parts);
}

TEST(ParseChat, WhatAnAssistantThoughtAndRefused) {
  const auto call = parse_chat_request(
      R"({"messages":[{"role":"assistant","content":[{"type":"refusal","refusal":"no"}],)"
      R"("reasoning_content":"hm"},{"role":"assistant","content":"x","reasoning":"so"}]})");
  ASSERT_TRUE(call) << call.error().message;
  EXPECT_EQ(call->request.input->messages[0].content, "no");
  EXPECT_EQ(call->request.input->messages[0].reasoning, "hm");
  EXPECT_EQ(call->request.input->messages[1].reasoning, "so");
  EXPECT_EQ(call->request.input->messages[0].parts_json, "");
}

TEST(ParseChat, DeepAndLongBodiesAreRefusedNotFollowed) {
  std::string deep = R"({"messages":)";
  deep += std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_FALSE(parse_chat_request(deep));
  EXPECT_FALSE(parse_chat_request(chat_with(R"("model":")" + std::string(257, 'm') + '"')));
  EXPECT_FALSE(parse_chat_request("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}"));
}

TEST(ParseCompletion, TakesTextTokensAndBatchesOfOne) {
  EXPECT_EQ(parse_completion_request(R"({"prompt":"a"})")->request.input->prompt, "a");
  EXPECT_EQ(parse_completion_request(R"({"prompt":["a"]})")->request.input->prompt, "a");
  const std::vector<std::int32_t> ids{1, 2};
  EXPECT_EQ(parse_completion_request(R"({"prompt":[1,2]})")->request.input->prompt_tokens, ids);
  EXPECT_EQ(parse_completion_request(R"({"prompt":[[1,2]]})")->request.input->prompt_tokens, ids);
  const auto call = parse_completion_request(
      R"({"prompt":"a","echo":true,"logprobs":2,"best_of":1,"suffix":null,"model":"m"})");
  ASSERT_TRUE(call);
  EXPECT_TRUE(call->request.echo);
  EXPECT_TRUE(call->request.sampling.want_prompt_logprobs);
  EXPECT_EQ(call->request.sampling.top_logprobs, 2);
  EXPECT_EQ(call->request.dialect, Dialect::kOpenAiCompletion);
}

TEST(ParseCompletion, NamesTheWrongField) {
  const std::vector<BadBody> table{
      {R"({})", "prompt"},
      {R"({"prompt":[]})", "prompt"},
      {R"({"prompt":{}})", "prompt"},
      {R"({"prompt":["a","b"]})", "prompt"},
      {R"({"prompt":[{}]})", "prompt"},
      {R"({"prompt":[[]]})", "prompt"},
      {R"({"prompt":[1,-2]})", "prompt[1]"},
      {R"({"prompt":[1,"a"]})", "prompt[1]"},
      {R"({"prompt":[2147483648]})", "prompt[0]"},
      {R"({"prompt":[1.5]})", "prompt[0]"},
      {R"({"prompt":"a","suffix":"b"})", "suffix"},
      {R"({"prompt":"a","best_of":3})", "best_of"},
      {R"({"prompt":"a","logprobs":6})", "logprobs"},
      {R"({"prompt":"a","logprobs":true})", "logprobs"},
      {R"({"prompt":"a","echo":1})", "echo"},
  };
  for (const BadBody& bad : table) {
    const auto call = parse_completion_request(bad.body);
    ASSERT_FALSE(call) << bad.body;
    EXPECT_EQ(call.error().param, bad.param) << bad.body;
  }
}

TEST(ParseChat, NamesWhatForcesTheFormOfTheAnswer) {
  const auto with = [](const std::string& fields) {
    return parse_chat_request(R"({"model":"m","messages":[{"role":"user","content":"x"}],)" +
                              fields + "}");
  };
  const auto demands = [&](const std::string& fields) {
    return with(fields).value().request.input->demands;
  };
  EXPECT_TRUE(demands(R"("response_format":{"type":"text"},"tool_choice":"auto")").empty());
  EXPECT_EQ(demands(R"("response_format":{"type":"json_object"},"tool_choice":"required")"),
            (std::vector<std::string>{"response_format", "tool_choice"}));
  EXPECT_EQ(demands(R"("tool_choice":{"type":"function","function":{"name":"f"}})"),
            (std::vector<std::string>{"tool_choice"}));
  EXPECT_EQ(with(R"("response_format":5)").error().param, "response_format");
  EXPECT_EQ(with(R"("response_format":{"type":5})").error().param, "response_format.type");
  EXPECT_EQ(with(R"("tool_choice":"sometimes")").error().param, "tool_choice");
  EXPECT_EQ(with(R"("user":[null])").error().param, "user");
}

}  // namespace
}  // namespace genesis::server
