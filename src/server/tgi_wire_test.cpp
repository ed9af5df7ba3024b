// TGI answers byte for byte, through the whole gateway.
#include "server/server_fixture.h"
#include "server/write_tgi.h"

#include <gtest/gtest.h>

namespace genesis::server {
namespace {

Script two_tokens(FinishReason finish) {
  return answers({{.text = " a", .tokens = {token(5, " a", -0.5F)}},
                  {.text = "b", .tokens = {token(6, "b", -1)}, .finish = finish}});
}

TEST(TgiWire, GenerateWithoutDetails) {
  World world;
  world.chat.script = two_tokens(FinishReason::kLength);
  const auto response = world.post("/generate", R"({"inputs":"q","parameters":{}})");
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, R"({"generated_text":" ab"})");
  EXPECT_EQ(response->header("x-prompt-tokens"), "7");
  EXPECT_EQ(response->header("x-generated-tokens"), "2");
  EXPECT_EQ(response->header("x-compute-type"), "cpu_avx2");
  EXPECT_EQ(response->header("x-compute-characters"), "1");
  EXPECT_EQ(response->header("x-total-time"), "0");
  EXPECT_EQ(world.chat.seen.back().route, "auto");
}

TEST(TgiWire, RootAnswersAnArrayOfOneWithDetails) {
  World world;
  TokenInfo second = token(6, "b", -1);
  second.top = {{.id = 7, .text = "c", .logprob = -2}};
  world.chat.script =
      answers({{.text = " a",
                .tokens = {token(5, " a", -0.5F)},
                .prompt_tokens = {token(1, "q", 0), token(2, "r", -3)}},
               {.text = "b", .tokens = {second}, .finish = FinishReason::kStopSequence}});
  const auto response =
      world.post("/",
                 R"({"inputs":"qr","parameters":{"decoder_input_details":true,"do_sample":true,)"
                 R"("seed":9,"top_n_tokens":1,"return_full_text":true}})");
  EXPECT_EQ(response->body,
            R"([{"generated_text":"qr ab","details":{"finish_reason":"stop_sequence",)"
            R"("generated_tokens":2,"seed":9,)"
            R"("prefill":[{"id":1,"text":"q","logprob":null},{"id":2,"text":"r","logprob":-3}],)"
            R"("tokens":[{"id":5,"text":" a","logprob":-0.5,"special":false},)"
            R"({"id":6,"text":"b","logprob":-1,"special":false}],)"
            R"("top_tokens":[[],[{"id":7,"text":"c","logprob":-2,"special":false}]]}}])");
}

TEST(TgiWire, StreamEvents) {
  World world;
  world.chat.script = two_tokens(FinishReason::kLength);
  const auto response =
      world.post("/generate_stream", R"({"inputs":"q","parameters":{"details":true}})");
  EXPECT_EQ(response->body,
            "data: "
            R"({"index":1,"token":{"id":5,"text":" a","logprob":-0.5,"special":false},)"
            R"("generated_text":null,"details":null})"
            "\n\ndata: "
            R"({"index":2,"token":{"id":6,"text":"b","logprob":-1,"special":false},)"
            R"("generated_text":" ab","details":{"finish_reason":"length",)"
            R"("generated_tokens":2,"seed":null,"input_length":7}})"
            "\n\n");
  EXPECT_TRUE(response->finished);
  EXPECT_EQ(response->header("X-Accel-Buffering"), "no");
}

TEST(TgiWire, RootStreamsWhenAskedAndEndsWithTheEndToken) {
  World world;
  TokenInfo end = token(2, "</s>", -0.125F);
  end.special = true;
  world.chat.script = answers({{.text = "a", .tokens = {token(5, "a", -1)}},
                               {.tokens = {end}, .finish = FinishReason::kStop}});
  const auto response = world.post("/", R"({"inputs":"q","parameters":{},"stream":true})");
  EXPECT_EQ(response->body,
            "data: "
            R"({"index":1,"token":{"id":5,"text":"a","logprob":-1,"special":false},)"
            R"("generated_text":null,"details":null})"
            "\n\ndata: "
            R"({"index":2,"token":{"id":2,"text":"</s>","logprob":-0.125,"special":true},)"
            R"("generated_text":"a","details":null})"
            "\n\n");
}

TEST(TgiWire, SampledAnswerTellsTheSeedItDrew) {
  World world;
  world.chat.script = two_tokens(FinishReason::kStop);
  const auto response =
      world.post("/generate", R"({"inputs":"q","parameters":{"do_sample":true,"details":true}})");
  ASSERT_TRUE(world.chat.seen.back().sampling.seed);
  const std::string seed = std::to_string(*world.chat.seen.back().sampling.seed);
  EXPECT_NE(response->body.find("\"seed\":" + seed), std::string::npos) << response->body;
}

TEST(TgiWire, TokenTextsAddUpToTheDelta) {
  const auto join = [](const ChatDelta& delta) {
    std::string text;
    for (const TokenInfo& part : tgi_tokens(delta)) {
      text += part.special ? "" : part.text;
    }
    return text;
  };
  TokenInfo end = token(2, "</s>", 0);
  end.special = true;
  const std::vector<ChatDelta> deltas{
      {.text = "no tokens"},
      {.text = "ab", .tokens = {token(1, "a", 0), token(2, "b", 0)}},
      {.text = "", .tokens = {token(1, "\xE2\x82", 0)}},
      {.text = "€", .tokens = {token(1, "\xE2\x82", 0), token(2, "\xAC", 0)}},
      {.text = "€", .tokens = {token(2, "\xAC", 0)}},
      {.text = "held back", .tokens = {end}},
      {.text = "a", .tokens = {token(1, "a", 0), end}},
      {.text = "", .tokens = {end}},
      {},
  };
  for (const ChatDelta& delta : deltas) {
    EXPECT_EQ(join(delta), delta.text);
  }
}

TEST(TgiWire, ErrorsWearTgisShape) {
  World world;
  const auto invalid = world.post("/generate", R"({"inputs":""})");
  EXPECT_EQ(invalid->status, 422);
  EXPECT_EQ(
      invalid->body,
      R"({"error":"Input validation error: `inputs` cannot be empty","error_type":"validation"})");
  world.chat.script = answers({{.text = "a"}}, fail(ErrorCode::kUpstream, "cut"));
  const auto failed = world.post("/generate", R"({"inputs":"q"})");
  EXPECT_EQ(failed->status, 424);
  const auto stream = world.post("/generate_stream", R"({"inputs":"q"})");
  EXPECT_EQ(stream->status, 200);
  EXPECT_TRUE(
      stream->body.ends_with("data: {\"error\":\"Request failed during generation: "
                             "cut\",\"error_type\":\"generation\"}\n\n"))
      << stream->body;
  EXPECT_TRUE(stream->finished);
}

TEST(TgiWire, Info) {
  World world;
  EXPECT_EQ(
      world.get("/info")->body,
      R"({"model_id":"org/tiny","model_sha":null,"model_dtype":"q4_1","model_device_type":"cpu",)"
      R"("model_pipeline_tag":"text-generation","max_concurrent_requests":64,"max_best_of":1,)"
      R"("max_stop_sequences":4,"max_input_tokens":2047,"max_total_tokens":2048,)"
      R"("isa":"cpu avx2","kv_format":"int8","validation_workers":1,)"
      R"("max_client_batch_size":1,"router":"genesis","version":"1.2.3","sha":null,)"
      R"("docker_label":null})");
}

TEST(TgiWire, WhatATgiUpstreamSaysPasses) {
  World world;
  const std::string event = R"({"index":1,"token":{"id":5,"text":"a","new":1}})";
  const std::string last =
      R"({"index":2,"token":{"id":6},"generated_text":"ab","details":{"x":1}})";
  world.chat.script = answers(
      {{.text = "a", .raw = event}, {.text = "b", .finish = FinishReason::kStop, .raw = last}});
  EXPECT_EQ(world.post("/generate_stream", R"({"inputs":"x"})")->body,
            "data: " + event + "\n\ndata: " + last + "\n\n");
  const std::string whole = R"({"generated_text":"ab", "new":{"a":1}})";
  world.chat.script = answers({{.text = "ab", .finish = FinishReason::kStop, .raw = whole}});
  EXPECT_EQ(world.post("/generate", R"({"inputs":"x"})")->body, whole);
  EXPECT_EQ(world.post("/", R"({"inputs":"x"})")->body, "[" + whole + "]");
  EXPECT_EQ(world.chat.seen.back().input->native, R"({"inputs":"x"})");
}

}  // namespace
}  // namespace genesis::server
