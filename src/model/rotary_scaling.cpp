// Formulas of transformers 4.57's modeling_rope_utils.py.
#include "model/rotary_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace genesis::model {
namespace {

constexpr std::int32_t kMostPairs = 512;  // half of the largest head that check_spec() allows

std::int32_t pairs_of(std::int32_t dims) {
  return std::clamp(dims / 2, 0, kMostPairs);
}

// The factor of a frequency of which `kept` stays as it is.
float blended(double kept, double factor) {
  return static_cast<float>(1.0 / (kept + (1.0 - kept) / factor));
}

}  // namespace

std::vector<float> llama3_factors(double base, std::int32_t dims, const Llama3Scaling& scaling) {
  std::vector<float> factors;
  for (std::int32_t i = 0; i < pairs_of(dims); ++i) {
    const double inverse = std::pow(base, -2.0 * i / dims);
    const double waves = scaling.original_context * inverse / (2.0 * std::numbers::pi);
    const double kept = std::clamp((waves - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0);
    factors.push_back(blended(kept, scaling.factor));
  }
  return factors;
}

std::vector<float> yarn_factors(double base, std::int32_t dims, const YarnScaling& scaling) {
  const auto index_of = [&](double waves) {
    return dims * std::log(scaling.original_context / (waves * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(base));
  };
  double low = index_of(scaling.beta_fast);
  double high = index_of(scaling.beta_slow);
  if (scaling.whole_bounds) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dims - 1));
  high += low == high ? 0.001 : 0.0;
  std::vector<float> factors;
  for (std::int32_t i = 0; i < pairs_of(dims); ++i) {
    const double stretched = std::clamp((i - low) / (high - low), 0.0, 1.0);
    factors.push_back(blended(1.0 - stretched, scaling.factor));
  }
  return factors;
}

double yarn_amplitude(double factor, double weight) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

double longrope_amplitude(double factor, double original_context) {
  return factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original_context));
}

}  // namespace genesis::model
