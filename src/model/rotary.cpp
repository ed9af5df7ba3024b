// Rotary angles (Su et al. 2021, "RoFormer"; scaling factors as in Llama 3.1).
#include "model/rotary.h"

#include <cmath>

namespace genesis::model {

Rotary::Rotary(const ModelSpec& spec) : inverse_(static_cast<std::size_t>(spec.rotary_dim / 2)) {
  for (std::size_t i = 0; i < inverse_.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(spec.rotary_dim);
    inverse_[i] = 1.0F / std::pow(static_cast<float>(spec.rotary_base), exponent);
    if (!spec.rotary_factors.empty()) {
      inverse_[i] /= spec.rotary_factors[i];
    }
  }
}

void Rotary::resize(std::size_t rows) {
  cos_.resize(rows * inverse_.size());
  sin_.resize(rows * inverse_.size());
}

void Rotary::set(std::size_t row, std::int32_t position) {
  for (std::size_t i = 0; i < inverse_.size(); ++i) {
    const auto angle = static_cast<double>(static_cast<float>(position) * inverse_[i]);
    cos_[row * inverse_.size() + i] = static_cast<float>(std::cos(angle));
    sin_[row * inverse_.size() + i] = static_cast<float>(std::sin(angle));
  }
}

}  // namespace genesis::model
