// config.json -> ModelSpec.
#include "model/hf_spec.h"

#include "base/json.h"
#include "model/family.h"
#include "model/rotary_scaling.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
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

Result<double> number(const object& config, std::string_view key, double otherwise) {
  GENESIS_TRY(const std::optional<double> value, get_number(config, key));
  return value.value_or(otherwise);
}

Result<bool> flag(const object& config, std::string_view key, bool otherwise) {
  GENESIS_TRY(const std::optional<bool> value, get_bool(config, key));
  return value.value_or(otherwise);
}

// A number that null switches off and that has a default when it is not there.
Result<float> cap(const object& config, std::string_view key, float otherwise) {
  const bool off = config.contains(key) && config.at(key).is_null();
  GENESIS_TRY(const double value, number(config, key, off ? 0.0 : double{otherwise}));
  return static_cast<float>(value);
}

Result<void> read_llama3(const object& rope, ModelSpec& spec) {
  GENESIS_TRY(const double factor, number(rope, "factor", 0.0));
  GENESIS_TRY(const double low, number(rope, "low_freq_factor", 0.0));
  GENESIS_TRY(const double high, number(rope, "high_freq_factor", 0.0));
  GENESIS_TRY(const double old, number(rope, "original_max_position_embeddings", 0.0));
  if (!(factor > 0) || !(high > low) || !(low > 0) || !(old > 0)) {
    return bad("rope_scaling", "the llama3 rope_scaling lacks a factor or has an impossible one");
  }
  spec.rotary_factors =
      llama3_factors(spec.rotary_base,
                     spec.rotary_dim,
                     {.factor = factor, .low = low, .high = high, .original_context = old});
  return {};
}

Result<void> read_yarn(const object& rope, ModelSpec& spec) {
  YarnScaling yarn;
  GENESIS_TRY(yarn.factor, number(rope, "factor", 0.0));
  GENESIS_TRY(yarn.beta_fast, number(rope, "beta_fast", 32.0));
  GENESIS_TRY(yarn.beta_slow, number(rope, "beta_slow", 1.0));
  GENESIS_TRY(yarn.original_context,
              number(rope, "original_max_position_embeddings", spec.max_context));
  GENESIS_TRY(yarn.whole_bounds, flag(rope, "truncate", true));
  GENESIS_TRY(const double weight, number(rope, "mscale", 0.0));
  GENESIS_TRY(const double all_weight, number(rope, "mscale_all_dim", 0.0));
  if (!(yarn.factor >= 1.0) || !(yarn.beta_slow > 0.0) || !(yarn.beta_fast > yarn.beta_slow) ||
      !(yarn.original_context >= 1.0)) {
    return bad("rope_scaling", "the yarn rope_scaling lacks a factor or has an impossible one");
  }
  spec.rotary_factors = yarn_factors(spec.rotary_base, spec.rotary_dim, yarn);
  const double usual =
      weight > 0.0 && all_weight > 0.0
          ? yarn_amplitude(yarn.factor, weight) / yarn_amplitude(yarn.factor, all_weight)
          : yarn_amplitude(yarn.factor);
  GENESIS_TRY(const double amplitude, number(rope, "attention_factor", usual));
  spec.rotary_amplitude = static_cast<float>(amplitude);
  return {};
}

Result<std::vector<float>> factor_list(const object& rope, std::string_view key) {
  const boost::json::value* list = rope.if_contains(key);
  std::vector<float> factors;
  if (list == nullptr || !list->is_array() || list->get_array().size() > 512) {
    return bad(key, fmt::format("{} must be a list of numbers", key));
  }
  for (const boost::json::value& factor : list->get_array()) {
    if (!factor.is_number()) {
      return bad(key, fmt::format("{} must be a list of numbers", key));
    }
    factors.push_back(factor.to_number<float>());
  }
  return factors;
}

Result<void> read_longrope(const object& config, const object& rope, ModelSpec& spec) {
  GENESIS_TRY(spec.rotary_factors, factor_list(rope, "short_factor"));
  GENESIS_TRY(spec.rotary_long_factors, factor_list(rope, "long_factor"));
  GENESIS_TRY(const std::int32_t inside,
              integer(rope, "original_max_position_embeddings", spec.max_context));
  GENESIS_TRY(spec.rotary_original_context,
              integer(config, "original_max_position_embeddings", inside));
  const double old = spec.rotary_original_context;
  if (old < 2) {
    return bad("original_max_position_embeddings", "the original context is missing or too small");
  }
  GENESIS_TRY(const double amplitude,
              number(rope, "attention_factor", longrope_amplitude(spec.max_context / old, old)));
  spec.rotary_amplitude = static_cast<float>(amplitude);
  return {};
}

