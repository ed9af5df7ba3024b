// GGUF metadata -> ModelSpec. One row of a table per architecture.
#include "model/gguf_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::model {
namespace {

using weights::TensorFile;
using weights::TensorView;

struct Architecture {
  std::string_view name;
  RotaryPairs rotary_pairs;
};

// llama.cpp's converter reorders the q and k rows of "llama" into adjacent pairs.
constexpr std::array kArchitectures{Architecture{"llama", RotaryPairs::kAdjacent}};

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

Result<void> read_rotary(const TensorFile& file, Reader& reader, ModelSpec& spec) {
  spec.rotary_dim = reader.integer("rope.dimension_count", spec.head_dim);
  spec.rotary_base = reader.number("rope.freq_base", 10000.0);
  const std::string scaling = reader.text("rope.scaling.type");
  if (!scaling.empty() && scaling != "none" && scaling != "linear") {
    return fail_param("rope.scaling.type",
                      fmt::format("rotary scaling '{}' is not supported yet", scaling),
                      ErrorCode::kUnsupported);
  }
  const auto pairs = static_cast<std::size_t>(std::clamp(spec.rotary_dim / 2, 0, 512));
  const double linear = scaling == "linear" ? reader.number("rope.scaling.factor", 1.0) : 1.0;
  if (linear != 1.0) {
    spec.rotary_factors.assign(pairs, static_cast<float>(linear));
  }
  // Llama 3.1 and later: one factor per frequency, as a tensor.
  if (const TensorView* factors = file.find("rope_freqs.weight"); factors != nullptr) {
    if (factors->type != weights::TensorType::kF32 ||
        factors->elements() != static_cast<std::int64_t>(pairs) || !spec.rotary_factors.empty()) {
      return fail_param(
          "rope_freqs.weight",
          fmt::format("tensor rope_freqs.weight must be {} floats, without other scaling", pairs),
          ErrorCode::kDataLoss);
    }
    spec.rotary_factors.resize(pairs);
    GENESIS_TRY_VOID(weights::dequantize(factors->type, factors->data, spec.rotary_factors));
  }
  return {};
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
  const auto* architecture =
      std::ranges::find(kArchitectures, spec.architecture, &Architecture::name);
  if (architecture == kArchitectures.end()) {
    Error error = fail_param("general.architecture",
                             fmt::format("architecture '{}' is not supported; supported: llama",
                                         spec.architecture),
                             ErrorCode::kUnsupported)
                      .error();
    error.hint = "serve it by another engine and add that as an endpoint of kind url";
    return std::unexpected(std::move(error));
  }
  spec.rotary_pairs = architecture->rotary_pairs;

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
  // Inside the window sliding and full attention are the same; beyond it is not offered.
  if (const std::int32_t window = reader.integer("attention.sliding_window", 0); window > 0) {
    spec.max_context = std::min(spec.max_context, window);
  }
  GENESIS_TRY_VOID(read_rotary(file, reader, spec));
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
