// adapter_config.json of PEFT (huggingface/peft, src/peft/tuners/lora/config.py): which linear
// layers a LoRA adapter changes, with which rank and scale. Whatever would change the arithmetic
// and is not done here is refused by its name.
#pragma once

#include "base/result.h"
#include "model/model_spec.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::model {

// The linear layers of a block, in the order in which they are computed.
enum class Linear : std::uint8_t { kQ, kK, kV, kO, kGate, kUp, kDown };

inline constexpr std::size_t kLinears = 7;
inline constexpr std::int32_t kMaxAdapterRank = 64;

// "self_attn.q_proj", as transformers names it inside a block. Where a model fuses projections
// (Phi-3), several layers here are rows of one there and have its name.
std::string_view module_name(Linear linear, const ModelSpec& spec);

// What an adapter does to one linear layer; rank 0: nothing.
struct LowRank {
  std::int32_t rank = 0;
  double scale = 0.0;
};

struct AdapterConfig {
  std::vector<std::array<LowRank, kLinears>> layers;
  LowRank head;
  // Activated LoRA: the adapter is on from the start of the last occurrence of these tokens in the
  // prompt, and nowhere if they do not occur. Empty: on everywhere.
  std::vector<std::int32_t> invocation;
};

// Resolves targets, ranks and scales for the layers of `spec`, as PEFT does. Errors name the field:
// kDataLoss for what is malformed, kUnsupported for what is well-formed and not served.
Result<AdapterConfig> parse_adapter_config(std::string_view json, const ModelSpec& spec);

}  // namespace genesis::model
