// A small random model as a GGUF file in memory, for the tests of this room: a Llama, or what
// `architecture` names. Every number that a test wants to lie about can be set before build().
#pragma once

#include "base/check.h"
#include "base/random.h"
#include "weights/tensor_file.h"
#include "weights/test_files.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace genesis::model {

// GGUF type numbers (ggml.h).
inline constexpr std::uint32_t kGgufF32 = 0;
inline constexpr std::uint32_t kGgufF16 = 1;
inline constexpr std::uint32_t kGgufQ4_0 = 2;
inline constexpr std::uint32_t kGgufQ4_1 = 3;
inline constexpr std::uint32_t kGgufQ8_0 = 8;

struct TestModel {
  std::uint64_t seed = 1;
  std::uint32_t layers = 2;
  std::uint32_t declared_layers = 0;  // what the metadata says; 0 = the truth
  std::uint32_t hidden = 64;
  std::uint32_t heads = 6;
  std::uint32_t kv_heads = 2;
  std::uint32_t head_dim = 32;
  std::uint32_t mlp = 96;
  std::uint32_t vocab = 101;  // not a multiple of a panel
  std::uint32_t context = 2048;
  std::string architecture = "llama";
  bool tied = false;
  bool biases = false;
  std::uint32_t window = 0;      // 0 = not told
  std::uint32_t windowless = 0;  // each how many-th layer has no window; 0 = not told
  float attention_cap = 0.0F;    // 0 = not told
  float logit_cap = 0.0F;
  std::string skip;  // name of a tensor to leave out
  // Overrides the type of a tensor; default: a mix of all packed forms.
  std::function<std::uint32_t(const std::string& name)> type_of;
  // Last word on the file before it is built.
  std::function<void(weights::testing::GgufBuilder&)> edit;

  std::string build() const {
    weights::testing::GgufBuilder file;
    const auto number = [&](const char* key, std::uint32_t value) {
      file.put_number(architecture + "." + key, 4, value);
    };
    file.put_string("general.architecture", architecture);
    file.put_string("general.name", "test");
    number("block_count", declared_layers > 0 ? declared_layers : layers);
    number("embedding_length", hidden);
    number("feed_forward_length", mlp);
    number("attention.head_count", heads);
    number("attention.head_count_kv", kv_heads);
    number("attention.key_length", head_dim);
    number("attention.value_length", head_dim);
    number("rope.dimension_count", head_dim);
    number("context_length", context);
    file.put_number(architecture + ".attention.layer_norm_rms_epsilon", 6, 1e-5F);
    file.put_number(architecture + ".rope.freq_base", 6, 10000.0F);
    if (window > 0) {
      number("attention.sliding_window", window);
    }
    if (windowless > 0) {
      number("attention.sliding_window_pattern", windowless);
    }
    if (attention_cap > 0.0F) {
      file.put_number(architecture + ".attn_logit_softcapping", 6, attention_cap);
      file.put_number(architecture + ".final_logit_softcapping", 6, logit_cap);
    }
    Random random(seed);
    add(file, random, "token_embd.weight", hidden, vocab);
    if (!tied) {
      add(file, random, "output.weight", hidden, vocab);
    }
    add(file, random, "output_norm.weight", hidden, 0);
    for (std::uint32_t i = 0; i < layers; ++i) {
      add_layer(file, random, "blk." + std::to_string(i) + ".");
    }
    if (edit) {
      edit(file);
    }
    return file.build();
  }

 private:
  void add_layer(weights::testing::GgufBuilder& file,
                 Random& random,
                 const std::string& prefix) const {
    add(file, random, prefix + "attn_norm.weight", hidden, 0);
    if (architecture == "phi3") {
      add(file, random, prefix + "attn_qkv.weight", hidden, (heads + 2 * kv_heads) * head_dim);
    } else {
      add(file, random, prefix + "attn_q.weight", hidden, heads * head_dim);
      add(file, random, prefix + "attn_k.weight", hidden, kv_heads * head_dim);
      add(file, random, prefix + "attn_v.weight", hidden, kv_heads * head_dim);
    }
    if (architecture == "qwen3" || architecture == "gemma3") {
      add(file, random, prefix + "attn_q_norm.weight", head_dim, 0);
      add(file, random, prefix + "attn_k_norm.weight", head_dim, 0);
    }
    if (architecture.starts_with("gemma")) {
      add(file, random, prefix + "post_attention_norm.weight", hidden, 0);
      add(file, random, prefix + "post_ffw_norm.weight", hidden, 0);
    }
    add(file, random, prefix + "attn_output.weight", heads * head_dim, hidden);
    add(file, random, prefix + "ffn_norm.weight", hidden, 0);
    if (architecture == "phi3") {
      add(file, random, prefix + "ffn_up.weight", hidden, 2 * mlp);
    } else {
      add(file, random, prefix + "ffn_gate.weight", hidden, mlp);
      add(file, random, prefix + "ffn_up.weight", hidden, mlp);
    }
    add(file, random, prefix + "ffn_down.weight", mlp, hidden);
    if (biases) {
      add(file, random, prefix + "attn_q.bias", heads * head_dim, 0);
      add(file, random, prefix + "attn_k.bias", kv_heads * head_dim, 0);
      add(file, random, prefix + "attn_v.bias", kv_heads * head_dim, 0);
    }
  }

