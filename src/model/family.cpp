// The table of families and what follows from a row.
#include "model/family.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace genesis::model {
namespace {

// Llama 1 to 3.3, SmolLM2, TinyLlama, Falcon3. llama.cpp's converter reorders their q and k rows
// into adjacent pairs; it calls Mistral's models llama too.
constexpr Family kLlama{
    .gguf = "llama", .hugging_face = "llama", .gguf_pairs = RotaryPairs::kAdjacent};

constexpr Family kMistral{
    .gguf = "", .hugging_face = "mistral", .gguf_pairs = RotaryPairs::kAdjacent, .window = 4096};

// Qwen2, Qwen2.5 and DeepSeek-R1's distillates of them.
constexpr Family kQwen2{.gguf = "qwen2",
                        .hugging_face = "qwen2",
                        .attention_bias = true,
                        .window = 4096,
                        .window_rule = WindowRule::kFromLayer};

constexpr Family kQwen3{.gguf = "qwen3",
                        .hugging_face = "qwen3",
                        .qk_norm = true,
                        .head_dim = 128,
                        .window = 4096,
                        .window_rule = WindowRule::kFromLayer};

// The 27B model, of 46 layers, divides by sqrt(hidden / heads) = 12.
constexpr Family kGemma2{.gguf = "gemma2",
                         .hugging_face = "gemma2",
                         .activation = Activation::kGeluTanh,
                         .activation_field = "hidden_activation",
                         .post_norms = true,
                         .zero_centred_norms = true,
                         .scaled_embedding = true,
                         .tied_head = true,
                         .head_dim = 256,
                         .query_scalar = 256,
                         .wide_layers = 46,
                         .window = 4096,
                         .window_rule = WindowRule::kAllButNth,
                         .window_nth = 2,
                         .attention_softcap = 50.0F,
                         .logit_softcap = 30.0F};

// Text models (270M, 1B) and GGUF files of all sizes.
constexpr Family kGemma3{.gguf = "gemma3",
                         .hugging_face = "gemma3_text",
                         .activation = Activation::kGeluTanh,
                         .activation_field = "hidden_activation",
                         .qk_norm = true,
                         .post_norms = true,
                         .zero_centred_norms = true,
                         .scaled_embedding = true,
                         .tied_head = true,
                         .head_dim = 256,
                         .query_scalar = 256,
                         .wide_layers = 62,
                         .window = 4096,
                         .window_rule = WindowRule::kAllButNth,
                         .window_nth = 6,
                         .rotary_base = 1e6,
                         .local_rotary_base = 10000.0};

// Phi-3, Phi-3.5 and Phi-4.
constexpr Family kPhi3{.gguf = "phi3", .hugging_face = "phi3", .fused = true};

constexpr std::array kFamilies{kLlama, kMistral, kQwen2, kQwen3, kGemma2, kGemma3, kPhi3};

const Family* find(std::string_view name, std::string_view Family::* column) {
  const auto* found = std::ranges::find(kFamilies, name, column);
  return name.empty() || found == kFamilies.end() ? nullptr : found;
}

std::string joined(std::string_view Family::* column) {
  std::vector<std::string_view> names;
  for (const Family& family : kFamilies) {
    if (!(family.*column).empty()) {
      names.push_back(family.*column);
    }
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

const Family* family_of_gguf(std::string_view architecture) {
  return find(architecture, &Family::gguf);
}

const Family* family_of_hugging_face(std::string_view model_type) {
  return find(model_type, &Family::hugging_face);
}

std::string gguf_families() {
  return joined(&Family::gguf);
}

std::string hugging_face_families() {
  return joined(&Family::hugging_face);
}

void apply_family(const Family& family, ModelSpec& spec) {
  spec.activation = family.activation;
  spec.qk_norm = family.qk_norm;
  spec.post_norms = family.post_norms;
  spec.fused = family.fused;
  if (family.zero_centred_norms && spec.naming == TensorNaming::kHuggingFace) {
    spec.norm_offset = 1.0F;
  }
  if (family.scaled_embedding) {
    spec.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(spec.hidden)));
  }
}

void set_window(ModelSpec& spec, std::int32_t window, WindowRule rule, std::int32_t number) {
  spec.window = window;
  spec.window_layers.clear();
  if (window <= 0 || rule == WindowRule::kAll) {
    return;
  }
  for (std::int32_t i = 0; i < std::clamp(spec.layers, 0, kMaxLayers); ++i) {
    spec.window_layers.push_back(
        rule == WindowRule::kFromLayer ? i >= number : (i + 1) % std::max(number, 1) != 0);
  }
}

}  // namespace genesis::model
