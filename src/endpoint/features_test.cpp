// Unit tests of what a policy gets to see of a request.
#include "endpoint/features.h"

#include <gtest/gtest.h>

namespace genesis::endpoint {
namespace {

ChatRequest chat(std::vector<ChatMessage> messages, std::string tools = {}) {
  ChatInput input;
  input.messages = std::move(messages);
  input.tools_json = std::move(tools);
  ChatRequest request;
  request.id = "req-1";
  request.route = "auto";
  request.caller.agent = "qa";
  request.input = std::make_shared<const ChatInput>(std::move(input));
  return request;
}

TEST(Features, CountTextToolsAndMessages) {
  ChatRequest request = chat({{.role = "system", .content = std::string(400, 'a')},
                              {.role = "user", .content = std::string(100, 'b')}},
                             std::string(100, 't'));
  request.sampling.max_tokens = 50;
  request.n = 2;
  const RouteFeatures features = make_features(request, 0.25, SteadyTime{});
  EXPECT_EQ(features.prompt_bytes, 600U);
  EXPECT_EQ(features.input_tokens, 150 + 8);
  EXPECT_EQ(features.output_tokens, 100);
  EXPECT_TRUE(features.has_tools);
  EXPECT_FALSE(features.has_images);
  EXPECT_EQ(features.caller.agent, "qa");
  EXPECT_EQ(features.draw, 0.25);
}

TEST(Features, ThePrefixIsSystemPromptAndTools) {
  const auto prefix = [](const ChatRequest& request) {
    return make_features(request, 0, SteadyTime{}).prefix;
  };
  const ChatMessage system{.role = "system", .content = "You test."};
  const ChatMessage one{.role = "user", .content = "one"};
  const ChatMessage two{.role = "user", .content = "two"};
  EXPECT_EQ(prefix(chat({system, one})), prefix(chat({system, two})));
  EXPECT_NE(prefix(chat({system, one})), prefix(chat({system, one}, "[{}]")));
  EXPECT_NE(prefix(chat({system, one})), 0U);
  EXPECT_EQ(prefix(chat({one})), 0U) << "nothing is shared";
}

TEST(Features, TokenIdsCountAsTheyAre) {
  ChatInput input;
  input.prompt_tokens.assign(77, 5);
  ChatRequest request;
  request.dialect = Dialect::kOpenAiCompletion;
  request.input = std::make_shared<const ChatInput>(std::move(input));
  EXPECT_EQ(make_features(request, 0, SteadyTime{}).input_tokens, 77);
}

TEST(Features, EmbeddingsCountEveryText) {
  ChatInput input;
  input.embed = EmbedInput{.texts = {std::string(40, 'a'), std::string(40, 'b')}, .query = "what"};
  ChatRequest request;
  request.dialect = Dialect::kTei;
  request.input = std::make_shared<const ChatInput>(std::move(input));
  EXPECT_EQ(make_features(request, 0, SteadyTime{}).prompt_bytes, 84U);
}

}  // namespace
}  // namespace genesis::endpoint
