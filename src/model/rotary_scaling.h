// Ways to stretch rotary positions over a longer context, as a factor for each frequency: its
// inverse is divided by it.
#pragma once

#include <cstdint>
#include <vector>

namespace genesis::model {

// Long waves are stretched by `factor`, short ones kept, those between blended; Llama 3.1.
struct Llama3Scaling {
  double factor = 1.0;
  double low = 1.0;  // waves in the original context: fewer are stretched
  double high = 4.0;
  double original_context = 8192.0;
};

// YaRN (Peng et al., arXiv 2309.00071): the same, with the blend over the frequency's index.
struct YarnScaling {
  double factor = 1.0;
  double beta_fast = 32.0;  // waves in the original context: more are kept
  double beta_slow = 1.0;
  double original_context = 0.0;
  bool whole_bounds = true;  // the blend begins and ends at whole indices
};

std::vector<float> llama3_factors(double base, std::int32_t dims, const Llama3Scaling& scaling);
std::vector<float> yarn_factors(double base, std::int32_t dims, const YarnScaling& scaling);

// What cosines and sines are multiplied with.
double yarn_amplitude(double factor, double weight = 1.0);
double longrope_amplitude(double factor, double original_context);

}  // namespace genesis::model
