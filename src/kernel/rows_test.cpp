// Norms, rotary, activations, softmax and attention products: error bounds and equal bits over
// tiers.
#include "kernel/test_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

namespace genesis::kernel {
namespace {

constexpr std::uint64_t kSeed = 7;

std::vector<Tier> tiers() {
  return usable_tiers();
}

std::vector<float> normals(std::size_t count, Random& random, float scale = 1.0F) {
  std::vector<float> v(count);
  for (float& x : v) {
    x = scale * test_normal(random);
  }
  return v;
}

std::vector<std::uint32_t> bits(const std::vector<float>& v) {
  std::vector<std::uint32_t> out;
  for (const float x : v) {
    out.push_back(std::bit_cast<std::uint32_t>(x));
  }
  return out;
}

TEST(Half, RoundTripsAndRounds) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    if ((half & 0x7C00U) == 0x7C00U && (half & 0x3FFU) != 0) {
      EXPECT_TRUE(std::isnan(half_to_float(half)));
      continue;
    }
    ASSERT_EQ(float_to_half(half_to_float(half)), half);
  }
  EXPECT_EQ(float_to_half(65519.0F), 0x7BFF);
  EXPECT_EQ(float_to_half(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_half(0x1.0p-25F), 0);  // a tie goes to even
  EXPECT_EQ(float_to_half(0x1.8p-24F), 2);  // likewise
  EXPECT_EQ(float_to_half(1.0F + 0x1.0p-11F), 0x3C00);
}

TEST(Half, TiersConvertAlike) {
  Random random(kSeed);
  std::vector<float> x;
  for (int i = 0; i < 80000; ++i) {
    const float v = std::bit_cast<float>(static_cast<std::uint32_t>(random.next()));
    x.push_back(std::isnan(v) ? 0.0F : v);
  }
  const int count = static_cast<int>(x.size());
  for (const Tier tier : tiers()) {
    std::vector<std::uint16_t> halves(x.size());
    std::vector<float> wide(x.size());
    kernels_of(tier).narrow(x.data(), count, halves.data());
    kernels_of(tier).widen(halves.data(), count, wide.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(halves[i], float_to_half(x[i])) << tier_name(tier) << " " << x[i];
      ASSERT_EQ(wide[i], half_to_float(halves[i]));
    }
  }
}

TEST(Exp, StaysWithinItsBound) {
  std::vector<float> x;
  for (int i = 0; i < 400000; ++i) {
    x.push_back(-87.0F + 175.0F * static_cast<float>(i) / 400000.0F);
  }
  std::vector<float> reference(x.size());
  kernels_of(Tier::kScalar).exp(x.data(), static_cast<int>(x.size()), reference.data());
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    worst = std::max(worst, std::abs(static_cast<double>(reference[i]) - exact) / exact);
  }
  EXPECT_LT(worst, 2e-7);
  for (const Tier tier : tiers()) {
    std::vector<float> y(x.size());
    kernels_of(tier).exp(x.data(), static_cast<int>(x.size()), y.data());
    EXPECT_EQ(bits(y), bits(reference)) << tier_name(tier);
  }
}

TEST(Exp, EdgesAreDefined) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x{-inf, -88.0F, -87.0F, 0.0F, 88.0F, 1e30F, inf, nan};
  for (const Tier tier : tiers()) {
    std::vector<float> y(8);
    kernels_of(tier).exp(x.data(), 8, y.data());
    EXPECT_EQ(y[0], 0.0F);
    EXPECT_EQ(y[1], 0.0F);
    EXPECT_GT(y[2], 1e-38F);
    EXPECT_EQ(y[3], 1.0F);
    EXPECT_EQ(y[5], y[4]);
    EXPECT_EQ(y[6], y[4]);
    EXPECT_EQ(y[7], 0.0F);
  }
}

// Squared error of a group with the given scale.
double squared_error(const float* x, const std::int8_t* codes, double scale) {
  double sum = 0.0;
  for (int i = 0; i < kGroup; ++i) {
    const double error = static_cast<double>(x[i]) - scale * codes[i];
    sum += error * error;
  }
  return sum;
}