Result<void> read_scaling(const object& config, const object& rope, ModelSpec& spec) {
  GENESIS_TRY(std::optional<std::string> type, get_string(rope, "rope_type"));
  if (!type) {
    GENESIS_TRY(type, get_string(rope, "type"));
  }
  if (!type || *type == "default") {
    return {};
  }
  if (*type == "llama3") {
    return read_llama3(rope, spec);
  }
  if (*type == "yarn") {
    return read_yarn(rope, spec);
  }
  if (*type == "longrope" || *type == "su") {  // its first name
    return read_longrope(config, rope, spec);
  }
  if (*type != "linear") {
    return unsupported("rope_scaling",
                       fmt::format("rotary scaling '{}' is not supported yet", *type));
  }
  GENESIS_TRY(const double factor, number(rope, "factor", 1.0));
  spec.rotary_factors.assign(static_cast<std::size_t>(std::clamp(spec.rotary_dim / 2, 0, 512)),
                             static_cast<float>(factor));
  return {};
}

Result<void> read_rotary(const object& config, const Family& family, ModelSpec& spec) {
  spec.rotary_pairs = RotaryPairs::kHalves;
  GENESIS_TRY(const double part, number(config, "partial_rotary_factor", 1.0));
  if (!(part > 0.0 && part <= 1.0)) {
    return bad("partial_rotary_factor", fmt::format("partial_rotary_factor is {}", part));
  }
  spec.rotary_dim = static_cast<std::int32_t>(spec.head_dim * part);
  const auto find_object = [&](std::string_view key) -> const object* {
    const boost::json::value* found = config.if_contains(key);
    return found != nullptr ? found->if_object() : nullptr;
  };
  const object* rope = find_object("rope_parameters");  // transformers 5
  rope = rope != nullptr ? rope : find_object("rope_scaling");
  GENESIS_TRY(std::optional<double> base, get_number(config, "rope_theta"));
  if (!base && rope != nullptr) {
    GENESIS_TRY(base, get_number(*rope, "rope_theta"));
  }
  spec.rotary_base = base.value_or(family.rotary_base);
  if (family.local_rotary_base > 0.0) {
    GENESIS_TRY(spec.local_rotary_base,
                number(config, "rope_local_base_freq", family.local_rotary_base));
  }
  return rope == nullptr ? Result<void>{} : read_scaling(config, *rope, spec);
}

// layer_types, where config.json lists them.
Result<void> read_layer_types(const object& config, ModelSpec& spec) {
  const boost::json::value* types = config.if_contains("layer_types");
  if (types == nullptr || types->is_null() || spec.window == 0) {
    return {};
  }
  if (!types->is_array() || std::ssize(types->get_array()) != spec.layers) {
    return bad("layer_types", fmt::format("layer_types must name {} layers", spec.layers));
  }
  spec.window_layers.clear();
  for (const boost::json::value& type : types->get_array()) {
    const bool sliding = type == "sliding_attention";
    if (!sliding && type != "full_attention") {
      return unsupported("layer_types", "a layer is neither sliding_attention nor full_attention");
    }
    spec.window_layers.push_back(sliding);
  }
  return {};
}

Result<void> read_window(const object& config, const Family& family, ModelSpec& spec) {
  const bool told = config.contains("sliding_window");
  GENESIS_TRY(std::int32_t window, integer(config, "sliding_window", told ? 0 : family.window));
  std::int32_t which = family.window_nth;
  if (family.window_rule == WindowRule::kFromLayer) {
    GENESIS_TRY(const bool used, flag(config, "use_sliding_window", false));
    window = used ? window : 0;
    GENESIS_TRY(which, integer(config, "max_window_layers", 28));
  } else if (family.window_rule == WindowRule::kAllButNth) {
    GENESIS_TRY(which, integer(config, "sliding_window_pattern", family.window_nth));
  }
  set_window(spec, window, family.window_rule, which);
  return family.window_rule == WindowRule::kAll ? Result<void>{} : read_layer_types(config, spec);
}

