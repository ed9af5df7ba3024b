// config.json and tensor names -> GGUF metadata and tensors. Keys and names: llama.cpp's gguf-py
// constants.py and tensor_mapping.py; what each architecture reads: llama.cpp src/llama-model.cpp.
#include "model/gguf_export.h"

#include "base/file.h"
#include "base/json.h"
#include "model/hf_spec.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

namespace genesis::model {
namespace {

using boost::json::object;
using weights::GgufMetadata;
using weights::TensorFile;
using weights::TensorView;

constexpr std::size_t kMaxConfig = 16U << 20;
constexpr std::int64_t kMaxDimension = 1 << 24;

// How a model type of transformers becomes an architecture of llama.cpp.
struct Family {
  std::string_view model_type;
  std::string_view architecture;
  bool adjacent_pairs = false;  // q and k rows are reordered to rotate neighbours
  bool four_norms = false;      // Gemma: norms before and after each half, stored less one
  bool head_sizes = false;      // attention.key_length is always written
};

constexpr std::array kFamilies{
    Family{"llama", "llama", true, false, false},
    Family{"mistral", "llama", true, false, false},
    Family{"qwen2", "qwen2", false, false, false},
    Family{"qwen3", "qwen3", false, false, true},
    Family{"gemma2", "gemma2", false, true, true},
    Family{"gemma3_text", "gemma3", false, true, true},
    Family{"phi3", "phi3", false, false, false},
};

// Names inside a layer that mean the same in every family.
constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kLayerNames{{
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"post_attention_layernorm", "ffn_norm"},  // post_attention_norm where there are four norms
}};

std::unexpected<Error> bad(std::string_view field, std::string message) {
  return fail_param(std::string(field), "config.json: " + message, ErrorCode::kDataLoss);
}

std::unexpected<Error> unsupported(std::string_view field, std::string message) {
  return fail_param(std::string(field), "config.json: " + message, ErrorCode::kUnsupported);
}

Result<std::int64_t> dimension(const object& config,
                               std::string_view key,
                               std::optional<std::int64_t> otherwise = {}) {
  GENESIS_TRY(const std::optional<std::int64_t> value, get_integer(config, key));
  if (!value && otherwise) {
    return *otherwise;
  }
  if (!value || *value < 1 || *value > kMaxDimension) {
    return bad(key, fmt::format("{} is missing or out of range", key));
  }
  return *value;
}

// "model.layers.12.self_attn.q_proj.weight" in its parts.
struct LayerName {
  std::int64_t layer = 0;
  std::string_view part;
  std::string_view kind;  // "weight" or "bias"
};

std::optional<LayerName> layer_name(std::string_view name) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kPrefix.size());
  LayerName out;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), out.layer);
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  const auto dot = name.rfind('.');
  if (error != std::errc() || !name.starts_with('.') || dot == 0) {
    return std::nullopt;
  }
  out.part = name.substr(1, dot - 1);
  out.kind = name.substr(dot + 1);
  return out.kind == "weight" || out.kind == "bias" ? std::optional(out) : std::nullopt;
}

class Exporter {
 public:
  Exporter(const TensorFile& file, const object& config, const Family& family)
      : file_(file), config_(config), family_(family) {}

  Result<GgufExport> run(std::string_view config_text) {
    out_.architecture = family_.architecture;
    GENESIS_TRY_VOID(read_sizes());
    GENESIS_TRY_VOID(put_sizes());
    GENESIS_TRY_VOID(put_attention());
    GENESIS_TRY_VOID(put_rotary(config_text));
    for (const TensorView& tensor : file_.tensors()) {
      GENESIS_TRY_VOID(add(tensor));
    }
    GENESIS_TRY_VOID(check_table());
    return std::move(out_);
  }

 private:
  std::string key(std::string_view name) const {
    return fmt::format("{}.{}", family_.architecture, name);
  }

  void put(std::string_view name, std::int64_t value) {
    out_.metadata.put_u32(key(name), static_cast<std::uint32_t>(value));
  }

  void put(std::string_view name, double value) {
    out_.metadata.put_f32(key(name), static_cast<float>(value));
  }