TEST(Quantize, CodesAreNearestScalesFitAndTiersAgree) {
  Random random(kSeed);
  constexpr std::size_t kGroups = 400;
  std::vector<float> x = normals(kGroup * kGroups, random);
  for (std::size_t i = 0; i < 32; ++i) {
    x[i] = 0.0F;
    x[32 + i] = 1e-35F;
    x[64 + i] = 3.4e38F * (i % 2 == 0 ? 1.0F : -1.0F);
    x[96 + i] = 1.5e-30F;
    x[128 + i] = i == 9 ? 1e6F : 3900.0F;
  }
  std::vector<std::int8_t> first_codes;
  std::vector<std::uint32_t> first_scales;
  for (const Tier tier : tiers()) {
    std::vector<std::int8_t> codes(x.size());
    std::vector<float> scales(kGroups);
    std::vector<std::int32_t> totals(kGroups);
    std::vector<float> sums(kGroups);
    kernels_of(tier).quantize(x.data(),
                              static_cast<int>(x.size()),
                              {codes.data(), scales.data(), totals.data(), sums.data()});
    for (std::size_t g = 0; g < kGroups; ++g) {
      const float* group = x.data() + kGroup * g;
      const std::int8_t* group_codes = codes.data() + kGroup * g;
      float amax = 0.0F;
      int total = 0;
      for (std::size_t i = 0; i < kGroup; ++i) {
        amax = std::max(amax, std::abs(group[i]));
        total += group_codes[i];
      }
      const double plain = static_cast<double>(amax) / 127.0;
      for (std::size_t i = 0; i < kGroup; ++i) {
        ASSERT_NEAR(plain * group_codes[i], static_cast<double>(group[i]), plain * 0.5001 + 1e-30);
      }
      // Scales are floats: their own rounding may add a little.
      const double rounding = std::pow(static_cast<double>(amax) * 1e-6, 2);
      const double fitted = squared_error(group, group_codes, static_cast<double>(scales[g]));
      ASSERT_LE(fitted, squared_error(group, group_codes, plain) * (1.0 + 1e-6) + rounding)
          << tier_name(tier) << " group " << g;
      ASSERT_EQ(totals[g], total);
      ASSERT_EQ(sums[g], scales[g] * static_cast<float>(total));
    }
    if (first_codes.empty()) {
      first_codes = codes;
      first_scales = bits(scales);
    }
    EXPECT_EQ(codes, first_codes) << tier_name(tier);
    EXPECT_EQ(bits(scales), first_scales) << tier_name(tier);
  }
}

TEST(Quantize, NotANumberStaysInItsGroup) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (const Tier tier : tiers()) {
      std::vector<float> x(64, 1.0F);
      x[40] = bad;
      std::int8_t codes[64];
      float scales[2];
      std::int32_t totals[2];
      float sums[2];
      kernels_of(tier).quantize(x.data(), 64, {codes, scales, totals, sums});
      EXPECT_EQ(codes[0], 127);
      EXPECT_EQ(scales[0], 1.0F / 127.0F);
      EXPECT_EQ(sums[0], scales[0] * (32 * 127));
      EXPECT_EQ(totals[0], 32 * 127);
      EXPECT_TRUE(std::isnan(scales[1]) && std::isnan(sums[1]));
    }
  }
}

TEST(RmsNorm, AgreesWithDoubleAndTiersAreBitEqual) {
  Random random(kSeed);
  for (const int count : {32, 576, 4096}) {
    for (const float scale : {1e-20F, 1.0F, 1e8F}) {
      const auto n = static_cast<std::size_t>(count);
      const std::vector<float> x = normals(n, random, scale);
      const std::vector<float> w = normals(n, random);
      double squares = 0.0;
      for (const float v : x) {
        squares += static_cast<double>(v) * static_cast<double>(v);
      }
      const double inverse = 1.0 / std::sqrt(squares / count + 1e-5);
      std::vector<float> first(n);
      kernels_of(Tier::kScalar).rms_norm(x.data(), w.data(), 1e-5F, count, first.data());
      for (std::size_t i = 0; i < n; ++i) {
        const double exact = static_cast<double>(x[i]) * inverse * static_cast<double>(w[i]);
        ASSERT_NEAR(static_cast<double>(first[i]), exact, std::abs(exact) * 2e-6);
      }
      for (const Tier tier : tiers()) {
        std::vector<float> y(n);
        kernels_of(tier).rms_norm(x.data(), w.data(), 1e-5F, count, y.data());
        EXPECT_EQ(bits(y), bits(first)) << tier_name(tier) << " " << count;
      }
    }
  }
}