Result<void> read_attention(const object& config, const Family& family, ModelSpec& spec) {
  GENESIS_TRY_VOID(read_window(config, family, spec));
  GENESIS_TRY(spec.attention_softcap,
              cap(config, "attn_logit_softcapping", family.attention_softcap));
  GENESIS_TRY(spec.logit_softcap, cap(config, "final_logit_softcapping", family.logit_softcap));
  if (family.attention_softcap == 0.0F && spec.attention_softcap != 0.0F) {
    return unsupported("attn_logit_softcapping", "this model type has no soft-cap of attention");
  }
  if (family.query_scalar > 0) {
    GENESIS_TRY(const double scalar, number(config, "query_pre_attn_scalar", family.query_scalar));
    if (!(scalar > 0.0)) {
      return bad("query_pre_attn_scalar", fmt::format("query_pre_attn_scalar is {}", scalar));
    }
    spec.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  }
  return {};
}

Result<void> check_variant(const object& config, const Family& family) {
  GENESIS_TRY(const std::optional<std::string> act, get_string(config, family.activation_field));
  const bool silu = act && (*act == "silu" || *act == "swish");
  const bool gelu = act && *act == "gelu_pytorch_tanh";
  if (act && !(family.activation == Activation::kSilu ? silu : gelu)) {
    return unsupported(family.activation_field,
                       fmt::format("activation '{}' is not supported here yet", *act));
  }
  GENESIS_TRY(const bool mlp_bias, flag(config, "mlp_bias", false));
  if (mlp_bias) {
    return unsupported("mlp_bias", "biases in the MLP are not supported yet");
  }
  GENESIS_TRY(const bool both_ways, flag(config, "use_bidirectional_attention", false));
  if (both_ways) {
    return unsupported("use_bidirectional_attention", "only causal attention is supported");
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

Result<ModelSpec> read_config(const object& config) {
  ModelSpec spec;
  spec.naming = TensorNaming::kHuggingFace;
  GENESIS_TRY(const std::optional<std::string> type, get_string(config, "model_type"));
  spec.architecture = type.value_or("");
  spec.name = spec.architecture;
  const Family* family = family_of_hugging_face(spec.architecture);
  if (family == nullptr) {
    return unsupported("model_type",
                       fmt::format("model type '{}' is not supported; supported: {}",
                                   spec.architecture,
                                   hugging_face_families()));
  }
  GENESIS_TRY_VOID(check_variant(config, *family));
  GENESIS_TRY(spec.layers, integer(config, "num_hidden_layers"));
  GENESIS_TRY(spec.hidden, integer(config, "hidden_size"));
  GENESIS_TRY(spec.mlp, integer(config, "intermediate_size"));
  GENESIS_TRY(spec.heads, integer(config, "num_attention_heads"));
  GENESIS_TRY(spec.kv_heads, integer(config, "num_key_value_heads", spec.heads));
  const std::int32_t head =
      family->head_dim > 0 ? family->head_dim : spec.hidden / std::max(spec.heads, 1);
  GENESIS_TRY(spec.head_dim, integer(config, "head_dim", head));
  GENESIS_TRY(spec.max_context, integer(config, "max_position_embeddings", 2048));
  GENESIS_TRY(const double eps, number(config, "rms_norm_eps", 1e-6));
  spec.norm_eps = static_cast<float>(eps);
  apply_family(*family, spec);
  GENESIS_TRY_VOID(read_attention(config, *family, spec));
  GENESIS_TRY_VOID(read_rotary(config, *family, spec));
  GENESIS_TRY(spec.vocab, integer(config, "vocab_size", 0));
  GENESIS_TRY(spec.tied_head, flag(config, "tie_word_embeddings", family->tied_head));
  GENESIS_TRY(spec.attention_bias, flag(config, "attention_bias", family->attention_bias));
  return spec;
}

// What the tensors say themselves.
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
  return {};
}

Result<object> config_object(std::string_view config_json) {
  GENESIS_TRY(boost::json::value document, parse_json(config_json));
  if (!document.is_object()) {
    return bad("", "not a JSON object");
  }
  return std::move(document.get_object());
}

}  // namespace

Result<ModelSpec> spec_from_config(std::string_view config_json) {
  GENESIS_TRY(const object config, config_object(config_json));
  GENESIS_TRY(ModelSpec spec, read_config(config));
  GENESIS_TRY_VOID(check_spec(spec));
  return spec;
}

Result<ModelSpec> spec_from_config(std::string_view config_json, const weights::TensorFile& file) {
  GENESIS_TRY(const object config, config_object(config_json));
  GENESIS_TRY(ModelSpec spec, read_config(config));
  GENESIS_TRY_VOID(read_tensors(file, spec));
  GENESIS_TRY_VOID(check_spec(spec));
  return spec;
}

}  // namespace genesis::model
