// Chunks and bodies into deltas: content, reasoning, tools, tokens, finish reasons, usage.
#include "provider/openai_response.h"

#include "provider/provider_fixture.h"

#include <gtest/gtest.h>

#include <cmath>

namespace genesis::provider {
namespace {

ChatRequest of(Dialect dialect, int n = 1) {
  ChatRequest request;
  request.dialect = dialect;
  request.n = n;
  return request;
}

std::string one(std::string_view choice, const ChatRequest& request = of(Dialect::kOpenAiChat)) {
  OpenAiReader reader(request, "up");
  const auto chunk = reader.read(R"({"choices":[{"index":0,)" + std::string(choice) + "}]}");
  if (!chunk) {
    return std::string(error_code_name(chunk.error().code));
  }
  return describe(chunk->deltas.at(0));
}

TEST(OpenAiReader, ReadsDeltasMessagesAndText) {
  EXPECT_EQ(one(R"("delta":{"role":"assistant","content":"a"})"), "0 a||");
  EXPECT_EQ(one(R"("delta":{"content":null,"reasoning_content":"r"},"finish_reason":null)"),
            "0 |r|");
  EXPECT_EQ(one(R"("delta":{"reasoning":"r","reasoning_content":null})"), "0 |r|");
  EXPECT_EQ(one(R"("message":{"content":"a","reasoning":"r"},"finish_reason":"stop")"),
            "0 a|r| stop");
  EXPECT_EQ(one(R"("message":{"content":null,"refusal":"no"},"finish_reason":"stop")"),
            "0 no|| stop");
  EXPECT_EQ(one(R"("text":"t","finish_reason":"length")"), "0 t|| length");
  EXPECT_EQ(one(R"("delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\""}}]})"),
            R"(0 ||[{"index":0,"function":{"arguments":"{\""}}])");
  EXPECT_EQ(one(R"("delta":{},"finish_reason":"tool_calls")"), "0 || tool_calls");
  EXPECT_EQ(one(R"("delta":{"tool_calls":[]},"finish_reason":"function_call")"), "0 || tool_calls");
  EXPECT_EQ(one(R"("delta":{},"finish_reason":"content_filter")"), "0 || filter");
  EXPECT_EQ(one(R"("delta":{},"finish_reason":"something_new")"), "0 || stop");
  EXPECT_EQ(one(R"("delta":{},"finish_reason":"stop","stop_reason":"\n")"), "0 || stop_sequence");
  EXPECT_EQ(one(R"("delta":{},"finish_reason":"stop","stop_reason":2)"), "0 || stop");
  EXPECT_EQ(one(R"("delta":{},"finish_reason":"stop","matched_stop":"x")"), "0 || stop_sequence");
  EXPECT_EQ(one(R"("delta":{},"finish_reason":"length","stop_reason":"x")"), "0 || length");
}

TEST(OpenAiReader, RefusesWhatItCannotUse) {
  for (const std::string_view choice : {R"("delta":[])",
                                        R"("delta":{"content":7})",
                                        R"("delta":{"tool_calls":{}})",
                                        R"("message":{"function_call":{"name":"f"}})",
                                        R"("text":{})",
                                        R"("text":"a","finish_reason":3)",
                                        R"("delta":{},"token_ids":[-1])",
                                        R"("delta":{},"logprobs":{"content":[{}]})"}) {
    EXPECT_EQ(one(choice), "upstream") << choice;
  }
  const ChatRequest request = of(Dialect::kOpenAiChat, 2);
  for (const std::string_view text : {"",
                                      "{",
                                      "[]",
                                      "{}",
                                      R"({"choices":{}})",
                                      R"({"choices":[1]})",
                                      R"({"choices":[{"index":2}]})",
                                      R"({"choices":[{"index":-1}]})",
                                      R"({"choices":[{"index":0}]}{})",
                                      "<html>"}) {
    OpenAiReader reader(request, "up");
    const auto chunk = reader.read(text);
    ASSERT_FALSE(chunk) << text;
    EXPECT_EQ(chunk.error().code, ErrorCode::kUpstream) << text;
    EXPECT_TRUE(chunk.error().param.empty());
  }
}

TEST(OpenAiReader, ReadsUsageAndDistrustsNonsense) {
  const ChatRequest request = of(Dialect::kOpenAiChat);
  const auto usage = [&](std::string_view text) {
    OpenAiReader reader(request, "up");
    return reader.read(R"({"choices":[],"usage":)" + std::string(text) + "}");
  };
  const auto full = usage(R"({"prompt_tokens":7,"completion_tokens":3,)"
                          R"("prompt_tokens_details":{"cached_tokens":4},)"
                          R"("completion_tokens_details":{"reasoning_tokens":1}})");
  ASSERT_TRUE(full && full->usage);
  EXPECT_EQ(full->usage->input, 7);
  EXPECT_EQ(full->usage->cached_input, 4);
  EXPECT_EQ(full->usage->output, 3);
  EXPECT_EQ(full->usage->reasoning, 1);
  EXPECT_FALSE(full->absurd_usage);
  EXPECT_FALSE(usage("null") && usage("null")->usage);
  EXPECT_FALSE(usage("null")->absurd_usage);
  const auto apart = usage(R"({"prompt_tokens":1,"completion_tokens":3,)"
                           R"("completion_tokens_details":{"reasoning_tokens":50}})");
  EXPECT_EQ(apart->usage->output, 53) << "the larger is booked";
  for (const std::string_view text :
       {R"({"prompt_tokens":-1,"completion_tokens":3})",
        R"({"prompt_tokens":1,"completion_tokens":1e18})",
        R"({"prompt_tokens":"1","completion_tokens":3})",
        R"({"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":2}})",
        "[]",
        "7"}) {
    EXPECT_TRUE(usage(text) && usage(text)->absurd_usage) << text;
  }
}