  std::uint32_t default_type(const std::string& name) const {
    if (name == "token_embd.weight" || name.ends_with("ffn_up.weight")) {
      return kGgufQ8_0;
    }
    if (name.ends_with("attn_v.weight")) {
      return kGgufF16;
    }
    if (name.ends_with("attn_output.weight")) {
      return kGgufQ4_0;
    }
    return kGgufQ4_1;
  }

  // `outputs` 0 makes a vector of floats.
  void add(weights::testing::GgufBuilder& file,
           Random& random,
           const std::string& name,
           std::uint32_t inputs,
           std::uint32_t outputs) const {
    if (name == skip) {
      return;
    }
    if (outputs == 0) {
      std::string bytes;
      const float centre = name.ends_with(".bias") ? 0.0F : 1.0F;
      for (std::uint32_t i = 0; i < inputs; ++i) {
        bytes +=
            weights::testing::raw(centre + 0.2F * (static_cast<float>(random.uniform()) - 0.5F));
      }
      file.tensor(name, {inputs}, kGgufF32, bytes);
      return;
    }
    const std::uint32_t type = type_of ? type_of(name) : default_type(name);
    std::string bytes;
    for (std::uint64_t block = 0; block < std::uint64_t{inputs} * outputs / 32; ++block) {
      bytes += random_block(type, random);
    }
    file.tensor(name, {inputs, outputs}, type, bytes);
  }

  // 32 values within about +-0.25.
  static std::string random_block(std::uint32_t type, Random& random) {
    using weights::float_to_half;
    using weights::testing::raw;
    std::string out;
    const float size = 0.25F * (0.5F + static_cast<float>(random.uniform()));
    if (type == kGgufF32 || type == kGgufF16) {
      for (int i = 0; i < 32; ++i) {
        const float v = size * (2.0F * static_cast<float>(random.uniform()) - 1.0F);
        out += type == kGgufF32 ? raw(v) : raw(float_to_half(v));
      }
      return out;
    }
    const float steps = type == kGgufQ8_0 ? 127.0F : 7.5F;
    out += raw(float_to_half(size / steps));
    if (type == kGgufQ4_1) {
      out += raw(float_to_half(-size));
    }
    for (int i = 0; i < (type == kGgufQ8_0 ? 32 : 16); ++i) {
      const std::uint64_t any = random.below(256);
      out += static_cast<char>(type == kGgufQ8_0 && any == 128 ? 0 : any);
    }
    return out;
  }
};

// One of each way in which families differ. Windows end within a page, within a split and beyond
// one.
inline std::vector<TestModel> family_models() {
  return {
      {.architecture = "qwen2", .biases = true},
      {.head_dim = 64, .architecture = "qwen3"},
      {.architecture = "llama", .window = 45},
      {.layers = 3,
       .heads = 4,
       .architecture = "gemma2",
       .tied = true,
       .window = 70,
       .attention_cap = 1.5F,
       .logit_cap = 2.0F},
      {.layers = 3,
       .heads = 4,
       .kv_heads = 1,
       .head_dim = 256,
       .architecture = "gemma3",
       .tied = true,
       .window = 40,
       .windowless = 3},
      {.architecture = "phi3", .window = 270},
  };
}

// The bytes and the file opened over them.
struct OpenedModel {
  std::string bytes;
  std::shared_ptr<const weights::TensorFile> file;
};

inline std::unique_ptr<OpenedModel> open_test_model(const TestModel& model) {
  auto opened = std::make_unique<OpenedModel>();
  opened->bytes = model.build();
  auto file = weights::TensorFile::from_bytes(weights::testing::as_bytes(opened->bytes));
  GENESIS_CHECK(file.has_value());
  opened->file = *file;
  return opened;
}

}  // namespace genesis::model
