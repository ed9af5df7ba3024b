// /v1/embeddings, TEI's routes and /v1/rerank over the wire: what the model is asked, what the
// client reads, and refusals in each dialect's shape.
#include "server/parse_embed.h"
#include "server/server_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace genesis::server {
namespace {

using testing::HasSubstr;

std::vector<ChatDelta> embedded(EmbedAnswer answer, std::string raw = {}) {
  ChatDelta delta;
  delta.finish = FinishReason::kStop;
  delta.embed = std::make_shared<const EmbedAnswer>(std::move(answer));
  delta.raw = std::move(raw);
  return {delta};
}

TEST(EmbedWire, VectorsAsNumbersAndAsText) {
  World world;
  world.chat.script = answers(embedded({.vectors = {{1.0F, -0.5F}, {0.25F, 0.0F}}}));
  const auto numbers = world.post("/v1/embeddings", R"({"input":["a","b"],"model":"m"})");
  EXPECT_EQ(numbers->status, 200);
  EXPECT_THAT(numbers->body, HasSubstr(R"("embedding":[1,-0.5])"));
  EXPECT_THAT(numbers->body, HasSubstr(R"("index":1)"));
  const auto text =
      world.post("/v1/embeddings", R"({"input":["a","b"],"encoding_format":"base64"})");
  // 00 00 80 3f 00 00 00 bf: the two floats, little-endian.
  EXPECT_THAT(text->body, HasSubstr(R"("embedding":"AACAPwAAAL8=")"));
}

TEST(EmbedWire, TheUpstreamsOwnBodyPassesUnchanged) {
  World world;
  const std::string raw = R"({"object":"list","data":[{"embedding":"AACAPw=="}],"extra":{"a":1}})";
  world.chat.script = answers(embedded({.vectors = {{1.0F}}}, raw));
  EXPECT_EQ(world.post("/v1/embeddings", R"({"input":"a"})")->body, raw);
}

TEST(EmbedWire, RanksFallAndMayCarryTheirText) {
  World world;
  world.chat.script = answers(embedded({.scores = {0.1F, 0.75F, 0.5F}}));
  EXPECT_EQ(
      world.post("/rerank", R"({"query":"q","texts":["a","b","c"],"return_text":true})")->body,
      R"([{"index":1,"text":"b","score":0.75},{"index":2,"text":"c","score":0.5},)"
      R"({"index":0,"text":"a","score":0.1}])");
  const auto cohere =
      world.post("/v1/rerank", R"({"query":"q","documents":["a","b","c"],"top_n":1})");
  EXPECT_THAT(cohere->body, HasSubstr(R"("results":[{"index":1,"relevance_score":0.75}])"));
}

TEST(EmbedWire, OnePredictionIsAListOfItsOwn) {
  World world;
  world.chat.script = answers(embedded({.labels = {{{.label = "yes", .score = 0.5F}}}}));
  EXPECT_EQ(world.post("/predict", R"({"inputs":"a"})")->body, R"([{"score":0.5,"label":"yes"}])");
  EXPECT_EQ(world.post("/predict", R"({"inputs":[["a"]]})")->body,
            R"([[{"score":0.5,"label":"yes"}]])");
}

TEST(EmbedWire, SimilaritiesAreABareList) {
  World world;
  world.chat.script = answers(embedded({.scores = {0.5F, 0.25F}}));
  EXPECT_EQ(
      world.post("/similarity", R"({"inputs":{"source_sentence":"a","sentences":["b","c"]}})")
          ->body,
      "[0.5,0.25]");
}

TEST(EmbedWire, AnAnswerToOtherTextsThanAskedIsAnError) {
  World world;
  world.chat.script = answers(embedded({.vectors = {{1.0F}}}));
  EXPECT_EQ(world.post("/v1/embeddings", R"({"input":["a","b"]})")->status, 502);
  world.chat.script = answers(embedded({.scores = {1.0F, 0.5F, 0.25F}}));
  EXPECT_EQ(world.post("/rerank", R"({"query":"q","texts":["a"],"return_text":true})")->status,
            424);
  EXPECT_EQ(world.post("/embed", R"({"inputs":"a"})")->status, 424);
}

TEST(EmbedWire, TeiTellsWhatItCountedAndIsRouted) {
  World world({.embed_model = "tiny"});
  world.chat.script = answers(embedded({.vectors = {{1.0F}}}), Usage{.input = 5});
  const auto response = world.post("/embed", "{\"inputs\":\"\xC3\xA9!\"}");
  EXPECT_EQ(response->header("x-compute-characters"), "2");
  EXPECT_EQ(response->header("x-compute-tokens"), "5");
  EXPECT_EQ(world.chat.seen.back().route, "tiny");
  world.post("/embed", R"({"inputs":"a","model":"org/tiny"})");
  EXPECT_EQ(world.chat.seen.back().route, "org/tiny");
  EXPECT_EQ(world.post("/embed_all", R"({"inputs":"a"})")->status, 404);
}

TEST(EmbedWire, AnAnswerWithoutVectorsIsAnError) {
  World world;
  world.chat.script = answers({{.text = "hello", .finish = FinishReason::kStop}});
  EXPECT_EQ(world.post("/v1/embeddings", R"({"input":"a"})")->status, 502);
}

TEST(EmbedWire, RefusalsNameTheFieldInTheDialectsShape) {
  World world;
  const auto openai = world.post("/v1/embeddings", R"({"input":[]})");
  EXPECT_EQ(openai->status, 400);
  EXPECT_THAT(openai->body, HasSubstr(R"("param":"input")"));
  const auto tei = world.post("/embed", R"({"inputs":[]})");
  EXPECT_THAT(tei->body, HasSubstr(R"("error_type":"empty")"));
  std::string many = R"({"inputs":[)";
  for (std::size_t i = 0; i <= kMaxTeiBatch; ++i) {
    many += i == 0 ? R"("x")" : R"(,"x")";
  }
  const auto batch = world.post("/embed", many + "]}");
  EXPECT_EQ(batch->status, 413);
  EXPECT_EQ(batch->body,
            R"({"error":"Input validation error: batch size 33 > maximum allowed batch size 32",)"
            R"("error_type":"validation"})");
  for (const auto& [path, body] : std::vector<std::pair<std::string, std::string>>{
           {"/embed", R"({"inputs":[1,"a"]})"},
           {"/embed", R"({"inputs":"a","truncate":"yes"})"},
           {"/rerank", R"({"texts":["a"]})"},
           {"/rerank", R"({"query":"q","texts":"a"})"},
           {"/predict", R"({"inputs":[["a","b","c"]]})"},
           {"/similarity", R"({"inputs":{"source_sentence":"a"}})"},
           {"/v1/rerank", R"({"query":"q","documents":["a"],"top_n":0})"},
           {"/v1/embeddings", R"({"input":"a","dimensions":-1})"},
           {"/v1/embeddings", R"({"input":"a","encoding_format":"hex"})"}}) {
    const auto got = world.post(path, body);
    EXPECT_GE(got->status, 400) << path << body;
    EXPECT_LT(got->status, 500) << path << body;
  }
}

}  // namespace
}  // namespace genesis::server
