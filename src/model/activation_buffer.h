// Inputs of a linear layer for the rows of a step: int8 groups in quantized mode, floats in fp32
// mode. Because a group is 32 neighbouring values, whoever produces 32 values of a row can store
// them here at once; no pass over the whole row is needed.
#pragma once

#include "kernel/kernels.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace genesis::model {

// Threads may store different groups at once.
class ActivationBuffer {
 public:
  // Makes room for rows of `inputs` values (a multiple of 32). Contents are lost.
  void reset(int rows, int inputs, bool fp32) {
    inputs_ = static_cast<std::size_t>(inputs);
    fp32_ = fp32;
    const std::size_t count = static_cast<std::size_t>(rows) * inputs_;
    if (fp32) {
      values_.resize(count);
    } else {
      codes_.resize(count);
      scales_.resize(count / kernel::kGroup);
      sums_.resize(count / kernel::kGroup);
    }
  }

  // Stores `count` values (a multiple of 32) from column `begin` (likewise) of a row.
  void store(const kernel::Kernels& kernels, int row, int begin, const float* x, int count) {
    const std::size_t at =
        static_cast<std::size_t>(row) * inputs_ + static_cast<std::size_t>(begin);
    if (fp32_) {
      std::memcpy(values_.data() + at, x, static_cast<std::size_t>(count) * sizeof(float));
    } else {
      kernels.quantize(x,
                       count,
                       codes_.data() + at,
                       scales_.data() + at / kernel::kGroup,
                       sums_.data() + at / kernel::kGroup);
    }
  }

  kernel::Activations from_row(int row) const {
    const std::size_t at = static_cast<std::size_t>(row) * inputs_;
    kernel::Activations x;
    if (fp32_) {
      x.values = values_.data() + at;
    } else {
      x.codes = codes_.data() + at;
      x.scales = scales_.data() + at / kernel::kGroup;
      x.sums = sums_.data() + at / kernel::kGroup;
    }
    return x;
  }

 private:
  std::size_t inputs_ = 0;
  bool fp32_ = false;
  std::vector<std::int8_t> codes_;
  std::vector<float> scales_;
  std::vector<float> sums_;
  std::vector<float> values_;
};

}  // namespace genesis::model