TEST(Rotate, AgreesWithDoubleAndTiersAreBitEqual) {
  Random random(kSeed);
  const std::vector<float> x = normals(64, random);
  std::vector<float> cos(32);
  std::vector<float> sin(32);
  for (std::size_t i = 0; i < 32; ++i) {
    const double angle = 100.0 * random.uniform();
    cos[i] = static_cast<float>(std::cos(angle));
    sin[i] = static_cast<float>(std::sin(angle));
  }
  std::vector<float> first;
  for (const Tier tier : tiers()) {
    std::vector<float> y = x;
    kernels_of(tier).rotate(y.data(), cos.data(), sin.data(), 32);
    for (std::size_t i = 0; i < 32; ++i) {
      const auto c = static_cast<double>(cos[i]);
      const auto s = static_cast<double>(sin[i]);
      const auto a = static_cast<double>(x[i]);
      const auto b = static_cast<double>(x[i + 32]);
      ASSERT_NEAR(static_cast<double>(y[i]), a * c - b * s, 1e-6);
      ASSERT_NEAR(static_cast<double>(y[i + 32]), b * c + a * s, 1e-6);
    }
    first = first.empty() ? y : first;
    EXPECT_EQ(bits(y), bits(first)) << tier_name(tier);
  }
}

TEST(Silu, AgreesWithDoubleAndTiersAreBitEqual) {
  Random random(kSeed);
  std::vector<float> gate = normals(1024, random, 8.0F);
  gate[0] = 200.0F;
  gate[1] = -200.0F;
  gate[2] = 0.0F;
  const std::vector<float> up = normals(1024, random);
  std::vector<float> first;
  for (const Tier tier : tiers()) {
    std::vector<float> y(1024);
    kernels_of(tier).silu_mul(gate.data(), up.data(), 1024, y.data());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const auto g = static_cast<double>(gate[i]);
      const double exact = g / (1.0 + std::exp(-g)) * static_cast<double>(up[i]);
      ASSERT_NEAR(static_cast<double>(y[i]), exact, std::abs(exact) * 1e-6 + 1e-30) << gate[i];
    }
    first = first.empty() ? y : first;
    EXPECT_EQ(bits(y), bits(first)) << tier_name(tier);
  }
}

TEST(Gelu, AgreesWithDoubleAndTiersAreBitEqual) {
  Random random(kSeed);
  std::vector<float> gate = normals(1032, random, 4.0F);
  gate[0] = 1e20F;
  gate[1] = -200.0F;
  gate[2] = 0.0F;
  const std::vector<float> up = normals(gate.size(), random);
  std::vector<float> first;
  for (const Tier tier : tiers()) {
    std::vector<float> y(gate.size());
    kernels_of(tier).gelu_mul(gate.data(), up.data(), static_cast<int>(gate.size()), y.data());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const auto g = static_cast<double>(gate[i]);
      const double u = std::sqrt(2.0 / std::numbers::pi) * (g + 0.044715 * g * g * g);
      // The argument of exp() is rounded to float: for it an error of |2u| * 2^-22.
      const double exact = g / (1.0 + std::exp(-2.0 * u)) * static_cast<double>(up[i]);
      const double bound = std::abs(exact) * (1e-6 + (g < 0 ? std::abs(u) * 5e-7 : 0.0));
      ASSERT_NEAR(static_cast<double>(y[i]), exact, bound + 1e-30) << gate[i];
    }
    first = first.empty() ? y : first;
    EXPECT_EQ(bits(y), bits(first)) << tier_name(tier);
  }
}

TEST(Softcap, AgreesWithDoubleAtAnyCountAndTiersAreBitEqual) {
  Random random(kSeed);
  for (int count = 1; count <= 40; ++count) {
    std::vector<float> x = normals(static_cast<std::size_t>(count) + 1, random, 100.0F);
    x[0] = count % 2 == 0 ? 1e30F : 1e-6F;
    std::vector<float> first;
    for (const Tier tier : tiers()) {
      std::vector<float> y = x;
      kernels_of(tier).softcap(y.data(), count, 0.25F, 30.0F);
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        const double exact = 30.0 * std::tanh(static_cast<double>(x[i] * 0.25F) / 30.0);
        ASSERT_NEAR(static_cast<double>(y[i]), exact, std::abs(exact) * 4e-7) << x[i];
      }
      ASSERT_EQ(y.back(), x.back()) << "beyond the end";
      first = first.empty() ? y : first;
      ASSERT_EQ(bits(y), bits(first)) << tier_name(tier);
    }
  }
}

