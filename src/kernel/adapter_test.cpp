// Low-rank adapters: error against double, equal bits over tiers and whatever rows share a call.
#include "kernel/test_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace genesis::kernel {
namespace {

constexpr std::uint64_t kSeed = 11;

std::vector<float> normals(std::size_t count, Random& random) {
  std::vector<float> v(count);
  for (float& x : v) {
    x = test_normal(random);
  }
  return v;
}

// Values in either storage; `exact` is what the storage holds.
struct Stored {
  std::vector<float> exact;
  std::vector<std::uint16_t> halves;
  bool half = false;

  Stored(std::size_t count, bool as_half, Random& random)
      : exact(normals(count, random)), half(as_half) {
    for (float& x : exact) {
      if (half) {
        halves.push_back(float_to_half(x));
        x = half_to_float(halves.back());
      }
    }
  }

  const void* data() const { return half ? static_cast<const void*>(halves.data()) : exact.data(); }
};

std::vector<float> shrink(
    Tier tier, const Stored& a, std::span<const float> x, int inputs, int ranks, int rows) {
  std::vector<float> out(static_cast<std::size_t>(rows * ranks));
  std::vector<float*> to;
  for (int r = 0; r < rows; ++r) {
    to.push_back(out.data() + r * ranks);
  }
  kernels_of(tier).adapter.shrink({.x = x.data(),
                                   .rows = rows,
                                   .inputs = inputs,
                                   .a = a.data(),
                                   .half = a.half,
                                   .ranks = ranks,
                                   .scale = 0.75F,
                                   .out = to.data()});
  return out;
}

TEST(AdapterShrink, IsNearDoubleAndEqualInAllTiersAndBatches) {
  Random random(kSeed);
  for (const bool half : {true, false}) {
    for (const auto& [inputs, ranks] : {std::pair{96, 16}, {576, 64}, {32, 32}}) {
      constexpr int kRows = 7;
      const Stored a(static_cast<std::size_t>(inputs * ranks), half, random);
      const std::vector<float> x = normals(static_cast<std::size_t>(inputs) * kRows, random);
      const std::vector<float> first = shrink(Tier::kScalar, a, x, inputs, ranks, kRows);
      for (int r = 0; r < kRows; ++r) {
        for (int j = 0; j < ranks; ++j) {
          double sum = 0.0;
          double size = 0.0;
          for (int k = 0; k < inputs; ++k) {
            const auto at = static_cast<std::size_t>((j / 16 * inputs + k) * 16 + j % 16);
            const double term = static_cast<double>(a.exact[at]) *
                                static_cast<double>(x[static_cast<std::size_t>(r * inputs + k)]);
            sum += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(static_cast<double>(first[static_cast<std::size_t>(r * ranks + j)]),
                      0.75 * sum,
                      1e-6 * size);
        }
      }
      for (const Tier tier : usable_tiers()) {
        ASSERT_EQ(shrink(tier, a, x, inputs, ranks, kRows), first) << tier_name(tier);
        for (int r = 0; r < kRows; ++r) {
          const auto row = std::span(x).subspan(static_cast<std::size_t>(r * inputs));
          const std::vector<float> alone = shrink(tier, a, row, inputs, ranks, 1);
          const auto* at = first.data() + r * ranks;
          ASSERT_EQ(alone, std::vector<float>(at, at + ranks)) << tier_name(tier) << " row " << r;
        }
      }
    }
  }
}

struct Expansion {
  int rank;
  int outputs;
  int begin;
  int end;
};

TEST(AdapterExpand, AddsTheChosenOutputsOfTheChosenRowsOnly) {
  Random random(kSeed);
  constexpr std::size_t kStep = 9;  // rows of the step
  constexpr std::size_t kLow = 64;
  const std::vector<std::int32_t> rows{1, 2, 4, 5, 6, 8};
  for (const bool half : {true, false}) {
    for (const Expansion e :
         {Expansion{16, 96, 0, 6}, {5, 101, 4, 7}, {64, 48, 1, 3}, {4, 7, 0, 1}}) {
      const auto panels = static_cast<std::size_t>((e.outputs + 15) / 16);
      const Stored b(panels * static_cast<std::size_t>(e.rank) * 16, half, random);
      const std::vector<float> low = normals(kStep * kLow, random);
      const std::size_t stride = panels * 16 + 3;
      const std::vector<float> before = normals(kStep * stride, random);
      std::vector<float> first;
      for (const Tier tier : usable_tiers()) {
        std::vector<float> y = before;
        ExpandCall call{.low = low.data(),
                        .low_stride = kLow,
                        .rows = rows.data(),
                        .count = static_cast<int>(rows.size()),
                        .first_row = 1,
                        .b = b.data(),
                        .half = half,
                        .rank = e.rank,
                        .outputs = e.outputs,
                        .panel_begin = e.begin,
                        .panel_end = e.end,
                        .out = y.data(),
                        .out_stride = stride};
        kernels_of(tier).adapter.expand(call);
        first = first.empty() ? y : first;
        ASSERT_EQ(y, first) << tier_name(tier);
        std::vector<float> one_by_one = before;
        call.out = one_by_one.data();
        call.count = 1;
        for (std::size_t i = 0; i < rows.size(); ++i) {
          call.rows = &rows[i];
          kernels_of(tier).adapter.expand(call);
        }
        ASSERT_EQ(one_by_one, first) << tier_name(tier);
      }
      std::vector<double> exact(before.begin(), before.end());
      const int end = std::min(e.end * 16, e.outputs);
      for (const std::int32_t row : rows) {
        for (int n = e.begin * 16; n < end; ++n) {
          double& y = exact[static_cast<std::size_t>(row - 1) * stride +
                            static_cast<std::size_t>(n - e.begin * 16)];
          for (int d = 0; d < e.rank; ++d) {
            const auto at = static_cast<std::size_t>((n / 16 * e.rank + d) * 16 + n % 16);
            y += static_cast<double>(
                     low[static_cast<std::size_t>(row) * kLow + static_cast<std::size_t>(d)]) *
                 static_cast<double>(b.exact[at]);
          }
        }
      }
      for (std::size_t i = 0; i < exact.size(); ++i) {
        if (exact[i] == static_cast<double>(before[i])) {
          ASSERT_EQ(first[i], before[i]) << "untouched at " << i;
        } else {
          ASSERT_NEAR(static_cast<double>(first[i]), exact[i], 1e-4);
        }
      }
    }
  }
}

TEST(AdapterDecode, TiersAgreeAndAdd) {
  Random random(kSeed);
  std::vector<std::int8_t> codes(96);
  for (std::int8_t& code : codes) {
    code = static_cast<std::int8_t>(static_cast<int>(random.below(255)) - 127);
  }
  const std::vector<float> scales = normals(3, random);
  const std::vector<float> before = normals(96, random);
  for (const Tier tier : usable_tiers()) {
    for (const bool add : {false, true}) {
      std::vector<float> x = before;
      kernels_of(tier).adapter.decode({codes.data(), scales.data(), 96, x.data(), add});
      for (std::size_t i = 0; i < 96; ++i) {
        const float value = scales[i / 32] * static_cast<float>(codes[i]);
        ASSERT_EQ(x[i], add ? before[i] + value : value) << tier_name(tier);
      }
    }
  }
}

TEST(AdapterKernels, NotANumberStaysInItsRow) {
  Random random(kSeed);
  const Stored a(32 * 16, true, random);
  std::vector<float> x = normals(64, random);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  for (const Tier tier : usable_tiers()) {
    const std::vector<float> low = shrink(tier, a, x, 32, 16, 2);
    EXPECT_TRUE(std::isnan(low[0]));
    EXPECT_TRUE(std::isfinite(low[16]));
  }
}

}  // namespace
}  // namespace genesis::kernel
