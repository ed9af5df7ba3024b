// adapter_config.json: what PEFT means by it, and what is refused by name. That ranks and scales
// are PEFT's own is shown on real files by tests/parity/test_adapters.py.
#include "model/adapter_config.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>

namespace genesis::model {
namespace {

ModelSpec spec() {
  ModelSpec s;
  s.layers = 3;
  s.hidden = 64;
  s.heads = 4;
  s.kv_heads = 2;
  s.head_dim = 16;
  s.mlp = 96;
  s.vocab = 100;
  return s;
}

Result<AdapterConfig> parse(const std::string& members) {
  return parse_adapter_config(R"({"peft_type":"LORA")" + members + "}", spec());
}

LowRank at(const AdapterConfig& config, std::size_t layer, Linear linear) {
  return config.layers[layer][static_cast<std::size_t>(linear)];
}

TEST(AdapterConfig, NamesAreSuffixesOfWholeWords) {
  const auto config = parse(R"(,"r":4,"lora_alpha":8,"target_modules":["q_proj","mlp.up_proj"])");
  ASSERT_TRUE(config) << config.error().message;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(at(*config, i, Linear::kQ).rank, 4);
    EXPECT_DOUBLE_EQ(at(*config, i, Linear::kQ).scale, 2.0);
    EXPECT_EQ(at(*config, i, Linear::kUp).rank, 4);
    EXPECT_EQ(at(*config, i, Linear::kK).rank, 0);
  }
  EXPECT_EQ(config->head.rank, 0);
  EXPECT_FALSE(parse(R"(,"r":4,"target_modules":["_proj"])")) << "no part of a word";
}

TEST(AdapterConfig, PatternsLayersAndScales) {
  const auto config =
      parse(R"(,"r":4,"lora_alpha":8,"use_rslora":true,"target_modules":["q_proj","k_proj"],)"
            R"("layers_to_transform":[0,2],"exclude_modules":["model.layers.2.self_attn.k_proj"],)"
            R"("rank_pattern":{"q_proj":9},"alpha_pattern":{"layers\\.0\\.self_attn\\.k_proj":6})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(at(*config, 0, Linear::kQ).rank, 9);
  EXPECT_DOUBLE_EQ(at(*config, 0, Linear::kQ).scale, 8.0 / 3.0);
  EXPECT_DOUBLE_EQ(at(*config, 0, Linear::kK).scale, 3.0);
  EXPECT_EQ(at(*config, 1, Linear::kQ).rank, 0);
  EXPECT_EQ(at(*config, 2, Linear::kK).rank, 0);
  EXPECT_EQ(at(*config, 2, Linear::kQ).rank, 9);
}

TEST(AdapterConfig, AllLinearLeavesTheHead) {
  const auto config = parse(R"(,"target_modules":"all-linear")");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(at(*config, 1, Linear::kDown).rank, 8) << "PEFT's default rank";
  EXPECT_EQ(config->head.rank, 0);
  const auto head = parse(R"(,"target_modules":["lm_head"])");
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->head.rank, 8);
}

TEST(AdapterConfig, RefusesByName) {
  struct Case {
    const char* members;
    const char* field;
    ErrorCode code;
  };

  const std::string targets = R"(,"target_modules":["q_proj"])";
  for (const Case& c : std::array{
           Case{R"(,"use_dora":true)", "use_dora", ErrorCode::kUnsupported},
           Case{R"(,"modules_to_save":["lm_head"])", "modules_to_save", ErrorCode::kUnsupported},
           Case{R"(,"something_new":{"a":1})", "something_new", ErrorCode::kUnsupported},
           Case{R"(,"bias":"all")", "bias", ErrorCode::kUnsupported},
           Case{R"(,"init_lora_weights":"pissa")", "init_lora_weights", ErrorCode::kUnsupported},
           Case{R"(,"task_type":"SEQ_CLS")", "task_type", ErrorCode::kUnsupported},
           Case{R"(,"r":65)", "r", ErrorCode::kDataLoss},
           Case{R"(,"r":0)", "r", ErrorCode::kDataLoss},
           Case{R"(,"r":2.5)", "r", ErrorCode::kDataLoss},
           Case{R"(,"r":"4")", "r", ErrorCode::kDataLoss},
           Case{R"(,"lora_alpha":1e300)", "lora_alpha", ErrorCode::kDataLoss},
           Case{R"(,"layers_to_transform":[3])", "layers_to_transform", ErrorCode::kDataLoss},
           Case{R"(,"layers_to_transform":"x")", "layers_to_transform", ErrorCode::kDataLoss},
           Case{R"(,"rank_pattern":{"(":4})", "rank_pattern", ErrorCode::kUnsupported},
           Case{R"(,"rank_pattern":[1])", "rank_pattern", ErrorCode::kDataLoss},
           Case{R"(,"alora_invocation_tokens":[100])",
                "alora_invocation_tokens",
                ErrorCode::kDataLoss},
           Case{R"(,"alora_invocation_tokens":[-1])",
                "alora_invocation_tokens",
                ErrorCode::kDataLoss},
       }) {
    const auto config = parse(targets + c.members);
    ASSERT_FALSE(config) << c.members;
    EXPECT_EQ(config.error().param, c.field) << c.members;
    EXPECT_EQ(config.error().code, c.code) << c.members;
  }
  EXPECT_FALSE(parse("")) << "no target";
  EXPECT_FALSE(parse_adapter_config("[]", spec()));
  EXPECT_FALSE(parse_adapter_config("{", spec()));
  EXPECT_FALSE(parse_adapter_config(R"({"peft_type":"IA3","target_modules":["q_proj"]})", spec()));
}

}  // namespace
}  // namespace genesis::model
