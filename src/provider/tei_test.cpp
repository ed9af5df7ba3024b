// The TEI provider against an in-process upstream.
#include "provider/tei.h"

#include "provider/provider_fixture.h"

#include <gtest/gtest.h>

namespace genesis::provider {
namespace {

class Tei : public ProviderTest {
 public:
  std::unique_ptr<ChatModel> make_provider() override {
    options.base.path = "";
    return std::make_unique<TeiProvider>(client(), clock, options);
  }

  static ChatRequest of(EmbedInput embed,
                        Dialect dialect = Dialect::kTei,
                        std::string native = {}) {
    ChatRequest request = question(false);
    request.dialect = dialect;
    auto input = std::make_shared<ChatInput>();
    input->embed = std::move(embed);
    input->native = std::move(native);
    request.input = std::move(input);
    return request;
  }

  // The answer to `embed`, which the upstream gives as `body`.
  EmbedAnswer answer(EmbedInput embed, std::string body) {
    sink = RecordingSink();
    reply(200, std::move(body));
    const auto usage = chat(of(std::move(embed)));
    EXPECT_TRUE(usage) << usage.error().message;
    return usage ? *sink.deltas.at(0).embed : EmbedAnswer{};
  }
};

TEST_F(Tei, Embeds) {
  net::Headers headers = json_headers();
  headers.add("x-compute-tokens", "9");
  reply(200, "[[1,2],[3,4.5]]", headers);
  options.api_key = "hf";
  const auto usage =
      chat(of({.texts = {"a", "b"}}, Dialect::kTei, R"({"inputs":["a","b"],"odd":1})"));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 9);
  EXPECT_EQ(usage->output, 0);
  EXPECT_EQ(seen.at(0).path, "/embed");
  EXPECT_EQ(seen[0].body, R"({"inputs":["a","b"],"odd":1})");
  EXPECT_EQ(seen[0].headers.get("authorization"), "Bearer hf");
  EXPECT_EQ(sink.deltas.at(0).raw, "[[1,2],[3,4.5]]");
  EXPECT_EQ(sink.deltas[0].embed->vectors,
            (std::vector<std::vector<float>>{{1.0F, 2.0F}, {3.0F, 4.5F}}));
}

TEST_F(Tei, WritesEachTask) {
  EXPECT_EQ(answer({.token_lists = {{1, 2}}, .dimensions = 2, .normalize = false, .truncate = true},
                   "[[1,2]]")
                .vectors.size(),
            1U);
  EXPECT_EQ(seen.back().body,
            R"({"inputs":[[1,2]],"normalize":false,"dimensions":2,"truncate":true})");
  const EmbedAnswer ranks =
      answer({.task = EmbedTask::kRerank, .texts = {"a", "b"}, .query = "q", .raw_scores = true},
             R"([{"index":1,"score":0.9},{"index":0,"score":0.1}])");
  EXPECT_EQ(ranks.scores, (std::vector<float>{0.1F, 0.9F}));
  EXPECT_EQ(seen.back().path, "/rerank");
  EXPECT_EQ(seen.back().body, R"({"query":"q","texts":["a","b"],"raw_scores":true})");
  const EmbedAnswer labels =
      answer({.task = EmbedTask::kPredict, .texts = {"a"}, .pairs = {"b"}},
             R"([{"label":"yes","score":0.75},{"label":"no","score":0.25}])");
  ASSERT_EQ(labels.labels.size(), 1U);
  EXPECT_EQ(labels.labels[0].at(0).label, "yes");
  EXPECT_EQ(seen.back().body, R"({"inputs":[["a","b"]]})");
  EXPECT_EQ(answer({.task = EmbedTask::kPredict, .texts = {"a", "b"}},
                   R"([[{"label":"x","score":1}],[{"label":"y","score":1}]])")
                .labels[1][0]
                .label,
            "y");
  EXPECT_EQ(
      answer({.task = EmbedTask::kSimilarity, .texts = {"a", "b"}, .query = "q"}, "[0.5,1]").scores,
      (std::vector<float>{0.5F, 1.0F}));
  EXPECT_EQ(seen.back().body, R"({"inputs":{"source_sentence":"q","sentences":["a","b"]}})");
}

TEST_F(Tei, RefusesWhatItCannotUse) {
  for (const std::string_view body :
       {"", "{}", "[]", "[1,2]", "[[1]]", "[[1],[]]", "[[1],[\"x\"]]", "[[1],[2],[3]]"}) {
    reply(200, std::string(body));
    EXPECT_EQ(error_name(chat(of({.texts = {"a", "b"}}))), "upstream") << body;
  }
  for (const std::string_view body : {R"([{"index":0,"score":1},{"index":0,"score":1}])",
                                      R"([{"index":0,"score":1},{"index":2,"score":1}])",
                                      R"([{"index":0,"score":1},{"score":1}])",
                                      R"([{"index":0},{"index":1}])"}) {
    reply(200, std::string(body));
    EXPECT_EQ(error_name(chat(of({.task = EmbedTask::kRerank, .texts = {"a", "b"}}))), "upstream")
        << body;
  }
  EXPECT_TRUE(sink.lines.empty());
  reply(413,
        R"({"error":"`inputs` must have less than 512 tokens. Given: 600",)"
        R"("error_type":"Validation"})");
  EXPECT_EQ(error_name(chat(of({.texts = {"a"}}))), "context_length");
  reply(429, R"({"error":"Model is overloaded","error_type":"Overloaded"})");
  EXPECT_EQ(error_name(chat(of({.texts = {"a"}}))), "rate_limited");
  const std::size_t asked = seen.size();
  EXPECT_EQ(error_name(chat(question(true))), "unsupported");
  EXPECT_EQ(seen.size(), asked);
}

TEST_F(Tei, AnswersOpenAiClients) {
  reply(200, "[[1,2]]");
  const auto usage = chat(of({.texts = {"a"}}, Dialect::kEmbeddings));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 0) << "TEI did not tell";
  EXPECT_EQ(seen.at(0).body, R"({"inputs":["a"]})");
  EXPECT_EQ(sink.deltas.at(0).raw, "");
}

}  // namespace
}  // namespace genesis::provider
