// The planes of an activation buffer, against a layer in double.
#include "model/activation_buffer.h"

#include "base/random.h"
#include "kernel/cpu.h"

#include <gtest/gtest.h>

#include <cmath>

namespace genesis::model {
namespace {

constexpr int kRows = 7;
constexpr int kInputs = 64;
constexpr int kOutputs = 16;

// Rows with one large value in each group, as the first tokens of a sequence have them.
std::vector<float> spiky_rows(Random& random) {
  std::vector<float> x(kRows * kInputs);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(random.uniform() - 0.5) * (i % kernel::kGroup == 5 ? 1000.0F : 1.0F);
  }
  return x;
}

// One panel of 8-bit weights with scale 1: the codes themselves.
struct OnePanel {
  explicit OnePanel(Random& random)
      : codes(kOutputs * kInputs), scales(kOutputs * kInputs / kernel::kGroup, 0x3C00) {
    for (std::uint8_t& code : codes) {
      code = static_cast<std::uint8_t>(static_cast<int>(random.uniform() * 255) - 127);
    }
  }

  kernel::Panels panels() const {
    return {.format = kernel::Format::kQ8,
            .outputs = kOutputs,
            .inputs = kInputs,
            .codes = codes.data(),
            .scales = scales.data()};
  }

  double dot(int output, const float* x) const {
    double sum = 0;
    for (int k = 0; k < kInputs; ++k) {
      const std::size_t group = static_cast<std::size_t>(k / kernel::kGroup);
      const std::uint8_t code =
          codes[group * kernel::kQ8GroupBytes + kernel::q8_byte(output, k % kernel::kGroup)];
      sum += static_cast<double>(static_cast<std::int8_t>(code)) * static_cast<double>(x[k]);
    }
    return sum;
  }

  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
};

TEST(ActivationBuffer, FinerRowsLoseLessAndLeaveTheOthersAlone) {
  Random random(7);
  const OnePanel panel(random);
  const std::vector<float> x = spiky_rows(random);
  const std::vector<int> finer = {1, 2, 5};
  ActivationBuffer plain;
  ActivationBuffer mixed;
  plain.reset(kRows, kInputs, false);
  mixed.reset(kRows, kInputs, false, finer);
  const kernel::Kernels& kernels = kernel::kernels_of(kernel::Tier::kScalar);
  for (int row = 0; row < kRows; ++row) {
    for (int begin = 0; begin < kInputs; begin += kernel::kGroup) {
      const float* at = x.data() + row * kInputs + begin;
      plain.store(kernels, row, begin, at, kernel::kGroup);
      mixed.store(kernels, row, begin, at, kernel::kGroup);
    }
  }
  // The second block of a step starts at row 1.
  constexpr int kFirst = 1;
  std::vector<float> coarse((kRows - kFirst) * kOutputs);
  std::vector<float> fine(coarse.size());
  kernel::LinearCall call{
      .weights = panel.panels(), .rows = kRows - kFirst, .panel_end = 1, .out_stride = kOutputs};
  call.out = coarse.data();
  plain.run(kernels, call, kFirst);
  call.out = fine.data();
  mixed.run(kernels, call, kFirst);
  for (int row = kFirst; row < kRows; ++row) {
    double coarse_error = 0;
    double fine_error = 0;
    for (int n = 0; n < kOutputs; ++n) {
      const double exact = panel.dot(n, x.data() + row * kInputs);
      const auto at = static_cast<std::size_t>((row - kFirst) * kOutputs + n);
      coarse_error += std::abs(coarse[at] - exact);
      fine_error += std::abs(fine[at] - exact);
    }
    if (std::ranges::find(finer, row) != finer.end()) {
      EXPECT_LT(fine_error, coarse_error / 20) << "row " << row;
    } else {
      EXPECT_EQ(fine_error, coarse_error) << "row " << row;
    }
  }
}

}  // namespace
}  // namespace genesis::model
