// Cosines and sines of every position and frequency, computed once per model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/model_spec.h"

namespace genesis::model {

// Angles as transformers computes them: inverse frequency and its product with the position are
// rounded to float, so that fp32 logits agree also at late positions.
class RotaryTable {
 public:
  RotaryTable(const ModelSpec& spec, std::int32_t positions);

  int half() const { return static_cast<int>(half_); }

  const float* cos(std::int32_t position) const { return cos_.data() + at(position); }

  const float* sin(std::int32_t position) const { return sin_.data() + at(position); }

 private:
  std::size_t at(std::int32_t position) const { return static_cast<std::size_t>(position) * half_; }

  std::size_t half_;
  std::vector<float> cos_;
  std::vector<float> sin_;
};

}  // namespace genesis::model
