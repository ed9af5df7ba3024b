// Rotary angles (Su et al. 2021, "RoFormer"; scaling factors as in Llama 3.1).
#include "model/rotary.h"

#include <cmath>

namespace genesis::model {

Rotary Rotary::of(const ModelSpec& spec) {
  return {spec.rotary_base, spec.rotary_dim, spec.rotary_factors, spec.rotary_amplitude};
}

Rotary Rotary::of_windows(const ModelSpec& spec) {
  return {spec.local_rotary_base, spec.rotary_dim, {}, 1.0F};
}

Rotary::Rotary(double base, std::int32_t dims, const std::vector<float>& factors, float amplitude)
    : inverse_(static_cast<std::size_t>(dims / 2)), amplitude_(amplitude) {
  for (std::size_t i = 0; i < inverse_.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
    const float stretch = factors.empty() ? 1.0F : factors[i];
    inverse_[i] = 1.0F / (stretch * std::pow(static_cast<float>(base), exponent));
  }
}

void Rotary::resize(std::size_t rows) {
  cos_.resize(rows * inverse_.size());
  sin_.resize(rows * inverse_.size());
}

void Rotary::set(std::size_t row, std::int32_t position) {
  for (std::size_t i = 0; i < inverse_.size(); ++i) {
    const auto angle = static_cast<double>(static_cast<float>(position) * inverse_[i]);
    cos_[row * inverse_.size() + i] = static_cast<float>(std::cos(angle)) * amplitude_;
    sin_[row * inverse_.size() + i] = static_cast<float>(std::sin(angle)) * amplitude_;
  }
}

}  // namespace genesis::model
