// ModelSpec: a model architecture as data. Mappings (gguf_spec.h, hf_spec.h) fill it from a file's
// own description; the executor reads nothing else about a model.
//
// Executed: pre-norm decoder blocks with RMSNorm, rotary positions, grouped-query attention and a
// gated SiLU MLP (Llama, Llama 2/3, SmolLM2, Mistral, TinyLlama, Falcon3 and their fine-tunes).
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace genesis::model {

// How the stored query and key rows pair up for rotation. The executor always rotates halves: rows
// of the adjacent form are reordered once, when weights are packed.
enum class RotaryPairs : std::uint8_t {
  kHalves,    // (i, i + n/2): Hugging Face checkpoints
  kAdjacent,  // (2i, 2i + 1): GGUF files of architecture "llama"
};

// Whose tensor names a weights file uses.
enum class TensorNaming : std::uint8_t { kGguf, kHuggingFace };

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
  std::int32_t max_context = 0;  // tokens; already cut to a sliding window if the model has one

  float norm_eps = 1e-5F;
  RotaryPairs rotary_pairs = RotaryPairs::kHalves;
  std::int32_t rotary_dim = 0;  // leading part of each head that is rotated
  double rotary_base = 10000.0;
  // Each inverse frequency is divided by its factor (Llama 3.1's scaling, linear scaling); empty
  // = 1.
  std::vector<float> rotary_factors;

  bool tied_head = false;       // the embedding table is also the output head
  bool attention_bias = false;  // q, k and v have biases

  std::int32_t group() const { return heads / kv_heads; }  // query heads per KV head

  std::int32_t query_size() const { return heads * head_dim; }

  std::int32_t kv_size() const { return kv_heads * head_dim; }
};

// Ranges, divisibility and what the kernels need. kDataLoss for impossible numbers, kUnsupported
// for possible ones that this executor cannot run; both name the field.
Result<void> check_spec(const ModelSpec& spec);

}  // namespace genesis::model