  Result<void> read_sizes() {
    GENESIS_TRY(layers_, dimension(config_, "num_hidden_layers"));
    GENESIS_TRY(hidden_, dimension(config_, "hidden_size"));
    GENESIS_TRY(heads_, dimension(config_, "num_attention_heads"));
    GENESIS_TRY(kv_heads_, dimension(config_, "num_key_value_heads", heads_));
    // Gemma's configurations may leave out head_dim, whose default is then 256.
    const std::int64_t usual =
        family_.four_norms ? 256 : std::max<std::int64_t>(hidden_ / heads_, 1);
    GENESIS_TRY(head_dim_, dimension(config_, "head_dim", usual));
    return {};
  }

  Result<void> put_sizes() {
    GENESIS_TRY(const std::int64_t mlp, dimension(config_, "intermediate_size"));
    GENESIS_TRY(const std::int64_t context, dimension(config_, "max_position_embeddings", 2048));
    GENESIS_TRY(const std::optional<double> eps, get_number(config_, "rms_norm_eps"));
    out_.metadata.put_string("general.architecture", family_.architecture);
    out_.metadata.put_string("general.type", "model");
    out_.metadata.put_u32("general.quantization_version", 2);  // GGML_QNT_VERSION
    put("block_count", layers_);
    put("context_length", context);
    put("embedding_length", hidden_);
    put("feed_forward_length", mlp);
    put("attention.head_count", heads_);
    put("attention.head_count_kv", kv_heads_);
    put("attention.layer_norm_rms_epsilon", eps.value_or(1e-6));
    if (family_.head_sizes || head_dim_ * heads_ != hidden_) {
      put("attention.key_length", head_dim_);
      put("attention.value_length", head_dim_);
    }
    return {};
  }

  Result<void> put_attention() {
    GENESIS_TRY(const std::optional<std::int64_t> window, get_integer(config_, "sliding_window"));
    GENESIS_TRY(const std::optional<bool> windowed, get_bool(config_, "use_sliding_window"));
    if (window && *window > 0 && *window < kMaxDimension && windowed.value_or(true)) {
      put("attention.sliding_window", *window);
    }
    GENESIS_TRY(const std::optional<std::int64_t> pattern,
                get_integer(config_, "sliding_window_pattern"));
    // Six is what llama.cpp takes for gemma3 by itself; it reads other values only when written.
    if (family_.architecture == "gemma3" && pattern && *pattern > 0 && *pattern != 6) {
      put("attention.sliding_window_pattern", *pattern);
    }
    for (const auto& [from, to] :
         {std::pair{"attn_logit_softcapping", "attn_logit_softcapping"},
          std::pair{"final_logit_softcapping", "final_logit_softcapping"}}) {
      GENESIS_TRY(const std::optional<double> cap, get_number(config_, from));
      if (cap && *cap > 0) {
        put(to, *cap);
      }
    }
    GENESIS_TRY(const std::optional<double> scalar, get_number(config_, "query_pre_attn_scalar"));
    if (scalar && *scalar > 0 && *scalar != static_cast<double>(head_dim_)) {
      put("attention.scale", 1.0 / std::sqrt(*scalar));
    }
    return {};
  }

  const object* rope_object() const {
    for (const std::string_view name : {"rope_scaling", "rope_parameters"}) {
      const auto* found = config_.if_contains(name);
      if (found != nullptr && found->is_object()) {
        return &found->get_object();
      }
    }
    return nullptr;
  }

  Result<void> put_rotary(std::string_view config_text) {
    GENESIS_TRY(const std::optional<double> part, get_number(config_, "partial_rotary_factor"));
    rotary_dim_ = head_dim_;
    if (part && *part > 0 && *part <= 1) {
      rotary_dim_ = static_cast<std::int64_t>(static_cast<double>(head_dim_) * *part);
    }
    put("rope.dimension_count", rotary_dim_);
    const object* rope = rope_object();
    GENESIS_TRY(std::optional<double> base, get_number(config_, "rope_theta"));
    if (!base && rope != nullptr) {
      GENESIS_TRY(base, get_number(*rope, "rope_theta"));
    }
    put("rope.freq_base", base.value_or(10000.0));
    GENESIS_TRY(const std::optional<double> local, get_number(config_, "rope_local_base_freq"));
    if (local) {
      put("rope.freq_base_swa", *local);
    }
    return rope == nullptr ? Result<void>{} : put_scaling(*rope, config_text);
  }

