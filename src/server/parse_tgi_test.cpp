// TGI bodies: its quirks and its validation texts.
#include "server/parse_tgi.h"

#include <gtest/gtest.h>

namespace genesis::server {
namespace {

Result<InferenceCall> generate(std::string_view parameters) {
  return parse_tgi_request(R"({"inputs":"a","parameters":)" + std::string(parameters) + "}",
                           TgiRoute::kGenerate);
}

TEST(ParseTgi, OmittingParametersSamplesAndAnEmptyObjectDoesNot) {
  const auto sampled = parse_tgi_request(R"({"inputs":"a"})", TgiRoute::kGenerate);
  ASSERT_TRUE(sampled);
  EXPECT_TRUE(sampled->wire.sampled);
  EXPECT_EQ(sampled->request.sampling.temperature, 1.0);
  const auto greedy = generate("{}");
  ASSERT_TRUE(greedy);
  EXPECT_FALSE(greedy->wire.sampled);
  EXPECT_EQ(greedy->request.sampling.temperature, 0.0);
  EXPECT_EQ(greedy->request.sampling.max_tokens, std::nullopt);
  EXPECT_TRUE(generate(R"({"do_sample":true})")->wire.sampled);
  EXPECT_TRUE(generate(R"({"temperature":0.5})")->wire.sampled);
  EXPECT_TRUE(generate(R"({"top_k":5})")->wire.sampled);
  EXPECT_FALSE(generate(R"({"temperature":1.0})")->wire.sampled);
}

TEST(ParseTgi, ReadsEveryField) {
  const auto call = generate(
      R"({"do_sample":true,"temperature":0.7,"top_k":3,"top_p":0.9,"repetition_penalty":1.2,
          "frequency_penalty":0.5,"max_new_tokens":20,"stop":["x"],"seed":18446744073709551615,
          "details":true,"decoder_input_details":true,"top_n_tokens":2,"return_full_text":true,
          "best_of":1,"watermark":false,"truncate":null,"typical_p":null,"grammar":null})");
  ASSERT_TRUE(call) << call.error().message;
  const Sampling& sampling = call->request.sampling;
  EXPECT_EQ(call->request.dialect, Dialect::kTgi);
  EXPECT_EQ(call->request.input->prompt, "a");
  EXPECT_EQ(sampling.temperature, 0.7);
  EXPECT_EQ(sampling.top_k, 3);
  EXPECT_EQ(sampling.top_p, 0.9);
  EXPECT_EQ(sampling.max_tokens, 20);
  EXPECT_EQ(sampling.seed, ~std::uint64_t{0});
  EXPECT_EQ(sampling.top_logprobs, 2);
  EXPECT_TRUE(sampling.want_logprobs && sampling.want_prompt_logprobs);
  EXPECT_TRUE(sampling.include_stop_in_output);
  EXPECT_TRUE(call->wire.details && call->wire.return_full_text);
}

TEST(ParseTgi, StreamComesFromTheRouteOrTheField) {
  const char* asks = R"({"inputs":"a","stream":true})";
  EXPECT_TRUE(parse_tgi_request(asks, TgiRoute::kCompat)->request.stream);
  EXPECT_FALSE(parse_tgi_request(asks, TgiRoute::kGenerate)->request.stream);
  EXPECT_TRUE(parse_tgi_request(R"({"inputs":"a"})", TgiRoute::kGenerateStream)->request.stream);
  EXPECT_FALSE(parse_tgi_request(R"({"inputs":"a"})", TgiRoute::kCompat)->request.stream);
}

TEST(ParseTgi, ValidationTextsAreTgis) {
  const std::vector<std::pair<const char*, const char*>> table{
      {R"({"temperature":0})", "`temperature` must be strictly positive"},
      {R"({"temperature":-1})", "`temperature` must be strictly positive"},
      {R"({"repetition_penalty":0})", "`repetition_penalty` must be strictly positive"},
      {R"({"frequency_penalty":2.5})", "`frequency_penalty` must be >= -2.0 and <= 2.0"},
      {R"({"top_p":1.0})", "`top_p` must be > 0.0 and < 1.0"},
      {R"({"top_p":0.0})", "`top_p` must be > 0.0 and < 1.0"},
      {R"({"top_k":0})", "`top_k` must be strictly positive"},
      {R"({"typical_p":1.0})", "`typical_p` must be > 0.0 and < 1.0"},
      {R"({"truncate":0})", "`truncate` must be strictly positive"},
      {R"({"truncate":5})", "`truncate` is not supported"},
      {R"({"max_new_tokens":0})", "`max_new_tokens` must be strictly positive"},
      {R"({"stop":["1","2","3","4","5"]})", "`stop` supports up to 4 stop sequences. Given: 5"},
      {R"({"top_n_tokens":6})", "`top_n_tokens` must be >= 0 and <= 5. Given: 6"},
      {R"({"best_of":0})", "`best_of` must be > 0 and <= 1. Given: 0"},
      {R"({"best_of":2})", "you must use sampling when `best_of` is > 1"},
      {R"({"best_of":2,"do_sample":true,"seed":1})", "`seed` must not be set when `best_of` > 1"},
      {R"({"best_of":2,"do_sample":true})", "`best_of` != 1 is not allowed for this endpoint"},
      {R"({"seed":-1})", "`seed` must be positive"},
      {R"({"watermark":true})", "`watermark` is not supported"},
      {R"({"grammar":{"type":"regex","value":""}})",
       "'parameters.grammar.value' must be a string that is not empty"},
      {R"({"grammar":{"type":"lark","value":"a"}})",
       "`grammar` type must be json, json_schema or regex"},
      {R"({"grammar":{"type":"json"}})", "`grammar` must be an object with a `type` and a `value`"},
      {R"({"adapter_id":"x"})", "`adapter_id` is not supported"},
  };
  for (const auto& [parameters, message] : table) {
    const auto call = generate(parameters);
    ASSERT_FALSE(call) << parameters;
    EXPECT_EQ(call.error().message, message);
    EXPECT_TRUE(call.error().param.starts_with("parameters.")) << call.error().param;
  }
}

TEST(ParseTgi, StreamingForbidsSomeFields) {
  const auto stream = [](std::string_view parameters) {
    return parse_tgi_request(R"({"inputs":"a","parameters":)" + std::string(parameters) + "}",
                             TgiRoute::kGenerateStream);
  };
  EXPECT_EQ(stream(R"({"best_of":2,"do_sample":true})").error().message,
            "`best_of` != 1 is not supported when streaming tokens");
  EXPECT_EQ(stream(R"({"decoder_input_details":true})").error().message,
            "`decoder_input_details` == true is not supported when streaming tokens");
  EXPECT_TRUE(stream(R"({"details":true})")->request.sampling.want_logprobs);
}

TEST(ParseTgi, RefusesWrongShapes) {
  const std::vector<std::pair<const char*, const char*>> table{
      {R"({})", "inputs"},
      {R"({"inputs":""})", "inputs"},
      {R"({"inputs":["a"]})", "inputs"},
      {R"({"inputs":"a","stream":1})", "stream"},
      {R"({"inputs":"a","parameters":[]})", "parameters"},
      {R"({"inputs":"a","parameters":{"do_sample":"no"}})", "parameters.do_sample"},
      {R"({"inputs":"a","parameters":{"temperature":"x"}})", "parameters.temperature"},
      {R"({"inputs":"a","parameters":{"max_new_tokens":1e12}})", "parameters.max_new_tokens"},
      {R"([])", ""},
  };
  for (const auto& [body, param] : table) {
    const auto call = parse_tgi_request(body, TgiRoute::kCompat);
    ASSERT_FALSE(call) << body;
    EXPECT_EQ(call.error().param, param) << body;
  }
  const auto chat = parse_tgi_request(R"({"messages":[]})", TgiRoute::kCompat);
  EXPECT_NE(chat.error().hint.find("/v1/chat/completions"), std::string::npos);
}

}  // namespace
}  // namespace genesis::server
