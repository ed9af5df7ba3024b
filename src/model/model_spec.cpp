// Range checks of a model description: the file that gave it is hostile.
#include "model/model_spec.h"

#include "kernel/layout.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace genesis::model {
namespace {

struct Range {
  std::string_view field;
  std::int64_t value;
  std::int64_t low;
  std::int64_t high;
};

std::unexpected<Error> unsupported(const ModelSpec& spec, std::string_view field, std::string why) {
  return fail_param(std::string(field),
                    fmt::format("model '{}' ({}): {} {}", spec.name, spec.architecture, field, why),
                    ErrorCode::kUnsupported);
}

Result<void> check_ranges(const ModelSpec& spec) {
  // Far above the largest published open models, far below any overflow in 32-bit products of two.
  const std::array ranges{
      Range{"layers", spec.layers, 1, kMaxLayers},
      Range{"hidden size", spec.hidden, 1, 65536},
      Range{"attention heads", spec.heads, 1, 1024},
      Range{"key/value heads", spec.kv_heads, 1, 1024},
      Range{"head size", spec.head_dim, 1, 1024},
      Range{"MLP size", spec.mlp, 1, 1 << 20},
      Range{"vocabulary size", spec.vocab, 1, 1 << 22},
      Range{"context length", spec.max_context, 1, 1 << 27},
      Range{"rotary size", spec.rotary_dim, 1, spec.head_dim},
      Range{"sliding window", spec.window, 0, 1 << 27},
  };
  for (const Range& range : ranges) {
    if (range.value < range.low || range.value > range.high) {
      return fail_param(std::string(range.field),
                        fmt::format("model '{}': {} is {}, which is not within {}..{}",
                                    spec.name,
                                    range.field,
                                    range.value,
                                    range.low,
                                    range.high),
                        ErrorCode::kDataLoss);
    }
  }
  return {};
}

struct NumberRange {
  std::string_view field;
  double value;
  double low;
  double high;
};

Result<void> check_numbers(const ModelSpec& spec) {
  const double local_base = spec.local_rotary_base == 0.0 ? 1.0 : spec.local_rotary_base;
  const std::array ranges{
      NumberRange{"norm epsilon", spec.norm_eps, 0.0, 0.9999},
      NumberRange{"rotary base", spec.rotary_base, 1.0, 1e12},
      NumberRange{"local rotary base", local_base, 1.0, 1e12},
      NumberRange{"rotary amplitude", spec.rotary_amplitude, 1e-3, 1e3},
      NumberRange{"attention scale", spec.attention_scale, 0.0, 1e3},
      NumberRange{"attention soft-cap", spec.attention_softcap, 0.0, 1e6},
      NumberRange{"logit soft-cap", spec.logit_softcap, 0.0, 1e6},
      NumberRange{"embedding scale", spec.embedding_scale, 1e-6, 1e6},
  };
  for (const NumberRange& range : ranges) {
    if (!(range.value >= range.low && range.value <= range.high)) {  // also not a number
      return fail_param(std::string(range.field),
                        fmt::format("model '{}': {} is {}", spec.name, range.field, range.value),
                        ErrorCode::kDataLoss);
    }
  }
  return {};
}

Result<void> check_factors(const ModelSpec& spec, const std::vector<float>& factors) {
  if (!factors.empty() && std::ssize(factors) != spec.rotary_dim / 2) {
    return fail_param("rotary factors",
                      fmt::format("model '{}': {} rotary factors for {} pairs",
                                  spec.name,
                                  factors.size(),
                                  spec.rotary_dim / 2),
                      ErrorCode::kDataLoss);
  }
  for (const float factor : factors) {
    if (!(factor >= 1e-6F && factor <= 1e6F)) {
      return fail_param("rotary factors",
                        fmt::format("model '{}': a rotary factor is {}", spec.name, factor),
                        ErrorCode::kDataLoss);
    }
  }
  return {};
}

}  // namespace

Result<void> check_spec(const ModelSpec& spec) {
  GENESIS_TRY_VOID(check_ranges(spec));
  if (spec.heads % spec.kv_heads != 0) {
    return fail_param("key/value heads",
                      fmt::format("model '{}': {} attention heads cannot share {} key/value heads",
                                  spec.name,
                                  spec.heads,
                                  spec.kv_heads),
                      ErrorCode::kDataLoss);
  }
  GENESIS_TRY_VOID(check_numbers(spec));
  GENESIS_TRY_VOID(check_factors(spec, spec.rotary_factors));
  GENESIS_TRY_VOID(check_factors(spec, spec.rotary_long_factors));
  if (spec.hidden % kernel::kGroup != 0) {
    return unsupported(spec, "hidden size", fmt::format("{} is not a multiple of 32", spec.hidden));
  }
  if (spec.mlp % kernel::kGroup != 0) {
    return unsupported(spec, "MLP size", fmt::format("{} is not a multiple of 32", spec.mlp));
  }
  if (spec.head_dim % kernel::kGroup != 0) {
    return unsupported(spec, "head size", fmt::format("{} is not a multiple of 32", spec.head_dim));
  }
  if (spec.rotary_dim % 16 != 0) {
    return unsupported(
        spec, "rotary size", fmt::format("{} is not a multiple of 16", spec.rotary_dim));
  }
  return {};
}

}  // namespace genesis::model
