// Model families: what all models of an architecture have in common, one row of a table each. What
// differs between models of a family is read from their files (gguf_spec.h, hf_spec.h).
#pragma once

#include "model/model_spec.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::model {

// Which layers use the window of a model that has one.
enum class WindowRule : std::uint8_t {
  kAll,
  kFromLayer,  // max_window_layers of config.json and above
  kAllButNth,  // all but each n-th
};

// Defaults are those of transformers' configuration class, or of llama.cpp where only it has one.
struct Family {
  std::string_view gguf;          // general.architecture
  std::string_view hugging_face;  // model_type
  RotaryPairs gguf_pairs = RotaryPairs::kHalves;
  Activation activation = Activation::kSilu;
  std::string_view activation_field = "hidden_act";
  bool attention_bias = false;
  bool qk_norm = false;
  bool post_norms = false;
  bool zero_centred_norms = false;  // in safetensors; GGUF stores norm weights as they are applied
  bool scaled_embedding = false;    // by sqrt(hidden)
  bool fused = false;
  bool tied_head = false;         // unless config.json says otherwise
  std::int32_t head_dim = 0;      // unless told; 0 = hidden / heads
  std::int32_t query_scalar = 0;  // scores are divided by its root unless told; 0 = head_dim
  std::int32_t wide_layers = 0;   // GGUF models of so many layers divide by sqrt(hidden / heads)
  std::int32_t window = 0;        // unless told
  WindowRule window_rule = WindowRule::kAll;
  std::int32_t window_nth = 0;     // kAllButNth, unless told
  double rotary_base = 10000.0;    // unless told
  double local_rotary_base = 0.0;  // unless told
  float attention_softcap = 0.0F;  // unless told
  float logit_softcap = 0.0F;      // unless told
};

// Null when there is none.
const Family* family_of_gguf(std::string_view architecture);
const Family* family_of_hugging_face(std::string_view model_type);

// "a, b, c": for messages.
std::string gguf_families();
std::string hugging_face_families();

// Fills what follows from the family and the sizes that are already in `spec`.
void apply_family(const Family& family, ModelSpec& spec);

// Marks the layers with a window. `number`: max_window_layers, or each how many-th layer has none.
void set_window(ModelSpec& spec, std::int32_t window, WindowRule rule, std::int32_t number);

}  // namespace genesis::model