TEST(OpenAiReader, ReadsChatLogprobs) {
  const ChatRequest request = of(Dialect::kOpenAiChat);
  OpenAiReader reader(request, "up");
  const auto chunk =
      reader.read(R"({"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[)"
                  R"({"token":"\ufffd","bytes":[226,130],"logprob":-0.5,"top_logprobs":[)"
                  R"({"token":"a","bytes":[97],"logprob":-0.1},{"token":"b","logprob":-9}]}]},)"
                  R"("token_ids":[5]}]})");
  ASSERT_TRUE(chunk) << chunk.error().message;
  const TokenInfo& token = chunk->deltas.at(0).tokens.at(0);
  EXPECT_EQ(token.text, "\xE2\x82");
  EXPECT_FLOAT_EQ(token.logprob, -0.5F);
  EXPECT_EQ(token.id, 5);
  ASSERT_EQ(token.top.size(), 2U);
  EXPECT_EQ(token.top[1].text, "b");
}

TEST(OpenAiReader, ReadsCompletionLogprobsAndIds) {
  ChatRequest request = of(Dialect::kTgi);
  OpenAiReader reader(request, "up");
  const auto chunk = reader.read(
      R"({"choices":[{"index":0,"text":" x","logprobs":{"tokens":[" x"],"token_logprobs":[-1],)"
      R"("top_logprobs":[{" x":-1,"y":-2}],"text_offset":[4]},)"
      R"("token_ids":[9],"prompt_token_ids":[1,2]}]})");
  ASSERT_TRUE(chunk) << chunk.error().message;
  const ChatDelta& delta = chunk->deltas.at(0);
  ASSERT_EQ(delta.tokens.size(), 1U);
  EXPECT_EQ(delta.tokens[0].id, 9);
  EXPECT_EQ(delta.tokens[0].top.at(0).id, 9);
  EXPECT_EQ(delta.tokens[0].top.at(1).id, -1);
  EXPECT_TRUE(delta.prompt_tokens.empty());
  const auto end = reader.read(
      R"({"choices":[{"index":0,"text":"","finish_reason":"stop","logprobs":{"tokens":["<e>"],)"
      R"("token_logprobs":[-1],"top_logprobs":null},"token_ids":[3]}]})");
  EXPECT_TRUE(end->deltas.at(0).tokens.at(0).special);
  const auto bare = reader.read(R"({"choices":[{"index":0,"text":"z","token_ids":[8]}]})");
  EXPECT_EQ(bare->deltas.at(0).tokens.at(0).text, "z");
  EXPECT_FALSE(
      reader.read(R"({"choices":[{"text":"","logprobs":{"tokens":["a"],"token_logprobs":[]}}]})"));
}

TEST(OpenAiReader, TellsPromptTokensFromOutput) {
  const std::string_view text =
      R"({"choices":[{"index":0,"text":"Onc\u00e9 up","finish_reason":"length","logprobs":{)"
      R"("tokens":["On","c\u00e9"," up"],"token_logprobs":[null,-1,-2],"top_logprobs":null,)"
      R"("text_offset":[0,2,4]}}]})";
  for (const Dialect dialect : {Dialect::kTgi, Dialect::kOpenAiCompletion}) {
    ChatRequest request = of(dialect);
    auto input = std::make_shared<ChatInput>();
    input->prompt = "Onc\xC3\xA9";
    request.input = std::move(input);
    request.echo = dialect == Dialect::kOpenAiCompletion;
    request.sampling.want_prompt_logprobs = true;
    OpenAiReader reader(request, "up");
    const auto chunk = reader.read(text);
    ASSERT_TRUE(chunk) << chunk.error().message;
    const ChatDelta& delta = chunk->deltas.at(0);
    ASSERT_EQ(delta.prompt_tokens.size(), 2U);
    EXPECT_TRUE(std::isnan(delta.prompt_tokens[0].logprob));
    ASSERT_EQ(delta.tokens.size(), 1U);
    EXPECT_EQ(delta.tokens[0].text, " up");
    EXPECT_EQ(delta.text, dialect == Dialect::kTgi ? " up" : "Onc\xC3\xA9 up");
  }
  ChatRequest other = of(Dialect::kTgi);
  auto input = std::make_shared<ChatInput>();
  input->prompt = "Different";
  other.input = std::move(input);
  other.sampling.want_prompt_logprobs = true;
  OpenAiReader reader(other, "up");
  EXPECT_FALSE(reader.read(text)) << "an echo that is not the prompt";
}

TEST(OpenAiReader, FindsErrorObjects) {
  const ChatRequest request = of(Dialect::kOpenAiChat);
  OpenAiReader reader(request, "up");
  const auto chunk = reader.read(R"({"error":{"message":"m","type":"t","code":429}})");
  ASSERT_TRUE(chunk && chunk->error);
  EXPECT_EQ(chunk->error->code, "429");
  EXPECT_TRUE(reader.read(R"({"object":"error","message":"m"})")->error);
  EXPECT_FALSE(reader.read(R"({"object":"x","error":null,"choices":[]})")->error);
}

}  // namespace
}  // namespace genesis::provider
