// Linear layers: error against double, and equal bits over tiers, row counts and panel ranges.
#include "kernel/test_matrix.h"

#ifdef GENESIS_KERNEL_AVX2
#include "kernel/linear_amx_imitated.h"
#endif

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace genesis::kernel {
namespace {

constexpr std::uint64_t kSeed = 20261122;

struct TestRows {
  int rows = 0;
  int inputs = 0;
  std::vector<float> values;
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
  std::vector<std::int32_t> totals;
  std::vector<float> sums;

  Activations at(int row) const {
    const auto r = static_cast<std::size_t>(row) * static_cast<std::size_t>(inputs);
    return {codes.data() + r,
            scales.data() + r / kGroup,
            totals.data() + r / kGroup,
            sums.data() + r / kGroup,
            values.data() + r};
  }
};

TestRows make_rows(int rows, int inputs, std::vector<float> values) {
  TestRows x{rows, inputs, std::move(values), {}, {}, {}, {}};
  x.codes.resize(x.values.size());
  x.scales.resize(x.values.size() / kGroup);
  x.totals.resize(x.values.size() / kGroup);
  x.sums.resize(x.values.size() / kGroup);
  kernels_of(Tier::kScalar)
      .quantize(x.values.data(),
                rows * inputs,
                {x.codes.data(), x.scales.data(), x.totals.data(), x.sums.data()});
  return x;
}

TestRows random_rows(int rows, int inputs, Random& random) {
  std::vector<float> values(static_cast<std::size_t>(rows * inputs));
  for (float& v : values) {
    v = test_normal(random);
  }
  return make_rows(rows, inputs, std::move(values));
}

// A tier, or what stands for one that this machine lacks.
struct Way {
  std::string name;
  void (*linear)(const LinearCall& call);
};

std::vector<Way> ways() {
  std::vector<Way> all;
  for (const Tier tier : usable_tiers()) {
    all.push_back({std::string(tier_name(tier)), kernels_of(tier).linear});
#ifdef GENESIS_KERNEL_AVX2
    if (tier == Tier::kAvx512Vnni) {
      all.push_back({"amx imitated", linear_amx_imitated});
    }
#endif
  }
  return all;
}

std::vector<float> run(const Way& way, const TestMatrix& w, const Activations& x, int rows) {
  std::vector<float> out(static_cast<std::size_t>(rows * w.view.outputs), -1.0F);
  LinearCall call;
  call.weights = w.view;
  call.x = x;
  call.rows = rows;
  call.panel_end = w.view.panels();
  call.out = out.data();
  call.out_stride = static_cast<std::size_t>(w.view.outputs);
  way.linear(call);
  return out;
}

// The result as a double sum over the very codes and scales, and a bound of its rounding: each of
// the 2 * groups fused steps rounds once (2^-24 of the running magnitude), so does each factor.
void expect_close(const TestMatrix& w, const TestRows& x, const std::vector<float>& y) {
  for (int r = 0; r < x.rows; ++r) {
    for (int n = 0; n < w.view.outputs; ++n) {
      double exact = 0.0;
      double magnitude = 0.0;
      for (int k = 0; k < x.inputs; ++k) {
        const auto at = static_cast<std::size_t>(r * x.inputs + k);
        const double xv = w.view.format == Format::kF32
                              ? static_cast<double>(x.values[at])
                              : static_cast<double>(x.scales[at / kGroup]) * x.codes[at];
        const double term = xv * w.exact[static_cast<std::size_t>(n * x.inputs + k)];
        exact += term;
        magnitude += std::abs(term);
      }
      // Cancellation between the code and min terms of kQ4 can exceed the sum of |w x|.
      const double bound = (magnitude + 1e-3 * x.inputs) * 1e-5 + 1e-30;
      ASSERT_NEAR(
          static_cast<double>(y[static_cast<std::size_t>(r * w.view.outputs + n)]), exact, bound)
          << "row " << r << " output " << n;
    }
  }
}

class LinearTest : public testing::TestWithParam<Format> {};

TEST_P(LinearTest, AgreesWithDoubleAndTiersAreBitEqual) {
  Random random(kSeed);
  for (const int outputs : {1, 15, 16, 17, 40}) {
    for (const int inputs : {32, 96, 576}) {
      const TestMatrix w = make_matrix(GetParam(), outputs, inputs, random);
      const TestRows x = random_rows(inputs == 96 ? 37 : 7, inputs, random);
      const std::vector<float> reference = run(ways().front(), w, x.at(0), x.rows);
      expect_close(w, x, reference);
      for (const Way& way : ways()) {
        EXPECT_EQ(reference, run(way, w, x.at(0), x.rows))
            << way.name << " " << outputs << "x" << inputs << " seed " << kSeed;
      }
    }
  }
}

TEST_P(LinearTest, ARowDoesNotDependOnItsNeighbours) {
  Random random(kSeed + 1);
  const TestMatrix w = make_matrix(GetParam(), 37, 192, random);
  for (const Way& way : ways()) {
    for (int rows = 1; rows <= 33; ++rows) {
      const TestRows x = random_rows(rows, 192, random);
      const std::vector<float> together = run(way, w, x.at(0), rows);
      for (int r = 0; r < rows; ++r) {
        const std::vector<float> alone = run(way, w, x.at(r), 1);
        ASSERT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + r * 37))
            << way.name << " rows " << rows << " row " << r;
      }
    }
  }
}

