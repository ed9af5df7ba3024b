// /v1/embeddings: what is asked, and both forms of the answer.
#include "provider/openai_embed.h"

#include "provider/provider_fixture.h"

#include <gtest/gtest.h>

namespace genesis::provider {
namespace {

class OpenAiEmbed : public ProviderTest {
 public:
  static ChatRequest texts(Dialect dialect = Dialect::kEmbeddings,
                           EmbedTask task = EmbedTask::kEmbed,
                           std::string body = {}) {
    ChatRequest request = question(false);
    request.dialect = dialect;
    auto input = std::make_shared<ChatInput>();
    input->embed = EmbedInput{.task = task, .texts = {"a", "b"}};
    input->body = std::move(body);
    request.input = std::move(input);
    return request;
  }
};

TEST_F(OpenAiEmbed, ReadsListsAndBase64) {
  const std::string body =
      R"({"object":"list","data":[{"index":1,"embedding":"AACAPwAAAMA="},)"
      R"({"index":0,"embedding":[0.5,2]}],"usage":{"prompt_tokens":5,"total_tokens":5}})";
  reply(200, body);
  options.api_key = "sk-1";
  const auto usage =
      chat(texts(Dialect::kEmbeddings, EmbedTask::kEmbed, R"({"input":["a","b"],"x":[1, 2]})"));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 5);
  EXPECT_EQ(usage->output, 0);
  EXPECT_EQ(seen.at(0).path, "/v1/embeddings");
  EXPECT_EQ(seen.at(0).body, R"({"model":"upstream-model","input":["a","b"],"x":[1, 2]})");
  EXPECT_EQ(seen.at(0).headers.get("authorization"), "Bearer sk-1");
  ASSERT_EQ(sink.deltas.size(), 1U);
  EXPECT_EQ(sink.deltas[0].raw, body);
  const EmbedAnswer& answer = *sink.deltas[0].embed;
  EXPECT_EQ(answer.vectors, (std::vector<std::vector<float>>{{0.5F, 2.0F}, {1.0F, -2.0F}}));
}

TEST_F(OpenAiEmbed, WritesABodyForOtherDialects) {
  reply(200, R"({"data":[{"embedding":[1]},{"embedding":[2]}]})");
  const auto usage = chat(texts(Dialect::kTei));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 0);
  EXPECT_EQ(usage->output, 0);
  EXPECT_EQ(seen.at(0).body, R"({"model":"upstream-model","input":["a","b"]})");
  EXPECT_EQ(sink.deltas.at(0).raw, "");
  EXPECT_EQ(error_name(chat(texts(Dialect::kTei, EmbedTask::kRerank))), "unsupported");
  EXPECT_EQ(seen.size(), 1U);
}

TEST_F(OpenAiEmbed, RefusesWhatItCannotUse) {
  for (const std::string_view body :
       {"",
        "{}",
        "[]",
        R"({"data":{}})",
        R"({"data":[{"embedding":[1]}]})",
        R"({"data":[{"embedding":[1]},{}]})",
        R"({"data":[{"embedding":[1]},{"embedding":[]}]})",
        R"({"data":[{"embedding":[1]},{"embedding":["x"]}]})",
        R"({"data":[{"embedding":[1]},{"embedding":[1e99]}]})",
        R"({"data":[{"embedding":[1]},{"embedding":"AAAA"}]})",
        R"({"data":[{"embedding":[1]},{"embedding":"AACAfw=="}]})",
        R"({"data":[{"embedding":[1]},{"embedding":"!!!!"}]})",
        R"({"data":[{"embedding":[1],"index":1},{"embedding":[1],"index":1}]})",
        R"({"data":[{"embedding":[1],"index":-1},{"embedding":[1],"index":0}]})",
        R"({"data":[{"embedding":[1]},{"embedding":[1]}],"usage":{"prompt_tokens":-1}})"}) {
    reply(200, std::string(body));
    EXPECT_EQ(error_name(chat(texts())), "upstream") << body;
    EXPECT_TRUE(sink.lines.empty()) << body;
  }
  reply(200, R"({"error":{"message":"busy","code":429}})");
  EXPECT_EQ(error_name(chat(texts())), "rate_limited");
  reply(400, R"({"error":{"message":"too long","code":"context_length_exceeded"}})");
  EXPECT_EQ(error_name(chat(texts())), "context_length");
}

}  // namespace
}  // namespace genesis::provider