  Result<void> put_scaling(const object& rope, std::string_view config_text) {
    GENESIS_TRY(std::optional<std::string> type, get_string(rope, "rope_type"));
    if (!type) {
      GENESIS_TRY(type, get_string(rope, "type"));
    }
    if (!type || *type == "default") {
      return {};
    }
    GENESIS_TRY(const std::optional<double> factor, get_number(rope, "factor"));
    if (*type == "llama3") {
      GENESIS_TRY(ModelSpec spec, spec_from_config(config_text, file_));
      add_values("rope_freqs.weight", std::move(spec.rotary_factors));
      return {};
    }
    if (*type == "longrope") {
      return put_longrope(rope);
    }
    if ((*type != "linear" && *type != "yarn") || !factor || !(*factor >= 1)) {
      return unsupported("rope_scaling",
                         fmt::format("rotary scaling '{}' cannot be written to GGUF", *type));
    }
    out_.metadata.put_string(key("rope.scaling.type"), *type);
    put("rope.scaling.factor", *factor);
    GENESIS_TRY(const std::optional<std::int64_t> original,
                get_integer(rope, "original_max_position_embeddings"));
    if (original && *original > 0) {
      put("rope.scaling.original_context_length", *original);
    }
    return {};
  }

  // Phi-3's two sets of factors, and the attention factor of the LongRoPE paper (arXiv 2402.13753)
  // as transformers computes it.
  Result<void> put_longrope(const object& rope) {
    GENESIS_TRY(const std::int64_t original,
                dimension(config_, "original_max_position_embeddings"));
    GENESIS_TRY(const std::int64_t context, dimension(config_, "max_position_embeddings"));
    put("rope.scaling.original_context_length", original);
    const double scale = static_cast<double>(context) / static_cast<double>(original);
    if (scale > 1.0) {
      put("rope.scaling.attn_factor",
          std::sqrt(1.0 + std::log(scale) / std::log(static_cast<double>(original))));
    }
    for (const std::string_view which : {"long", "short"}) {
      const std::string name = fmt::format("{}_factor", which);
      const auto* found = rope.if_contains(name);
      if (found == nullptr || !found->is_array() ||
          std::cmp_not_equal(found->get_array().size(), rotary_dim_ / 2)) {
        return bad("rope_scaling", fmt::format("{} must be {} numbers", name, rotary_dim_ / 2));
      }
      std::vector<float> values;
      for (const auto& value : found->get_array()) {
        boost::json::error_code error;
        const auto number = value.to_number<double>(error);
        if (error || !(number > 0)) {
          return bad("rope_scaling", fmt::format("{} holds an impossible number", name));
        }
        values.push_back(static_cast<float>(number));
      }
      add_values(fmt::format("rope_factors_{}.weight", which), std::move(values));
    }
    return {};
  }

  void add_values(std::string name, std::vector<float> values) {
    out_.tensors.push_back({.name = std::move(name), .values = std::move(values)});
  }

  // Rows 2i and 2i + 1 of each head are the rows i of its first and second half.
  std::vector<std::int32_t> adjacent_rows(std::int64_t heads) const {
    std::vector<std::int32_t> order;
    const auto half = static_cast<std::int32_t>(head_dim_ / 2);
    for (std::int32_t head = 0; head < heads; ++head) {
      for (std::int32_t i = 0; i < half; ++i) {
        const auto first = static_cast<std::int32_t>(head * head_dim_ + i);
        order.push_back(first);
        order.push_back(first + half);
      }
    }
    return order;
  }

