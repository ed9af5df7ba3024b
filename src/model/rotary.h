// Cosines and sines of the positions in a step.
#pragma once

#include "model/model_spec.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace genesis::model {

// Angles as transformers computes them: inverse frequency and its product with the position are
// rounded to float, so that fp32 logits agree also at late positions. Computed anew for each row of
// a step: a microsecond, where a table over a long context would cost start-up time and memory.
class Rotary {
 public:
  // The first for all layers but those with a window, if those have a base of their own; the second
  // for them.
  static Rotary of(const ModelSpec& spec);
  static Rotary of_windows(const ModelSpec& spec);

  // Makes room for the rows of a step, then fills them one by one.
  void resize(std::size_t rows);
  void set(std::size_t row, std::int32_t position);

  int half() const { return static_cast<int>(inverse_.size()); }

  const float* cos(std::size_t row) const { return cos_.data() + row * inverse_.size(); }

  const float* sin(std::size_t row) const { return sin_.data() + row * inverse_.size(); }

 private:
  Rotary(double base, std::int32_t dims, const std::vector<float>& factors, float amplitude);

  std::vector<float> inverse_;  // frequencies, radians per token
  float amplitude_;
  std::vector<float> cos_;
  std::vector<float> sin_;
};

}  // namespace genesis::model
