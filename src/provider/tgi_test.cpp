// The TGI provider against an in-process upstream.
#include "provider/tgi.h"

#include "provider/provider_fixture.h"
#include "provider/tgi_wire.h"

#include <gtest/gtest.h>

#include <cmath>

namespace genesis::provider {
namespace {

constexpr std::string_view kOne =
    R"({"index":1,"token":{"id":5,"text":"Hi","logprob":-0.5,"special":false},)"
    R"("generated_text":null,"details":null,"top_tokens":[{"id":5,"text":"Hi","logprob":-0.5}]})";
constexpr std::string_view kEos =
    R"({"index":2,"token":{"id":2,"text":"</s>","logprob":-0.1,"special":true},)"
    R"("generated_text":"Hi","details":{"finish_reason":"eos_token","generated_tokens":2,)"
    R"("seed":null,"input_length":7}})";

std::string frame(std::string_view json) {
  return "data:" + std::string(json) + "\n\n";
}

class Tgi : public ProviderTest {
 public:
  std::unique_ptr<ChatModel> make_provider() override {
    return std::make_unique<TgiProvider>(client(), clock, options);
  }

  static ChatRequest prompt(Dialect dialect, bool streamed, std::string native = {}) {
    ChatRequest request = question(streamed);
    request.dialect = dialect;
    auto input = std::make_shared<ChatInput>();
    input->prompt = "Say \"hi\"";
    input->native = std::move(native);
    request.input = std::move(input);
    return request;
  }

  void reply_root(int status, std::string body, net::Headers headers = json_headers()) {
    reply(status, std::move(body), std::move(headers));
    options.base.path = "";
  }
};

TEST_F(Tgi, StreamsTokens) {
  stream(frame(kOne) + frame(kEos));
  options.base.path = "";
  options.api_key = "hf_1";
  const auto usage =
      chat(prompt(Dialect::kTgi, true, R"({"inputs":"x","parameters":{"seed":1},"stream":true})"));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 7);
  EXPECT_EQ(usage->output, 2);
  EXPECT_EQ(seen.at(0).path, "/generate_stream");
  EXPECT_EQ(seen[0].body, R"({"inputs":"x","parameters":{"seed":1,"details":true}})");
  EXPECT_EQ(seen[0].headers.get("authorization"), "Bearer hf_1");
  EXPECT_EQ(sink.lines, (std::vector<std::string>{"begin up", "0 Hi||", "0 || stop"}));
  const TokenInfo& token = sink.deltas.at(0).tokens.at(0);
  EXPECT_EQ(token.id, 5);
  EXPECT_FLOAT_EQ(token.logprob, -0.5F);
  EXPECT_EQ(token.top.at(0).id, 5);
  EXPECT_TRUE(sink.deltas.at(1).tokens.at(0).special);
  EXPECT_EQ(sink.deltas.at(0).raw, "") << "the client had not asked for details";
}

TEST_F(Tgi, PassesOnWhatTheClientAskedFor) {
  const std::string native = R"({"inputs":"x","parameters":{"details":true}})";
  stream(frame(kOne) + frame(kEos));
  ASSERT_EQ(error_name(chat(prompt(Dialect::kTgi, true, native))), "ok");
  EXPECT_EQ(sink.deltas.at(0).raw, kOne);
  sink = RecordingSink();
  const std::string body =
      R"({"generated_text":"Hi","details":{"finish_reason":"length","generated_tokens":1,)"
      R"("prefill":[{"id":1,"text":"<s>","logprob":null},{"id":9,"text":"x","logprob":-3}],)"
      R"("tokens":[{"id":5,"text":"Hi","logprob":-0.5,"special":false}],)"
      R"("top_tokens":[[{"id":6,"text":"Ho","logprob":-2}]]}})";
  reply_root(200, body);
  const auto usage = chat(prompt(Dialect::kTgi, false, native));
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(seen.back().path, "/generate");
  EXPECT_EQ(usage->input, 2);
  EXPECT_EQ(usage->output, 1);
  const ChatDelta& delta = sink.deltas.at(0);
  EXPECT_EQ(delta.raw, body);
  EXPECT_EQ(describe(delta), "0 Hi|| length");
  EXPECT_TRUE(std::isnan(delta.prompt_tokens.at(0).logprob));
  EXPECT_EQ(delta.tokens.at(0).top.at(0).text, "Ho");
}

TEST_F(Tgi, TranslatesCompletions) {
  net::Headers headers = json_headers();
  headers.add("x-prompt-tokens", "11");
  reply_root(200,
             R"([{"generated_text":"Hi","details":{"finish_reason":"stop_sequence",)"
             R"("generated_tokens":1,"tokens":[]}}])",
             headers);
  ChatRequest request = prompt(Dialect::kOpenAiCompletion, false);
  request.sampling.max_tokens = 4;
  request.sampling.stop = {"x"};
  request.sampling.seed = 3;
  request.sampling.temperature = 0.5;
  request.sampling.top_logprobs = 2;
  const auto usage = chat(request);
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->input, 11);
  EXPECT_EQ(sink.lines.at(1), "0 Hi|| stop_sequence");
  EXPECT_EQ(seen.at(0).body,
            R"({"inputs":"Say \"hi\"","parameters":{"details":true,"do_sample":true,)"
            R"("temperature":0.5,"seed":3,"max_new_tokens":4,"stop":["x"],"top_n_tokens":2}})");
  request.sampling = Sampling{.temperature = 0};
  ASSERT_EQ(error_name(chat(request)), "ok");
  EXPECT_EQ(seen.at(1).body, R"({"inputs":"Say \"hi\"","parameters":{"details":true}})");
}

