// GGUF metadata -> ModelSpec.
#include "model/gguf_spec.h"

#include "model/family.h"
#include "model/rotary_scaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::model {
namespace {

using weights::TensorFile;
using weights::TensorView;

// Reads "<architecture>.<key>" values, remembering the first that is missing or out of range.
class Reader {
 public:
  Reader(const TensorFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  std::int32_t integer(std::string_view key, std::optional<std::int32_t> otherwise = {}) {
    const std::optional<std::int64_t> value =
        weights::metadata_integer(file_, prefix_ + std::string(key));
    if (!value) {
      if (!otherwise) {
        complain(key, "is missing or not an integer");
      }
      return otherwise.value_or(0);
    }
    if (*value < 0 || *value > std::numeric_limits<std::int32_t>::max()) {
      complain(key, fmt::format("is {}, out of range", *value));
      return 0;
    }
    return static_cast<std::int32_t>(*value);
  }

  double number(std::string_view key, std::optional<double> otherwise = {}) {
    const std::optional<double> value = weights::metadata_number(file_, prefix_ + std::string(key));
    if (!value && !otherwise) {
      complain(key, "is missing or not a number");
    }
    return value.value_or(otherwise.value_or(0.0));
  }

  std::string text(std::string_view key) const {
    return weights::metadata_string(file_, prefix_ + std::string(key)).value_or("");
  }

  Result<void> result() const {
    if (problem_) {
      return std::unexpected(*problem_);
    }
    return {};
  }

 private:
  void complain(std::string_view key, std::string_view what) {
    if (!problem_) {
      problem_ = fail_param(prefix_ + std::string(key),
                            fmt::format("GGUF metadata {}{} {}", prefix_, key, what),
                            ErrorCode::kDataLoss)
                     .error();
    }
  }

  const TensorFile& file_;
  std::string prefix_;
  std::optional<Error> problem_;
};

// Factors stored as a tensor, one per frequency; empty when there is none.
Result<std::vector<float>> stored_factors(const TensorFile& file,
                                          std::string_view name,
                                          const ModelSpec& spec) {
  std::vector<float> factors;
  const TensorView* tensor = file.find(name);
  if (tensor == nullptr) {
    return factors;
  }
  const auto pairs = static_cast<std::size_t>(std::clamp(spec.rotary_dim / 2, 0, 512));
  if (tensor->type != weights::TensorType::kF32 ||
      tensor->elements() != static_cast<std::int64_t>(pairs) || !spec.rotary_factors.empty()) {
    return fail_param(
        std::string(name),
        fmt::format("tensor {} must be {} floats, without other scaling", name, pairs),
        ErrorCode::kDataLoss);
  }
  factors.resize(pairs);
  GENESIS_TRY_VOID(weights::dequantize(tensor->type, tensor->data, factors));
  return factors;
}

Result<void> read_yarn(Reader& reader, ModelSpec& spec) {
  const YarnScaling yarn{
      .factor = reader.number("rope.scaling.factor"),
      .beta_fast = reader.number("rope.scaling.yarn_beta_fast", 32.0),
      .beta_slow = reader.number("rope.scaling.yarn_beta_slow", 1.0),
      .original_context = reader.number("rope.scaling.original_context_length"),
  };
  if (!(yarn.factor >= 1.0) || !(yarn.original_context >= 1.0) || !(yarn.beta_slow > 0.0) ||
      !(yarn.beta_fast > yarn.beta_slow)) {
    return fail_param("rope.scaling.type",
                      "rope.scaling: the yarn scaling lacks a number or has an impossible one",
                      ErrorCode::kDataLoss);
  }
  spec.rotary_factors = yarn_factors(spec.rotary_base, spec.rotary_dim, yarn);
  spec.rotary_amplitude = static_cast<float>(yarn_amplitude(yarn.factor) *
                                             reader.number("rope.scaling.attn_factor", 1.0));
  return {};
}

Result<void> read_rotary(const TensorFile& file,
                         const Family& family,
                         Reader& reader,
                         ModelSpec& spec) {
  spec.rotary_pairs = family.gguf_pairs;
  spec.rotary_dim = reader.integer("rope.dimension_count", spec.head_dim);
  spec.rotary_base = reader.number("rope.freq_base", family.rotary_base);
  spec.local_rotary_base = family.local_rotary_base == 0.0
                               ? 0.0
                               : reader.number("rope.freq_base_swa", family.local_rotary_base);
  const std::string scaling = reader.text("rope.scaling.type");
  if (scaling == "yarn") {
    GENESIS_TRY_VOID(read_yarn(reader, spec));
  } else if (scaling == "linear") {
    const double factor = reader.number("rope.scaling.factor", 1.0);
    spec.rotary_factors.assign(static_cast<std::size_t>(std::clamp(spec.rotary_dim / 2, 0, 512)),
                               static_cast<float>(factor));
  } else if (!scaling.empty() && scaling != "none" && scaling != "longrope") {
    return fail_param("rope.scaling.type",
                      fmt::format("rotary scaling '{}' is not supported yet", scaling),
                      ErrorCode::kUnsupported);
  }
  // Llama 3.1 and later; Phi-3 and later with long contexts.
  GENESIS_TRY(std::vector<float> factors, stored_factors(file, "rope_freqs.weight", spec));
  GENESIS_TRY(std::vector<float> small, stored_factors(file, "rope_factors_short.weight", spec));
  GENESIS_TRY(spec.rotary_long_factors, stored_factors(file, "rope_factors_long.weight", spec));
  if (!factors.empty() || !small.empty()) {
    spec.rotary_factors = factors.empty() ? std::move(small) : std::move(factors);
  }
  if (!spec.rotary_long_factors.empty()) {
    spec.rotary_original_context =
        reader.integer("rope.scaling.original_context_length", spec.max_context);
    spec.rotary_amplitude = static_cast<float>(reader.number("rope.scaling.attn_factor", 1.0));
  }
  return {};
}

// What is told about attention beyond its sizes.
void read_attention(const Family& family, Reader& reader, ModelSpec& spec) {
  // Windows of Qwen's files do not tell their layers; llama.cpp does not read them either.
  const bool windowed = family.window_rule != WindowRule::kFromLayer;
  // Where llama.cpp has no default, a file without the key has no window.
  const std::int32_t usual = family.window_rule == WindowRule::kAllButNth ? family.window : 0;
  if (windowed) {
    set_window(spec,
               reader.integer("attention.sliding_window", usual),
               family.window_rule,
               reader.integer("attention.sliding_window_pattern", family.window_nth));
  }
  spec.attention_softcap =
      static_cast<float>(reader.number("attn_logit_softcapping", family.attention_softcap));
  spec.logit_softcap =
      static_cast<float>(reader.number("final_logit_softcapping", family.logit_softcap));
  if (family.wide_layers > 0 && spec.layers == family.wide_layers) {
    const double width = spec.hidden / std::max(spec.heads, 1);
    spec.attention_scale = static_cast<float>(1.0 / std::sqrt(std::max(width, 1.0)));
  }
}

Result<std::int32_t> vocabulary_size(const TensorFile& file) {
  const TensorView* table = file.find("token_embd.weight");
  if (table == nullptr || table->shape.size() != 2 || table->shape[0] < 1 ||
      table->shape[0] > std::numeric_limits<std::int32_t>::max()) {
    return fail_param("token_embd.weight",
                      "tensor token_embd.weight is missing or not a table",
                      ErrorCode::kDataLoss);
  }
  return static_cast<std::int32_t>(table->shape[0]);
}

}  // namespace

Result<ModelSpec> spec_from_gguf(const TensorFile& file) {
  ModelSpec spec;
  spec.naming = TensorNaming::kGguf;
  spec.architecture = weights::metadata_string(file, "general.architecture").value_or("");
  spec.name = weights::metadata_string(file, "general.name").value_or(spec.architecture);
  const Family* family = family_of_gguf(spec.architecture);
  if (family == nullptr) {
    Error error = fail_param("general.architecture",
                             fmt::format("architecture '{}' is not supported; supported: {}",
                                         spec.architecture,
                                         gguf_families()),
                             ErrorCode::kUnsupported)
                      .error();
    error.hint = "serve it by another engine and add that as an endpoint of kind url";
    return std::unexpected(std::move(error));
  }

  Reader reader(file, spec.architecture + ".");
  spec.layers = reader.integer("block_count");
  spec.hidden = reader.integer("embedding_length");
  spec.mlp = reader.integer("feed_forward_length");
  spec.heads = reader.integer("attention.head_count");
  spec.kv_heads = reader.integer("attention.head_count_kv", spec.heads);
  spec.head_dim = reader.integer("attention.key_length", spec.hidden / std::max(spec.heads, 1));
  spec.max_context = reader.integer("context_length");
  spec.norm_eps = static_cast<float>(reader.number("attention.layer_norm_rms_epsilon"));
  if (reader.integer("attention.value_length", spec.head_dim) != spec.head_dim) {
    return fail_param("attention.value_length",
                      "values of another size than keys are not supported",
                      ErrorCode::kUnsupported);
  }
  if (const std::int32_t experts = reader.integer("expert_count", 0); experts > 0) {
    return fail_param("expert_count",
                      fmt::format("mixtures of {} experts are not supported yet", experts),
                      ErrorCode::kUnsupported);
  }
  apply_family(*family, spec);
  read_attention(*family, reader, spec);
  GENESIS_TRY_VOID(read_rotary(file, *family, reader, spec));
  GENESIS_TRY_VOID(reader.result());
  GENESIS_TRY(spec.vocab, vocabulary_size(file));
  const std::int32_t declared = reader.integer("vocab_size", spec.vocab);
  if (declared != spec.vocab) {
    return fail_param(
        "vocab_size",
        fmt::format(
            "metadata says {} tokens, the embedding table has {} rows", declared, spec.vocab),
        ErrorCode::kDataLoss);
  }
  spec.tied_head = file.find("output.weight") == nullptr;
  spec.attention_bias = file.find("blk.0.attn_q.bias") != nullptr;
  GENESIS_TRY_VOID(check_spec(spec));
  return spec;
}

}  // namespace genesis::model