TEST_P(LinearTest, PanelRangesAndAddition) {
  Random random(kSeed + 2);
  const TestMatrix w = make_matrix(GetParam(), 70, 64, random);
  constexpr int kRows = 21;  // a tile of sixteen and some
  const TestRows x = random_rows(kRows, 64, random);
  for (const Way& way : ways()) {
    const std::vector<float> whole = run(way, w, x.at(0), kRows);
    // The outputs of panels 3 and 4 (48..69), added to 1, two rows apart by 100.
    std::vector<float> part(100 * kRows, 1.0F);
    LinearCall call{w.view, x.at(0), kRows, 3, 5, part.data(), 100, true};
    way.linear(call);
    for (std::size_t r = 0; r < kRows; ++r) {
      for (std::size_t i = 0; i < 100; ++i) {
        const float expected = i < 22 ? 1.0F + whole[r * 70 + 48 + i] : 1.0F;
        ASSERT_EQ(part[r * 100 + i], expected) << way.name << " row " << r << " at " << i;
      }
    }
  }
}

TEST_P(LinearTest, ExtremeInputsAreExact) {
  Random random(kSeed + 3);
  constexpr int kInputs = 64;
  constexpr int kRows = 16;
  std::vector<std::vector<float>> cases;
  cases.emplace_back(kInputs, 0.0F);
  cases.emplace_back(kInputs, 3.0F);
  cases.emplace_back(kInputs, -3.0F);
  cases.emplace_back(kInputs, 1e-40F);
  cases.emplace_back(kInputs, 1e34F);
  std::vector<float> outlier(kInputs, 1e-3F);
  outlier[5] = 1e6F;
  cases.push_back(outlier);
  for (const int code : {15, 127, 128}) {
    if ((code == 15) != (GetParam() == Format::kQ4)) {
      continue;
    }
    const TestMatrix w = make_matrix(GetParam(), 16, kInputs, random, code);
    for (const auto& values : cases) {
      std::vector<float> same;
      for (int r = 0; r < kRows; ++r) {
        same.insert(same.end(), values.begin(), values.end());
      }
      const TestRows x = make_rows(kRows, kInputs, same);
      const std::vector<float> reference = run(ways().front(), w, x.at(0), kRows);
      expect_close(w, x, reference);
      for (const Way& way : ways()) {
        EXPECT_EQ(reference, run(way, w, x.at(0), kRows)) << way.name << " x " << values[0];
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         LinearTest,
                         testing::Values(Format::kQ4, Format::kQ8, Format::kF32),
                         [](const auto& info) {
                           return std::string(info.param == Format::kQ4   ? "Q4"
                                              : info.param == Format::kQ8 ? "Q8"
                                                                          : "F32");
                         });

}  // namespace
}  // namespace genesis::kernel