TEST(Softcap, ShowsWhatIsNotANumber) {
  for (const Tier tier : tiers()) {
    std::vector<float> x(9, std::numeric_limits<float>::quiet_NaN());
    x[1] = -std::numeric_limits<float>::infinity();
    kernels_of(tier).softcap(x.data(), 9, 1.0F, 30.0F);
    EXPECT_TRUE(std::isnan(x[0]));
    EXPECT_TRUE(std::isnan(x[8]));
    EXPECT_EQ(x[1], -30.0F);
  }
}

// NOLINTNEXTLINE(readability-function-cognitive-complexity): nested loops over shapes
TEST(Mix, AgreesWithDoubleAndRowsStandAlone) {
  Random random(kSeed);
  for (const bool half : {false, true}) {
    for (const int columns : {8, 16, 24, 64, 104}) {
      for (int rows = 1; rows <= 14; ++rows) {
        constexpr int kDepth = 40;
        const std::vector<float> a = normals(static_cast<std::size_t>(rows * kDepth), random);
        std::vector<float> b = normals(static_cast<std::size_t>(kDepth * columns), random);
        std::vector<std::uint16_t> halves(b.size());
        for (std::size_t i = 0; half && i < b.size(); ++i) {
          halves[i] = float_to_half(b[i]);
          b[i] = half_to_float(halves[i]);
        }
        const std::vector<float> start = normals(static_cast<std::size_t>(rows * columns), random);
        MixCall call;
        call.a = a.data();
        call.a_stride = kDepth;
        call.b = half ? static_cast<const void*>(halves.data()) : b.data();
        call.b_stride = static_cast<std::size_t>(columns);
        call.b_is_half = half;
        call.c_stride = static_cast<std::size_t>(columns);
        call.rows = rows;
        call.depth = kDepth;
        call.columns = columns;
        call.keep = true;
        std::vector<float> first;
        for (const Tier tier : tiers()) {
          std::vector<float> c = start;
          call.c = c.data();
          kernels_of(tier).mix(call);
          first = first.empty() ? c : first;
          ASSERT_EQ(bits(c), bits(first)) << tier_name(tier) << " " << rows << "x" << columns;
        }
        for (int r = 0; r < rows; ++r) {
          for (int j = 0; j < columns; ++j) {
            const auto at = static_cast<std::size_t>(r * columns + j);
            auto exact = static_cast<double>(start[at]);
            for (int d = 0; d < kDepth; ++d) {
              exact += static_cast<double>(a[static_cast<std::size_t>(r * kDepth + d)]) *
                       static_cast<double>(b[static_cast<std::size_t>(d * columns + j)]);
            }
            ASSERT_NEAR(static_cast<double>(first[at]), exact, 3e-5);
          }
        }
      }
    }
  }
}

TEST(Softmax, SumsToItsPartsAndTiersAreBitEqual) {
  Random random(kSeed);
  for (int count = 1; count <= 70; ++count) {
    std::vector<float> s = normals(80, random, 20.0F);
    std::vector<float> first;
    SoftmaxPart first_part;
    for (const Tier tier : tiers()) {
      std::vector<float> p = s;
      const SoftmaxPart part = kernels_of(tier).softmax(p.data(), count, 0.125F);
      p.resize(static_cast<std::size_t>(count));
      double sum = 0.0;
      for (std::size_t i = 0; i < p.size(); ++i) {
        const double exact =
            std::exp(static_cast<double>(s[i] * 0.125F) - static_cast<double>(part.max));
        ASSERT_NEAR(static_cast<double>(p[i]), exact, exact * 1e-5);
        sum += static_cast<double>(p[i]);
      }
      ASSERT_NEAR(static_cast<double>(part.sum), sum, sum * 1e-6);
      ASSERT_EQ(part.max, *std::max_element(s.begin(), s.begin() + count) * 0.125F);
      if (first.empty()) {
        first = p;
        first_part = part;
      }
      ASSERT_EQ(bits(p), bits(first)) << tier_name(tier) << " " << count;
      ASSERT_EQ(part.sum, first_part.sum);
    }
  }
}

TEST(Cpu, TierNamesAreChecked) {
  EXPECT_EQ(choose_tier("scalar"), Tier::kScalar);
  EXPECT_EQ(choose_tier(""), best_tier());
  const Result<Tier> unknown = choose_tier("sse9");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().param, "isa");
  EXPECT_GE(physical_cores(), 1);
}

}  // namespace
}  // namespace genesis::kernel
