// Rotary tables (Su et al. 2021, "RoFormer"; scaling factors as in Llama 3.1).
#include "model/rotary.h"

#include <cmath>

namespace genesis::model {

RotaryTable::RotaryTable(const ModelSpec& spec, std::int32_t positions)
    : half_(static_cast<std::size_t>(spec.rotary_dim / 2)),
      cos_(half_ * static_cast<std::size_t>(positions)),
      sin_(cos_.size()) {
  std::vector<float> inverse(half_);
  for (std::size_t i = 0; i < half_; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(spec.rotary_dim);
    inverse[i] = 1.0F / std::pow(static_cast<float>(spec.rotary_base), exponent);
    if (!spec.rotary_factors.empty()) {
      inverse[i] /= spec.rotary_factors[i];
    }
  }
  for (std::size_t p = 0; p < static_cast<std::size_t>(positions); ++p) {
    for (std::size_t i = 0; i < half_; ++i) {
      const auto angle = static_cast<double>(static_cast<float>(p) * inverse[i]);
      cos_[p * half_ + i] = static_cast<float>(std::cos(angle));
      sin_[p * half_ + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace genesis::model
