// ModelSpec: a model architecture as data. Mappings (gguf_spec.h, hf_spec.h) fill it from a file's
// own description; the executor reads nothing else about a model.
//
// Executed: pre-norm decoder blocks with RMSNorm, rotary positions, grouped-query attention and a
// gated MLP, with the options below. family.cpp lists the architectures that this covers.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace genesis::model {

inline constexpr std::int32_t kMaxLayers = 1024;

// How the stored query and key rows pair up for rotation. The executor always rotates halves: rows
// of the adjacent form are reordered once, when weights are packed.
enum class RotaryPairs : std::uint8_t {
  kHalves,    // (i, i + n/2): Hugging Face checkpoints
  kAdjacent,  // (2i, 2i + 1): GGUF files of architecture "llama"
};

// Whose tensor names a weights file uses.
enum class TensorNaming : std::uint8_t { kGguf, kHuggingFace };

// What the MLP does to its gate.
enum class Activation : std::uint8_t { kSilu, kGeluTanh };

struct ModelSpec {
  std::string name;
  std::string architecture;  // as the file calls it, for messages
  TensorNaming naming = TensorNaming::kGguf;

  std::int32_t layers = 0;
  std::int32_t hidden = 0;
  std::int32_t heads = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t mlp = 0;  // inner size of the MLP
  std::int32_t vocab = 0;
  std::int32_t max_context = 0;  // tokens

  float norm_eps = 1e-5F;
  float norm_offset = 0.0F;  // added to stored norm weights: 1 where they are stored around zero
  bool post_norms = false;   // what attention and MLP give is normed before it joins the residual
  bool qk_norm = false;      // each head of q and k is normed before rotation

  RotaryPairs rotary_pairs = RotaryPairs::kHalves;
  std::int32_t rotary_dim = 0;  // leading part of each head that is rotated
  double rotary_base = 10000.0;
  // Each inverse frequency is divided by its factor (rotary_scaling.h); empty = 1.
  std::vector<float> rotary_factors;
  // These instead when more than rotary_original_context tokens are offered; empty = no others.
  std::vector<float> rotary_long_factors;
  std::int32_t rotary_original_context = 0;
  float rotary_amplitude = 1.0F;   // of cosines and sines
  double local_rotary_base = 0.0;  // of layers with a window, without factors; 0 = as the others

  std::int32_t window = 0;  // a token sees itself and window - 1 before it; 0 = everything before
  std::vector<bool> window_layers;  // which layers have the window; empty = all

  float attention_scale = 0.0F;    // of scores; 0 = 1 / sqrt(head_dim)
  float attention_softcap = 0.0F;  // scores become cap * tanh(score / cap); 0 = they stay
  float logit_softcap = 0.0F;      // likewise
  float embedding_scale = 1.0F;
  Activation activation = Activation::kSilu;

  bool tied_head = false;       // the embedding table is also the output head
  bool attention_bias = false;  // q, k and v have biases
  bool fused = false;           // q, k, v are stored as one matrix, and gate and up as another

  std::int32_t group() const { return heads / kv_heads; }  // query heads per KV head

  std::int32_t query_size() const { return heads * head_dim; }

  std::int32_t kv_size() const { return kv_heads * head_dim; }

  // The window of a layer; 0 = none.
  std::int32_t window_of(std::int32_t layer) const {
    const bool has = window_layers.empty() || window_layers[static_cast<std::size_t>(layer)];
    return has ? window : 0;
  }
};

// Ranges, divisibility and what the kernels need. kDataLoss for impossible numbers, kUnsupported
// for possible ones that this executor cannot run; both name the field.
Result<void> check_spec(const ModelSpec& spec);

}  // namespace genesis::model