std::string token(std::string_view text) {
  return frame(R"({"token":{"id":5,"text":")" + std::string(text) +
               R"(","logprob":-0.5,"special":false},"generated_text":null,"details":null})");
}

std::string last(std::string_view text, std::string_view reason) {
  return frame(R"({"token":{"id":5,"text":")" + std::string(text) +
               R"(","logprob":-0.5,"special":false},"generated_text":"x",)"
               R"("details":{"finish_reason":")" +
               std::string(reason) + R"(","generated_tokens":3}})");
}

TEST_F(Tgi, TheStopStringIsNoPartOfACompletion) {
  ChatRequest request = prompt(Dialect::kOpenAiCompletion, true);
  request.sampling.stop = {"END", "\n\n"};
  const auto text = [&](std::string bytes) {
    sink = RecordingSink();
    stream(std::move(bytes));
    EXPECT_EQ(error_name(chat(request)), "ok");
    return sink.text();
  };
  EXPECT_EQ(text(token("a E") + token("N") + last("D", "stop_sequence")), "a ");
  EXPECT_EQ(text(token("a E") + token("N") + last("d", "eos_token")), "a ENd");
  EXPECT_EQ(text(token("a E") + token("x") + last("EN", "length")), "a ExEN");
  EXPECT_EQ(text(token("a") + last("\\n\\n", "stop_sequence")), "a");
  EXPECT_EQ(sink.lines.at(1), "0 a||") << "nothing is held back without need";
  request.sampling.include_stop_in_output = true;
  EXPECT_EQ(text(token("a E") + last("ND", "stop_sequence")), "a END");
}

TEST_F(Tgi, AsksWholeAnswersForPromptTokens) {
  reply_root(200,
             R"({"generated_text":"","details":{"finish_reason":"length","generated_tokens":0}})");
  options.always_stream = true;
  ChatRequest request = prompt(Dialect::kTgi, false);
  request.sampling.want_prompt_logprobs = true;
  request.sampling.temperature = 0;
  EXPECT_EQ(error_name(chat(request)), "ok");
  EXPECT_EQ(seen.at(0).path, "/generate");
  EXPECT_TRUE(seen[0].body.contains("decoder_input_details"));
}

TEST_F(Tgi, RefusesWhatItCannotSay) {
  reply_root(200, "{}");
  for (const Dialect dialect : {Dialect::kOpenAiChat, Dialect::kAnthropic, Dialect::kTei}) {
    EXPECT_EQ(error_name(chat(prompt(dialect, true))), "unsupported");
  }
  ChatRequest request = prompt(Dialect::kOpenAiCompletion, true);
  request.echo = true;
  EXPECT_EQ(error_name(chat(request)), "unsupported");
  request.echo = false;
  request.sampling.logit_bias[1] = 2;
  EXPECT_EQ(error_name(chat(request)), "unsupported");
  EXPECT_TRUE(seen.empty());
}

TEST_F(Tgi, CutStreamsAndGarbageAreErrors) {
  const auto ask = [&] { return error_name(chat(prompt(Dialect::kOpenAiCompletion, true))); };
  for (const bool cut : {true, false}) {
    stream(frame(kOne), cut);
    EXPECT_EQ(ask(), "unavailable");
  }
  for (const std::string_view text : {"{",
                                      "[]",
                                      "{}",
                                      R"({"token":{}})",
                                      R"({"token":{"id":-7,"text":"a"}})",
                                      R"({"token":{"id":1,"text":"a"},"details":{}})"}) {
    stream(frame(text) + frame(kEos));
    EXPECT_EQ(ask(), "upstream") << text;
  }
  stream(frame(kOne) + frame(R"({"error":"Model is overloaded","error_type":"overloaded"})"));
  EXPECT_EQ(ask(), "unavailable");
  stream(frame(R"({"error":"Input validation error: bad","error_type":"validation"})"));
  EXPECT_EQ(ask(), "invalid_argument");
  stream(
      frame(R"({"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 9. )"
            R"(Given: 10 `inputs` tokens","error_type":"validation"})"));
  EXPECT_EQ(ask(), "context_length");
  reply_root(429, R"({"error":"Model is overloaded","error_type":"overloaded"})");
  EXPECT_EQ(ask(), "rate_limited");
  reply_root(424, R"({"error":"Request failed during generation","error_type":"generation"})");
  EXPECT_EQ(ask(), "upstream");
}

}  // namespace
}  // namespace genesis::provider
