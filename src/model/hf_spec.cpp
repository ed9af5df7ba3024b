// config.json -> ModelSpec.
#include "model/hf_spec.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <string>

namespace genesis::model {
namespace {

using boost::json::object;

std::unexpected<Error> bad(std::string_view field, std::string message) {
  return fail_param(std::string(field), "config.json: " + message, ErrorCode::kDataLoss);
}

std::unexpected<Error> unsupported(std::string_view field, std::string message) {
  return fail_param(std::string(field), "config.json: " + message, ErrorCode::kUnsupported);
}

Result<std::int32_t> integer(const object& config,
                             std::string_view key,
                             std::optional<std::int32_t> otherwise = {}) {
  GENESIS_TRY(const std::optional<std::int64_t> value, get_integer(config, key));
  if (!value && otherwise) {
    return *otherwise;
  }
  if (!value || *value < 0 || *value > std::numeric_limits<std::int32_t>::max()) {
    return bad(key, fmt::format("{} is missing or out of range", key));
  }
  return static_cast<std::int32_t>(*value);
}

// Llama 3.1's scaling (transformers' _compute_llama3_parameters): long waves are stretched by
// `factor`, short ones kept, those between blended.
Result<void> llama3_factors(const object& rope, ModelSpec& spec) {
  GENESIS_TRY(const std::optional<double> factor, get_number(rope, "factor"));
  GENESIS_TRY(const std::optional<double> low, get_number(rope, "low_freq_factor"));
  GENESIS_TRY(const std::optional<double> high, get_number(rope, "high_freq_factor"));
  GENESIS_TRY(const std::optional<double> old,
              get_number(rope, "original_max_position_embeddings"));
  if (!factor || !low || !high || !old || !(*factor > 0) || !(*high > *low) || !(*low > 0)) {
    return bad("rope_scaling", "the llama3 rope_scaling lacks a factor or has an impossible one");
  }
  for (std::int32_t i = 0; i < std::clamp(spec.rotary_dim / 2, 0, 512); ++i) {
    const double inverse = std::pow(spec.rotary_base, -2.0 * i / spec.rotary_dim);
    const double waves = *old * inverse / (2.0 * std::numbers::pi);  // over the original context
    const double keep = std::clamp((waves - *low) / (*high - *low), 0.0, 1.0);
    spec.rotary_factors.push_back(static_cast<float>(1.0 / (keep + (1.0 - keep) / *factor)));
  }
  return {};
}

Result<void> read_rotary(const object& config, ModelSpec& spec) {
  spec.rotary_pairs = RotaryPairs::kHalves;
  spec.rotary_dim = spec.head_dim;
  const auto find_object = [&](std::string_view key) -> const object* {
    const boost::json::value* found = config.if_contains(key);
    return found != nullptr ? found->if_object() : nullptr;
  };
  const object* rope = find_object("rope_parameters");  // transformers 5
  rope = rope != nullptr ? rope : find_object("rope_scaling");
  GENESIS_TRY(std::optional<double> base, get_number(config, "rope_theta"));
  if (rope == nullptr) {
    spec.rotary_base = base.value_or(10000.0);
    return {};
  }
  if (!base) {
    GENESIS_TRY(base, get_number(*rope, "rope_theta"));
  }
  spec.rotary_base = base.value_or(10000.0);
  GENESIS_TRY(std::optional<std::string> type, get_string(*rope, "rope_type"));
  if (!type) {
    GENESIS_TRY(type, get_string(*rope, "type"));
  }
  if (!type || *type == "default") {
    return {};
  }
  if (*type == "llama3") {
    return llama3_factors(*rope, spec);
  }
  if (*type != "linear") {
    return unsupported("rope_scaling",
                       fmt::format("rotary scaling '{}' is not supported yet", *type));
  }
  GENESIS_TRY(const std::optional<double> factor, get_number(*rope, "factor"));
  spec.rotary_factors.assign(static_cast<std::size_t>(std::clamp(spec.rotary_dim / 2, 0, 512)),
                             static_cast<float>(factor.value_or(1.0)));
  return {};
}

Result<void> check_variant(const object& config) {
  GENESIS_TRY(const std::optional<std::string> act, get_string(config, "hidden_act"));
  if (act && *act != "silu" && *act != "swish") {
    return unsupported("hidden_act", fmt::format("activation '{}' is not supported yet", *act));
  }
  GENESIS_TRY(const std::optional<bool> mlp_bias, get_bool(config, "mlp_bias"));
  if (mlp_bias.value_or(false)) {
    return unsupported("mlp_bias", "biases in the MLP are not supported yet");
  }
  if (const auto* found = config.if_contains("quantization_config"); found != nullptr) {
    // The reader of safetensors joins NF4 tensors; what it does not know is no weight to us.
    const object* quantization = found->if_object();
    if (quantization == nullptr || !quantization->contains("bnb_4bit_quant_type")) {
      return unsupported("quantization_config",
                         "of quantized safetensors only bitsandbytes NF4 is supported");
    }
  }
  return {};
}

Result<void> read_tensors(const weights::TensorFile& file, ModelSpec& spec) {
  const weights::TensorView* table = file.find("model.embed_tokens.weight");
  if (table == nullptr || table->shape.size() != 2 ||
      table->shape[0] > std::numeric_limits<std::int32_t>::max()) {
    return fail_param("model.embed_tokens.weight",
                      "tensor model.embed_tokens.weight is missing or not a table",
                      ErrorCode::kDataLoss);
  }
  spec.vocab = static_cast<std::int32_t>(table->shape[0]);
  spec.tied_head = file.find("lm_head.weight") == nullptr;
  spec.attention_bias = file.find("model.layers.0.self_attn.q_proj.bias") != nullptr;
  if (file.find("model.layers.0.self_attn.o_proj.bias") != nullptr) {
    return fail_param("attention_bias",
                      "a bias of the output projection is not supported yet",
                      ErrorCode::kUnsupported);
  }
  return {};
}

}  // namespace

Result<ModelSpec> spec_from_config(std::string_view config_json, const weights::TensorFile& file) {
  GENESIS_TRY(const boost::json::value document, parse_json(config_json));
  const object* config = document.if_object();
  if (config == nullptr) {
    return bad("", "not a JSON object");
  }
  ModelSpec spec;
  spec.naming = TensorNaming::kHuggingFace;
  GENESIS_TRY(const std::optional<std::string> type, get_string(*config, "model_type"));
  spec.architecture = type.value_or("");
  spec.name = spec.architecture;
  if (spec.architecture != "llama" && spec.architecture != "mistral") {
    return unsupported("model_type",
                       fmt::format("model type '{}' is not supported; supported: llama, "
                                   "mistral",
                                   spec.architecture));
  }
  GENESIS_TRY_VOID(check_variant(*config));
  GENESIS_TRY(spec.layers, integer(*config, "num_hidden_layers"));
  GENESIS_TRY(spec.hidden, integer(*config, "hidden_size"));
  GENESIS_TRY(spec.mlp, integer(*config, "intermediate_size"));
  GENESIS_TRY(spec.heads, integer(*config, "num_attention_heads"));
  GENESIS_TRY(spec.kv_heads, integer(*config, "num_key_value_heads", spec.heads));
  GENESIS_TRY(spec.head_dim, integer(*config, "head_dim", spec.hidden / std::max(spec.heads, 1)));
  GENESIS_TRY(spec.max_context, integer(*config, "max_position_embeddings", 2048));
  GENESIS_TRY(const std::int32_t window, integer(*config, "sliding_window", 0));
  // Inside the window sliding and full attention are the same; beyond it is not offered.
  spec.max_context = window > 0 ? std::min(spec.max_context, window) : spec.max_context;
  GENESIS_TRY(const std::optional<double> eps, get_number(*config, "rms_norm_eps"));
  spec.norm_eps = static_cast<float>(eps.value_or(1e-6));
  GENESIS_TRY_VOID(read_rotary(*config, spec));
  GENESIS_TRY_VOID(read_tensors(file, spec));
  GENESIS_TRY_VOID(check_spec(spec));
  return spec;
}

}  // namespace genesis::model