  Result<void> add(const TensorView& tensor) {
    if (tensor.name.ends_with("rotary_emb.inv_freq")) {
      return {};  // old checkpoints carry what the configuration says
    }
    ExportTensor out{.source = &tensor};
    if (tensor.name == "model.embed_tokens.weight") {
      out.name = "token_embd.weight";
      out.is_head = file_.find("lm_head.weight") == nullptr;
    } else if (tensor.name == "lm_head.weight") {
      out.name = "output.weight";
      out.is_head = true;
    } else if (tensor.name == "model.norm.weight") {
      out.name = "output_norm.weight";
    } else {
      const auto name = layer_name(tensor.name);
      const auto* known =
          name ? std::ranges::find(
                     kLayerNames, name->part, [](const auto& row) { return row.first; })
               : kLayerNames.end();
      if (known == kLayerNames.end() || name->layer < 0 || name->layer >= layers_) {
        return fail_param(tensor.name,
                          fmt::format("tensor '{}' has no place in a GGUF of architecture {}",
                                      tensor.name,
                                      family_.architecture),
                          ErrorCode::kUnsupported);
      }
      const bool after = family_.four_norms && name->part == "post_attention_layernorm";
      out.name = fmt::format(
          "blk.{}.{}.{}", name->layer, after ? "post_attention_norm" : known->second, name->kind);
      GENESIS_TRY_VOID(order_rows(*name, tensor, out));
    }
    if (family_.four_norms && out.name.ends_with("norm.weight")) {
      out.plus = 1.0F;
    }
    out_.tensors.push_back(std::move(out));
    return {};
  }

  Result<void> order_rows(const LayerName& name,
                          const TensorView& tensor,
                          ExportTensor& out) const {
    const bool query = name.part == "self_attn.q_proj";
    if (!family_.adjacent_pairs || (!query && name.part != "self_attn.k_proj")) {
      return {};
    }
    const std::int64_t heads = query ? heads_ : kv_heads_;
    if (tensor.shape.empty() || tensor.shape[0] != heads * head_dim_ || head_dim_ % 2 != 0) {
      return fail_param(
          tensor.name,
          fmt::format(
              "tensor '{}' does not have {} heads of {} rows", tensor.name, heads, head_dim_),
          ErrorCode::kDataLoss);
    }
    out.row_order = adjacent_rows(heads);
    return {};
  }

  Result<void> check_table() {
    const TensorView* table = file_.find("model.embed_tokens.weight");
    if (table == nullptr || table->shape.size() != 2 || table->shape[1] != hidden_) {
      return fail_param("model.embed_tokens.weight",
                        "tensor model.embed_tokens.weight is missing or not a table",
                        ErrorCode::kDataLoss);
    }
    put("vocab_size", table->shape[0]);
    return {};
  }

  const TensorFile& file_;
  const object& config_;
  const Family& family_;
  GgufExport out_;
  std::int64_t layers_ = 0;
  std::int64_t hidden_ = 0;
  std::int64_t heads_ = 0;
  std::int64_t kv_heads_ = 0;
  std::int64_t head_dim_ = 0;
  std::int64_t rotary_dim_ = 0;
};

}  // namespace

Result<GgufExport> describe_as_gguf(const TensorFile& file, const std::filesystem::path& folder) {
  GENESIS_TRY(const std::string text, read_file(folder / "config.json", kMaxConfig));
  GENESIS_TRY(const boost::json::value document, parse_json(text));
  const object* config = document.if_object();
  if (config == nullptr) {
    return bad("", "not a JSON object");
  }
  GENESIS_TRY(const std::optional<std::string> type, get_string(*config, "model_type"));
  const auto* family = std::ranges::find(kFamilies, type.value_or(""), &Family::model_type);
  if (family == kFamilies.end()) {
    std::string known;
    for (const Family& each : kFamilies) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", each.model_type);
    }
    return unsupported(
        "model_type",
        fmt::format(
            "model type '{}' cannot be converted; these can: {}", type.value_or(""), known));
  }
  GENESIS_TRY(GgufExport out, Exporter(file, *config, *family).run(text));
  const auto absolute = std::filesystem::absolute(folder).lexically_normal();
  const std::string name = absolute.has_filename() ? absolute.filename().string()
                                                   : absolute.parent_path().filename().string();
  out.metadata.put_string("general.name", name);
  GENESIS_TRY_VOID(
      export_text(folder, file.find("model.embed_tokens.weight")->shape[0], out.metadata));
  return out;
}

}  // namespace genesis::model
