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
      Range{"layers", spec.layers, 1, 1024},
      Range{"hidden size", spec.hidden, 1, 65536},
      Range{"attention heads", spec.heads, 1, 1024},
      Range{"key/value heads", spec.kv_heads, 1, 1024},
      Range{"head size", spec.head_dim, 1, 1024},
      Range{"MLP size", spec.mlp, 1, 1 << 20},
      Range{"vocabulary size", spec.vocab, 1, 1 << 22},
      Range{"context length", spec.max_context, 1, 1 << 27},
      Range{"rotary size", spec.rotary_dim, 1, spec.head_dim},
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
  if (!(spec.norm_eps >= 0.0F && spec.norm_eps < 1.0F)) {
    return fail_param("norm epsilon",
                      fmt::format("model '{}': norm epsilon is {}", spec.name, spec.norm_eps),
                      ErrorCode::kDataLoss);
  }
  if (!(spec.rotary_base >= 1.0 && spec.rotary_base <= 1e12)) {
    return fail_param("rotary base",
                      fmt::format("model '{}': rotary base is {}", spec.name, spec.rotary_base),
                      ErrorCode::kDataLoss);
  }
  if (!spec.rotary_factors.empty() && std::ssize(spec.rotary_factors) != spec.rotary_dim / 2) {
    return fail_param("rotary factors",
                      fmt::format("model '{}': {} rotary factors for {} pairs",
                                  spec.name,
                                  spec.rotary_factors.size(),
                                  spec.rotary_dim / 2),
                      ErrorCode::kDataLoss);
  }
  for (const float factor : spec.rotary_factors) {
    if (!(factor >= 1e-6F && factor <= 1e6F)) {
      return fail_param("rotary factors",
                        fmt::format("model '{}': a rotary factor is {}", spec.name, factor),
                        ErrorCode::kDataLoss);
    }
  }
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
