// Inputs of a linear layer for the rows of a step: int8 groups in quantized mode, floats in fp32
// mode. Because a group is 32 neighbouring values, whoever produces 32 values of a row can store
// them here at once; no pass over the whole row is needed.
//
// Some rows may be kept finer: what rounding to int8 left over is stored as a second plane of int8
// groups, and the layer runs twice for them.
#pragma once

#include "kernel/kernels.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace genesis::model {

// Threads may store different groups at once.
class ActivationBuffer {
 public:
  // Makes room for rows of `inputs` values (a multiple of 32), of which those in `finer` (rising)
  // get a second plane in quantized mode. Contents are lost.
  void reset(int rows, int inputs, bool fp32, std::span<const int> finer = {}) {
    inputs_ = static_cast<std::size_t>(inputs);
    fp32_ = fp32;
    const std::size_t count = static_cast<std::size_t>(rows) * inputs_;
    if (fp32) {
      values_.resize(count);
      return;
    }
    coarse_.resize(count);
    finer_.assign(finer.begin(), finer.end());
    fine_.resize(finer_.size() * inputs_);
  }

  // Stores `count` values (a multiple of 32) from column `begin` (likewise) of a row.
  void store(const kernel::Kernels& kernels, int row, int begin, const float* x, int count) {
    const std::size_t at =
        static_cast<std::size_t>(row) * inputs_ + static_cast<std::size_t>(begin);
    if (fp32_) {
      std::memcpy(values_.data() + at, x, static_cast<std::size_t>(count) * sizeof(float));
      return;
    }
    coarse_.quantize(kernels, at, x, count);
    const auto found = std::ranges::lower_bound(finer_, row);
    if (found != finer_.end() && *found == row) {
      const auto slot = static_cast<std::size_t>(found - finer_.begin());
      store_rest(kernels, at, slot * inputs_ + static_cast<std::size_t>(begin), x, count);
    }
  }

  std::size_t inputs() const { return inputs_; }

  // Writes what a row holds, both planes, to inputs() floats.
  void load(const kernel::Kernels& kernels, int row, float* x) const {
    const std::size_t at = static_cast<std::size_t>(row) * inputs_;
    if (fp32_) {
      std::memcpy(x, values_.data() + at, inputs_ * sizeof(float));
      return;
    }
    const auto decode = [&](const kernel::Activations& plane, bool add) {
      kernels.adapter.decode({.codes = plane.codes,
                              .scales = plane.scales,
                              .count = static_cast<int>(inputs_),
                              .x = x,
                              .add = add});
    };
    decode(coarse_.at(at), false);
    const auto found = std::ranges::lower_bound(finer_, row);
    if (found != finer_.end() && *found == row) {
      decode(fine_.at(static_cast<std::size_t>(found - finer_.begin()) * inputs_), true);
    }
  }

  // Runs `call`, whose rows start at row `first` of this buffer, both planes.
  void run(const kernel::Kernels& kernels, kernel::LinearCall call, int first) const {
    const std::size_t at = static_cast<std::size_t>(first) * inputs_;
    call.x = fp32_ ? kernel::Activations{.values = values_.data() + at} : coarse_.at(at);
    kernels.linear(call);
    if (fp32_) {
      return;
    }
    float* const out = call.out;
    const auto end = std::ranges::lower_bound(finer_, first + call.rows);
    call.add = true;
    for (auto row = std::ranges::lower_bound(finer_, first); row != end; row += call.rows) {
      call.x = fine_.at(static_cast<std::size_t>(row - finer_.begin()) * inputs_);
      call.out = out + static_cast<std::size_t>(*row - first) * call.out_stride;
      call.rows = 1;
      while (row + call.rows != end && row[call.rows] == *row + call.rows) {
        ++call.rows;
      }
      kernels.linear(call);
    }
  }

 private:
  // Groups of int8 codes.
  struct Plane {
    std::vector<std::int8_t> codes;
    std::vector<float> scales;
    std::vector<std::int32_t> totals;
    std::vector<float> sums;

    void resize(std::size_t values) {
      codes.resize(values);
      scales.resize(values / kernel::kGroup);
      totals.resize(values / kernel::kGroup);
      sums.resize(values / kernel::kGroup);
    }

    void quantize(const kernel::Kernels& kernels, std::size_t at, const float* x, int count) {
      const std::size_t group = at / kernel::kGroup;
      kernels.quantize(x,
                       count,
                       {.codes = codes.data() + at,
                        .scales = scales.data() + group,
                        .totals = totals.data() + group,
                        .sums = sums.data() + group});
    }

    kernel::Activations at(std::size_t value) const {
      const std::size_t group = value / kernel::kGroup;
      return {.codes = codes.data() + value,
              .scales = scales.data() + group,
              .totals = totals.data() + group,
              .sums = sums.data() + group};
    }
  };

  // The fine plane's part of a row: x less what the coarse plane holds of it.
  void store_rest(const kernel::Kernels& kernels,
                  std::size_t coarse_at,
                  std::size_t fine_at,
                  const float* x,
                  int count) {
    for (int begin = 0; begin < count; begin += kernel::kGroup) {
      const std::size_t at = coarse_at + static_cast<std::size_t>(begin);
      const float scale = coarse_.scales[at / kernel::kGroup];
      std::array<float, kernel::kGroup> rest;
      for (std::size_t i = 0; i < rest.size(); ++i) {
        const float held = scale * static_cast<float>(coarse_.codes[at + i]);
        rest[i] = x[static_cast<std::size_t>(begin) + i] - held;
      }
      fine_.quantize(
          kernels, fine_at + static_cast<std::size_t>(begin), rest.data(), kernel::kGroup);
    }
  }

  std::size_t inputs_ = 0;
  bool fp32_ = false;
  std::vector<int> finer_;  // rows with a fine plane, rising
  Plane coarse_;            // every row
  Plane fine_;              // one row for each of finer_
  std::vector<float> values_;
};

}  // namespace genesis::model
