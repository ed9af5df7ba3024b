#include "model/adapter_config.h"

#include "base/json.h"
#include "text/regex.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace genesis::model {
namespace {

namespace json = boost::json;

// A config of peft 0.21 is 1.5 KB; patterns for every layer of a large model stay far below these.
constexpr std::size_t kMaxPatterns = 4096;
constexpr std::size_t kMaxPatternBytes = 1024;
constexpr std::size_t kMaxInvocation = 256;
constexpr double kMaxAlpha = 1e6;

std::unexpected<Error> damaged(std::string_view field, std::string message) {
  return fail_param(std::string(field),
                    fmt::format("adapter_config.json: {}: {}", field, message),
                    ErrorCode::kDataLoss);
}

std::unexpected<Error> unsupported(std::string_view field, std::string message) {
  return fail_param(std::string(field),
                    fmt::format("adapter_config.json: {}: {}", field, message),
                    ErrorCode::kUnsupported);
}

// Fields that say nothing about how a trained adapter is applied.
constexpr std::array kIrrelevant{"auto_mapping",
                                 "base_model_name_or_path",
                                 "revision",
                                 "peft_version",
                                 "inference_mode",
                                 "lora_dropout",
                                 "megatron_core",
                                 "qalora_group_size",
                                 "loftq_config",
                                 "eva_config",
                                 "corda_config",
                                 "lora_ga_config",
                                 "runtime_config"};
// Fields that parse() reads.
constexpr std::array kRead{"peft_type",
                           "task_type",
                           "r",
                           "lora_alpha",
                           "use_rslora",
                           "bias",
                           "init_lora_weights",
                           "target_modules",
                           "exclude_modules",
                           "layers_to_transform",
                           "layers_pattern",
                           "rank_pattern",
                           "alpha_pattern",
                           "alora_invocation_tokens"};

bool listed(std::span<const char* const> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

bool is_empty(const json::value& value) {
  return value.is_null() || (value.is_bool() && !value.get_bool()) ||
         (value.is_array() && value.get_array().empty()) ||
         (value.is_object() && value.get_object().empty());
}

// Everything else (DoRA, QA-LoRA, saved modules, biases, ...) must be off.
Result<void> refuse_variants(const json::object& config) {
  for (const auto& [key, value] : config) {
    const std::string_view name = key;
    if (listed(kIrrelevant, name) || listed(kRead, name) || is_empty(value)) {
      continue;
    }
    return unsupported(name.substr(0, 64), "only plain and activated LoRA are served");
  }
  return {};
}

// Some ways to start training change the base weights too; the adapter alone is then half of it.
Result<void> check_start(const json::object& config) {
  const json::value* start = config.if_contains("init_lora_weights");
  if (start == nullptr || start->is_null() || start->is_bool()) {
    return {};
  }
  if (!start->is_string()) {
    return damaged("init_lora_weights", "must be true, false or a name");
  }
  const std::string_view name = start->get_string();
  if (name == "gaussian" || name == "eva" || name == "orthogonal") {
    return {};
  }
  return unsupported("init_lora_weights",
                     fmt::format("'{}' changes the base model's weights; convert the adapter to "
                                 "plain LoRA when saving it",
                                 name.substr(0, 40)));
}

class Pattern {
 public:
  // A Python regular expression that must match a module's whole name; `suffix` lets a dotted
  // prefix stand before it, as PEFT's patterns do.
  static Result<Pattern> compile(std::string_view field, std::string_view text, bool suffix) {
    if (text.empty() || text.size() > kMaxPatternBytes) {
      return damaged(field, fmt::format("a pattern of {} bytes", text.size()));
    }
    auto regex = text::Regex::compile(fmt::format("^{}(?:{})$", suffix ? "(?:.*\\.)?" : "", text));
    if (!regex) {
      return unsupported(
          field, fmt::format("pattern '{}': {}", text.substr(0, 100), regex.error().message));
    }
    return Pattern(*std::move(regex));
  }

  bool matches(std::string_view name) const {
    std::vector<text::Match> found;
    return regex_.find_all(name, found) && found.size() == 1 && found[0].begin == 0 &&
           found[0].end == name.size();
  }

 private:
  explicit Pattern(text::Regex regex) : regex_(std::move(regex)) {}

  text::Regex regex_;
};

// target_modules or exclude_modules: a list of names that end a module's name, or a pattern.
class ModuleSet {
 public:
  static Result<ModuleSet> parse(const json::object& config, std::string_view field) {
    ModuleSet set;
    const json::value* value = config.if_contains(field);
    if (value == nullptr || value->is_null()) {
      return set;
    }
    if (value->is_string()) {
      const std::string_view text = value->get_string();
      set.all_linear_ = field == "target_modules" && lower(text) == "all-linear";
      if (!set.all_linear_) {
        GENESIS_TRY(auto pattern, Pattern::compile(field, text, false));
        set.pattern_ = std::move(pattern);
      }
      return set;
    }
    if (!value->is_array() || value->get_array().size() > kMaxPatterns) {
      return damaged(field, "must be a list of names or a pattern");
    }
    for (const json::value& name : value->get_array()) {
      if (!name.is_string() || name.get_string().empty() ||
          name.get_string().size() > kMaxPatternBytes) {
        return damaged(field, "must hold names");
      }
      set.names_.emplace_back(name.get_string());
    }
    return set;
  }

  bool all_linear() const { return all_linear_; }

  bool is_pattern() const { return all_linear_ || pattern_.has_value(); }

  bool empty() const { return !is_pattern() && names_.empty(); }

  bool contains(std::string_view module) const {
    if (pattern_) {
      return pattern_->matches(module);
    }
    return std::ranges::any_of(names_, [&](const std::string& name) {
      return module == name || (module.size() > name.size() && module.ends_with(name) &&
                                module[module.size() - name.size() - 1] == '.');
    });
  }

 private:
  static std::string lower(std::string_view text) {
    std::string out(text.substr(0, 16));
    std::ranges::transform(out, out.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return out.size() == text.size() ? out : std::string(text);
  }

  bool all_linear_ = false;
  std::optional<Pattern> pattern_;
  std::vector<std::string> names_;
};

// rank_pattern or alpha_pattern: the first key that matches a module gives its number.
class NumberPatterns {
 public:
  static Result<NumberPatterns> parse(const json::object& config, std::string_view field) {
    NumberPatterns out;
    const json::value* value = config.if_contains(field);
    if (value == nullptr || value->is_null()) {
      return out;
    }
    if (!value->is_object() || value->get_object().size() > kMaxPatterns) {
      return damaged(field, "must be an object of patterns and numbers");
    }
    for (const auto& [key, number] : value->get_object()) {
      if (!number.is_number()) {
        return damaged(
            field, fmt::format("'{}' must have a number", std::string_view(key).substr(0, 100)));
      }
      GENESIS_TRY(auto pattern, Pattern::compile(field, key, true));
      out.rows_.emplace_back(std::move(pattern), number.to_number<double>());
    }
    return out;
  }

  double value_for(std::string_view module, double otherwise) const {
    const auto found =
        std::ranges::find_if(rows_, [&](const auto& row) { return row.first.matches(module); });
    return found == rows_.end() ? otherwise : found->second;
  }

 private:
  std::vector<std::pair<Pattern, double>> rows_;
};

// layers_to_transform: one index or a list; nullopt: all layers.
Result<std::optional<std::vector<std::int64_t>>> layer_choice(const json::object& config,
                                                              std::int32_t layers) {
  if (const json::value* pattern = config.if_contains("layers_pattern");
      pattern != nullptr && !is_empty(*pattern)) {
    const bool usual = (pattern->is_string() &&
                        (pattern->get_string() == "layers" || pattern->get_string().empty())) ||
                       (pattern->is_array() && pattern->get_array().size() == 1 &&
                        pattern->get_array()[0] == json::value("layers"));
    if (!usual) {
      return unsupported("layers_pattern", "the blocks of this model are called 'layers'");
    }
  }
  const json::value* value = config.if_contains("layers_to_transform");
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  json::array single;
  if (value->is_int64()) {
    single.push_back(*value);
  } else if (!value->is_array()) {
    return damaged("layers_to_transform", "must be a layer index or a list of them");
  }
  std::vector<std::int64_t> chosen;
  for (const json::value& index : value->is_array() ? value->get_array() : single) {
    if (!index.is_int64() || index.get_int64() < 0 || index.get_int64() >= layers) {
      return damaged("layers_to_transform",
                     fmt::format("layer indices lie in 0 to {}", layers - 1));
    }
    chosen.push_back(index.get_int64());
  }
  if (chosen.empty()) {
    return std::nullopt;
  }
  return chosen;
}

Result<std::vector<std::int32_t>> parse_invocation(const json::object& config, std::int32_t vocab) {
  constexpr std::string_view kField = "alora_invocation_tokens";
  std::vector<std::int32_t> tokens;
  const json::value* value = config.if_contains(kField);
  if (value == nullptr || value->is_null()) {
    return tokens;
  }
  if (!value->is_array() || value->get_array().empty() ||
      value->get_array().size() > kMaxInvocation) {
    return damaged(kField, fmt::format("must be a list of 1 to {} token ids", kMaxInvocation));
  }
  for (const json::value& token : value->get_array()) {
    if (!token.is_int64() || token.get_int64() < 0 || token.get_int64() >= vocab) {
      return damaged(kField, fmt::format("token ids lie in 0 to {}", vocab - 1));
    }
    tokens.push_back(static_cast<std::int32_t>(token.get_int64()));
  }
  return tokens;
}

class Resolver {
 public:
  Resolver(const json::object& config, const ModelSpec& spec) : config_(config), spec_(spec) {}

  Result<AdapterConfig> resolve() {
    GENESIS_TRY_VOID(read_numbers());
    GENESIS_TRY(targets_, ModuleSet::parse(config_, "target_modules"));
    GENESIS_TRY(excluded_, ModuleSet::parse(config_, "exclude_modules"));
    GENESIS_TRY(ranks_, NumberPatterns::parse(config_, "rank_pattern"));
    GENESIS_TRY(alphas_, NumberPatterns::parse(config_, "alpha_pattern"));
    GENESIS_TRY(layers_, layer_choice(config_, spec_.layers));
    if (targets_.empty()) {
      return damaged("target_modules", "names no module");
    }
    if (layers_ && targets_.is_pattern()) {
      return damaged("layers_to_transform", "is for a list of target_modules");
    }
    AdapterConfig out;
    GENESIS_TRY(out.invocation, parse_invocation(config_, spec_.vocab));
    out.layers.resize(static_cast<std::size_t>(spec_.layers));
    bool any = false;
    for (std::int32_t i = 0; i < spec_.layers; ++i) {
      for (std::size_t l = 0; l < kLinears; ++l) {
        const std::string module =
            fmt::format("model.layers.{}.{}", i, module_name(static_cast<Linear>(l), spec_));
        GENESIS_TRY(out.layers[static_cast<std::size_t>(i)][l], low_rank(module, i));
        any = any || out.layers[static_cast<std::size_t>(i)][l].rank > 0;
      }
    }
    GENESIS_TRY(out.head, low_rank("lm_head", -1));
    if (!any && out.head.rank == 0) {
      return damaged("target_modules", "names no linear layer of this model");
    }
    return out;
  }

 private:
  Result<void> read_numbers() {
    GENESIS_TRY(const auto kind, get_string(config_, "peft_type"));
    if (kind != "LORA") {
      return unsupported("peft_type",
                         fmt::format("'{}' is not LORA", kind.value_or("").substr(0, 40)));
    }
    GENESIS_TRY(const auto task, get_string(config_, "task_type"));
    if (task && *task != "CAUSAL_LM") {
      return unsupported("task_type", fmt::format("'{}' is not CAUSAL_LM", task->substr(0, 40)));
    }
    GENESIS_TRY(const auto bias, get_string(config_, "bias"));
    if (bias && *bias != "none") {
      return unsupported("bias", fmt::format("'{}': only 'none' is served", bias->substr(0, 40)));
    }
    GENESIS_TRY(const auto rank, get_number(config_, "r"));
    GENESIS_TRY(const auto alpha, get_number(config_, "lora_alpha"));
    GENESIS_TRY(const auto stable, get_bool(config_, "use_rslora"));
    rank_ = rank.value_or(8);    // PEFT's defaults
    alpha_ = alpha.value_or(8);  //
    rank_stabilized_ = stable.value_or(false);
    return {};
  }

  bool is_target(std::string_view module, std::int32_t layer) const {
    if (excluded_.contains(module)) {
      return false;
    }
    if (targets_.all_linear()) {
      return layer >= 0;  // the output layer is left out
    }
    if (!targets_.contains(module)) {
      return false;
    }
    return !layers_ || std::ranges::find(*layers_, layer) != layers_->end();
  }

  Result<LowRank> low_rank(std::string_view module, std::int32_t layer) const {
    if (!is_target(module, layer)) {
      return LowRank{};
    }
    const double rank = ranks_.value_for(module, rank_);
    const double alpha = alphas_.value_for(module, alpha_);
    if (!(rank >= 1 && rank <= kMaxAdapterRank) || rank != std::floor(rank)) {
      return damaged("r",
                     fmt::format("rank {} of {}: ranks are whole numbers from 1 to {}",
                                 rank,
                                 module,
                                 kMaxAdapterRank));
    }
    if (!(std::abs(alpha) <= kMaxAlpha)) {
      return damaged("lora_alpha", fmt::format("{} for {}", alpha, module));
    }
    return LowRank{.rank = static_cast<std::int32_t>(rank),
                   .scale = alpha / (rank_stabilized_ ? std::sqrt(rank) : rank)};
  }

  const json::object& config_;
  const ModelSpec& spec_;
  double rank_ = 0;
  double alpha_ = 0;
  bool rank_stabilized_ = false;
  ModuleSet targets_;
  ModuleSet excluded_;
  NumberPatterns ranks_;
  NumberPatterns alphas_;
  std::optional<std::vector<std::int64_t>> layers_;
};

}  // namespace

std::string_view module_name(Linear linear, const ModelSpec& spec) {
  if (spec.fused && linear <= Linear::kV) {
    return "self_attn.qkv_proj";
  }
  if (spec.fused && (linear == Linear::kGate || linear == Linear::kUp)) {
    return "mlp.gate_up_proj";
  }
  constexpr std::array<std::string_view, kLinears> kNames{"self_attn.q_proj",
                                                          "self_attn.k_proj",
                                                          "self_attn.v_proj",
                                                          "self_attn.o_proj",
                                                          "mlp.gate_proj",
                                                          "mlp.up_proj",
                                                          "mlp.down_proj"};
  return kNames[static_cast<std::size_t>(linear)];
}

Result<AdapterConfig> parse_adapter_config(std::string_view text, const ModelSpec& spec) {
  auto parsed = parse_json(text);
  if (!parsed) {
    return fail(ErrorCode::kDataLoss, "adapter_config.json: " + parsed.error().message);
  }
  const json::value value = *std::move(parsed);
  if (!value.is_object()) {
    return fail(ErrorCode::kDataLoss, "adapter_config.json is not a JSON object");
  }
  const json::object& config = value.get_object();
  GENESIS_TRY_VOID(refuse_variants(config));
  GENESIS_TRY_VOID(check_start(config));
  auto resolved = Resolver(config, spec).resolve();
  if (!resolved && resolved.error().code == ErrorCode::kInvalidArgument) {
    // A wrong type, told by the typed reads.
    return damaged(resolved.error().param, resolved.error().message);
  }
  return resolved;
}

}  // namespace genesis::model
