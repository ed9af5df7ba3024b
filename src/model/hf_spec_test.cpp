// config.json: what it may say, and a safetensors model that equals its GGUF twin.
#include "model/hf_spec.h"

#include "model/executor.h"
#include "model/gguf_spec.h"
#include "model/reference_forward.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace genesis::model {
namespace {

using weights::testing::raw;

constexpr std::string_view kConfig = R"({"model_type": "llama", "num_hidden_layers": 2,
  "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2,
  "head_dim": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0%EXTRA%})";

std::string config(std::string_view extra = "") {
  std::string text(kConfig);
  return text.replace(text.find("%EXTRA%"), 7, extra);
}

std::string replaced(std::string name, std::string_view from, std::string_view to) {
  if (const std::size_t at = name.find(from); at != std::string::npos) {
    name.replace(at, from.size(), to);
  }
  return name;
}

std::string hugging_face_name(std::string name) {
  constexpr std::pair<std::string_view, std::string_view> kPairs[] = {
      {"token_embd", "model.embed_tokens"},
      {"output_norm", "model.norm"},
      {"attn_output", "self_attn.o_proj"},
      {"attn_norm", "input_layernorm"},
      {"attn_q", "self_attn.q_proj"},
      {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},
      {"ffn_norm", "post_attention_layernorm"},
      {"ffn_gate", "mlp.gate_proj"},
      {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"},
      {"blk.", "model.layers."}};
  if (name == "output.weight") {
    return "lm_head.weight";
  }
  for (const auto& [from, to] : kPairs) {
    name = replaced(std::move(name), from, to);
  }
  return name;
}

// Row of the stored q or k in halves order for row `n` of GGUF's adjacent order, heads of 32.
std::size_t stored_row(std::size_t n) {
  const std::size_t inside = n % 32;
  return n - inside + inside / 2 + (inside % 2) * 16;
}

// The same weights under the other naming and row order.
std::string as_safetensors(const weights::TensorFile& gguf) {
  std::string header = "{";
  std::string data;
  for (const weights::TensorView& tensor : gguf.tensors()) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    GENESIS_CHECK(weights::dequantize(tensor.type, tensor.data, values).has_value());
    const bool turned = tensor.name.find("attn_q.weight") != std::string::npos ||
                        tensor.name.find("attn_k.weight") != std::string::npos;
    const auto inputs = static_cast<std::size_t>(tensor.shape.back());
    std::vector<float> out(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t row = turned ? stored_row(i / inputs) : i / inputs;
      out[row * inputs + i % inputs] = values[i];
    }
    std::string shape;
    for (const std::int64_t extent : tensor.shape) {
      shape += (shape.empty() ? "" : ",") + std::to_string(extent);
    }
    header += (header.size() > 1 ? "," : "") + ("\"" + hugging_face_name(tensor.name)) +
              R"(":{"dtype":"F32","shape":[)" + shape + "],\"data_offsets\":[" +
              std::to_string(data.size()) + ",";
    for (const float v : out) {
      data += raw(v);
    }
    header += std::to_string(data.size()) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return weights::testing::safetensors_file(header, data);
}

struct Twin {
  std::unique_ptr<OpenedModel> gguf = open_test_model({});
  std::string bytes = as_safetensors(*gguf->file);
  std::shared_ptr<const weights::TensorFile> file =
      weights::TensorFile::from_bytes(weights::testing::as_bytes(bytes)).value();
};

std::vector<float> logits_of(const weights::TensorFile& file, const ModelSpec& spec) {
  const std::vector<std::int32_t> ids{5, 17, 99, 3, 3, 42, 0, 100};
  const std::vector<std::int32_t> pages{1};
  auto model = CpuExecutor::create(
      file, spec, {.precision = Precision::kFp32, .threads = 1, .kv_bytes = 1 << 20});
  GENESIS_CHECK(model.has_value());
  std::vector<float> logits(ids.size() * 101);
  const engine::SequenceStep step{ids, 0, pages, static_cast<std::int32_t>(ids.size())};
  GENESIS_CHECK((*model)->run({&step, 1}, logits).has_value());
  return logits;
}

TEST(HfSpec, ASafetensorsModelEqualsItsGgufTwin) {
  const Twin twin;
  const Result<ModelSpec> spec = spec_from_config(config(), *twin.file);
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->vocab, 101);
  EXPECT_FALSE(spec->tied_head);
  EXPECT_EQ(logits_of(*twin.file, *spec),
            logits_of(*twin.gguf->file, *spec_from_gguf(*twin.gguf->file)));
}

TEST(HfSpec, ReadsRotaryScaling) {
  const Twin twin;
  const auto linear = spec_from_config(
      config(R"(, "rope_scaling": {"type": "linear", "factor": 4.0})"), *twin.file);
  ASSERT_TRUE(linear) << linear.error().message;
  EXPECT_EQ(linear->rotary_factors, std::vector<float>(16, 4.0F));
  // Expected values by transformers 4.57's _compute_llama3_parameters for head size 32, base 10000.
  const auto llama3 = spec_from_config(
      config(R"(, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                 "high_freq_factor": 4.0, "original_max_position_embeddings": 256})"),
      *twin.file);
  ASSERT_TRUE(llama3) << llama3.error().message;
  EXPECT_EQ(llama3->rotary_factors.front(), 1.0F);
  EXPECT_EQ(llama3->rotary_factors.back(), 8.0F);
  EXPECT_NEAR(llama3->rotary_factors[5], 1.99364F, 1e-3F);
}

TEST(HfSpec, NamesWhatItCannotRun) {
  const Twin twin;
  const auto code_of = [&](const std::string& text) {
    const auto spec = spec_from_config(text, *twin.file);
    return spec ? ErrorCode::kInternal : spec.error().code;
  };
  EXPECT_EQ(code_of(replaced(config(), "\"llama\"", "\"mamba\"")), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(config(R"(, "hidden_act": "gelu")")), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(config(R"(, "mlp_bias": true)")), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(config(R"(, "quantization_config": {})")), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(config(R"(, "rope_scaling": {"type": "dynamic"})")), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(config(R"(, "rope_scaling": {"type": "yarn"})")), ErrorCode::kDataLoss);
  EXPECT_EQ(code_of(config(R"(, "rope_scaling": {"type": "longrope"})")), ErrorCode::kDataLoss);
  EXPECT_EQ(code_of(config(R"(, "partial_rotary_factor": 1.5)")), ErrorCode::kDataLoss);
  EXPECT_EQ(code_of(config(R"(, "attn_logit_softcapping": 30.0)")), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(replaced(config(), "\"num_attention_heads\": 6", "\"num_attention_heads\": 5")),
            ErrorCode::kDataLoss);
  EXPECT_EQ(code_of(replaced(config(), "\"hidden_size\": 64", "\"hidden_size\": -64")),
            ErrorCode::kDataLoss);
  EXPECT_EQ(code_of(replaced(config(), "\"hidden_size\": 64, ", "")), ErrorCode::kDataLoss);
  EXPECT_NE(code_of("[]"), ErrorCode::kInternal);
  EXPECT_NE(code_of("{"), ErrorCode::kInternal);
}

}  // namespace
}  // namespace genesis::model
