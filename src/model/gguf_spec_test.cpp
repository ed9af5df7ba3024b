// GGUF metadata and tensors that lie, are missing or describe something else.
#include "model/gguf_spec.h"

#include "model/executor.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <limits>

namespace genesis::model {
namespace {

Error spec_error(const TestModel& model) {
  const auto opened = open_test_model(model);
  const Result<ModelSpec> spec = spec_from_gguf(*opened->file);
  return spec ? Error{.message = "accepted"} : spec.error();
}

// The error of loading, whether the description or the tensors are at fault.
Error load_error(const TestModel& model) {
  const auto opened = open_test_model(model);
  const Result<ModelSpec> spec = spec_from_gguf(*opened->file);
  if (!spec) {
    return spec.error();
  }
  const auto executor =
      CpuExecutor::create(*opened->file, *spec, {.threads = 1, .kv_bytes = 1 << 20});
  return executor ? Error{.message = "accepted"} : executor.error();
}

TEST(GgufSpec, ReadsTheHyperParameters) {
  const auto opened = open_test_model({.tied = true});
  const Result<ModelSpec> spec = spec_from_gguf(*opened->file);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->layers, 2);
  EXPECT_EQ(spec->hidden, 64);
  EXPECT_EQ(spec->group(), 3);
  EXPECT_EQ(spec->query_size(), 192);
  EXPECT_EQ(spec->kv_size(), 64);
  EXPECT_EQ(spec->vocab, 101);
  EXPECT_TRUE(spec->tied_head);
  EXPECT_EQ(spec->rotary_pairs, RotaryPairs::kAdjacent);
  EXPECT_EQ(spec->max_context, 2048);
}

TEST(GgufSpec, NamesAnUnsupportedArchitecture) {
  const Error error = spec_error({.architecture = "mamba"});
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_NE(error.message.find("'mamba'"), std::string::npos);
}

TEST(GgufSpec, RefusesImpossibleNumbers) {
  const std::vector<TestModel> bad{
      {.layers = 0},
      {.declared_layers = 1025},
      {.heads = 0},
      {.heads = 5},
      {.kv_heads = 0},
      {.kv_heads = 4},
      {.head_dim = 0},
      {.head_dim = 4096},
      {.mlp = 0},
      {.vocab = 0},
      {.context = 0},
      {.context = 0xFFFFFFFF},
  };
  for (TestModel model : bad) {
    model.edit = [&](weights::testing::GgufBuilder& file) {
      file.tensors.clear();
      file.data.clear();
      file.tensor_count = 0;
      file.tensor("token_embd.weight",
                  {32, std::max(model.vocab, 1U)},
                  kGgufF32,
                  std::string(std::size_t{128} * std::max(model.vocab, 1U), '\0'));
    };
    if (model.vocab == 0) {
      model.edit = [](weights::testing::GgufBuilder& file) {
        file.put_number("llama.vocab_size", 4, 5U);
      };
      model.vocab = 101;
    }
    const Error error = spec_error(model);
    EXPECT_EQ(error.code, ErrorCode::kDataLoss) << error.message;
  }
}

TEST(GgufSpec, RefusesWhatItCannotRun) {
  const auto with = [](std::string_view key, auto value, std::uint32_t type) {
    return TestModel{
        .edit = [=](weights::testing::GgufBuilder& file) { file.put_number(key, type, value); }};
  };
  EXPECT_EQ(spec_error({.head_dim = 48}).code, ErrorCode::kUnsupported);
  EXPECT_EQ(spec_error(with("llama.expert_count", 8U, 4)).code, ErrorCode::kUnsupported);
  EXPECT_EQ(spec_error(with("llama.vocab_size", 102U, 4)).code, ErrorCode::kDataLoss);
  const auto scaled = [](std::string_view kind, double factor) {
    return TestModel{.edit = [=](weights::testing::GgufBuilder& file) {
      file.put_string("llama.rope.scaling.type", kind);
      file.put_number("llama.rope.scaling.factor", 6, static_cast<float>(factor));
    }};
  };
  EXPECT_NE(spec_error(scaled("dynamic", 4.0)).message.find("dynamic"), std::string::npos);
  EXPECT_EQ(spec_error(scaled("yarn", 4.0)).code, ErrorCode::kDataLoss) << "no original context";
  EXPECT_EQ(spec_error(scaled("linear", 0.0)).code, ErrorCode::kDataLoss);
  EXPECT_EQ(spec_error(with("llama.final_logit_softcapping", -1.0F, 6)).code, ErrorCode::kDataLoss);
  EXPECT_EQ(spec_error(with("llama.attention.sliding_window", 0xFFFFFFFFU, 4)).code,
            ErrorCode::kDataLoss);
}

ModelSpec spec_of(const TestModel& model) {
  const auto opened = open_test_model(model);
  const Result<ModelSpec> spec = spec_from_gguf(*opened->file);
  EXPECT_TRUE(spec) << spec.error().message;
  return spec.value_or(ModelSpec{});
}

TEST(GgufSpec, ReadsWindowsAndTheirLayers) {
  const ModelSpec llama = spec_of({.window = 512});
  EXPECT_EQ(llama.max_context, 2048);
  EXPECT_EQ(llama.window_of(1), 512);
  EXPECT_EQ(spec_of({}).window_of(0), 0);
  const ModelSpec gemma2 = spec_of({.layers = 4, .architecture = "gemma2"});
  EXPECT_EQ(gemma2.window_of(0), 4096) << "llama.cpp's default";
  EXPECT_EQ(gemma2.window_of(1), 0);
  const ModelSpec gemma3 = spec_of({.layers = 7, .architecture = "gemma3", .window = 512});
  for (std::int32_t i = 0; i < 7; ++i) {
    EXPECT_EQ(gemma3.window_of(i), i == 5 ? 0 : 512) << i;
  }
  EXPECT_EQ(gemma3.local_rotary_base, 10000.0);
  EXPECT_EQ(spec_of({.architecture = "qwen2", .biases = true, .window = 512}).window_of(0), 0);
}

TEST(GgufSpec, ScalesAndCapsOfGemma) {
  const ModelSpec small = spec_of({.layers = 2, .architecture = "gemma2"});
  EXPECT_EQ(small.attention_softcap, 50.0F);
  EXPECT_EQ(small.logit_softcap, 30.0F);
  EXPECT_EQ(small.embedding_scale, 8.0F);
  EXPECT_EQ(small.norm_offset, 0.0F) << "GGUF holds what is multiplied";
  EXPECT_EQ(small.attention_scale, 0.0F);
  // Gemma-2-27B: 144 = 4608 / 32, not its head size of 128.
  const ModelSpec large =
      spec_of({.layers = 46, .hidden = 64, .heads = 4, .architecture = "gemma2"});
  EXPECT_FLOAT_EQ(large.attention_scale, 0.25F);
}

TEST(ModelWeights, NamesMissingAndMisshapenTensors) {
  EXPECT_EQ(load_error({}).message, "accepted");
  const Error missing = load_error({.skip = "blk.1.ffn_up.weight"});
  EXPECT_EQ(missing.code, ErrorCode::kDataLoss);
  EXPECT_EQ(missing.param, "blk.1.ffn_up.weight");
  const Error misshapen = load_error(
      {.skip = "blk.0.attn_k.weight", .edit = [](auto& file) {
         file.tensor("blk.0.attn_k.weight", {64, 32}, kGgufF32, std::string(64 * 32 * 4, '\0'));
       }});
  EXPECT_EQ(misshapen.code, ErrorCode::kDataLoss);
  EXPECT_NE(misshapen.message.find("[32, 64]"), std::string::npos) << misshapen.message;
}

TEST(ModelWeights, RefusesTensorsThatTheArchitectureDoesNotHave) {
  for (const std::string name : {"blk.0.attn_output.bias", "blk.1.attn_q_norm.weight"}) {
    const Error error = load_error({.edit = [&](auto& file) {
      file.tensor(name, {64}, kGgufF32, std::string(64 * 4, '\0'));
    }});
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_EQ(error.param, name);
  }
}

TEST(ModelWeights, RefusesScalesThatAreNotFinite) {
  const auto with_block = [](std::uint32_t type, const std::string& block) {
    return TestModel{.skip = "blk.0.ffn_down.weight",
                     .edit = [=](weights::testing::GgufBuilder& file) {
                       std::string bytes;
                       for (int i = 0; i < 96 * 64 / 32; ++i) {
                         bytes += block;
                       }
                       file.tensor("blk.0.ffn_down.weight", {96, 64}, type, bytes);
                     }};
  };
  const std::string infinity("\x00\x7C", 2);
  EXPECT_EQ(load_error(with_block(kGgufQ4_0, infinity + std::string(16, 'a'))).code,
            ErrorCode::kDataLoss);
  EXPECT_EQ(
      load_error(with_block(kGgufQ4_1, std::string(2, '\0') + infinity + std::string(16, 'a')))
          .code,
      ErrorCode::kDataLoss);
  EXPECT_EQ(load_error(with_block(kGgufQ8_0, infinity + std::string(32, 'a'))).code,
            ErrorCode::kDataLoss);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::string floats;
  for (int i = 0; i < 32; ++i) {
    floats += weights::testing::raw(nan);
  }
  EXPECT_EQ(load_error(with_block(kGgufF32, floats)).code, ErrorCode::kDataLoss);
}

}  // namespace
}  // namespace genesis::model
