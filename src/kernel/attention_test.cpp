// Attention over int8 pages: exact integer products, error bounds, and equal bits over tiers.
#include "kernel/test_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace genesis::kernel {
namespace {

constexpr std::uint64_t kSeed = 11;
constexpr int kTestDims[] = {32, 64, 96, 128, 256};
const float kNan = std::numeric_limits<float>::quiet_NaN();

std::size_t index(int i) {
  return static_cast<std::size_t>(i);
}

std::vector<Tier> tiers() {
  return usable_tiers();
}

std::vector<float> normals(int count, Random& random, float scale = 1.0F) {
  std::vector<float> v(index(count));
  for (float& x : v) {
    x = scale * test_normal(random);
  }
  return v;
}

std::vector<std::uint32_t> bits(std::span<const float> v) {
  std::vector<std::uint32_t> out;
  for (const float x : v) {
    out.push_back(std::isnan(x) ? 0x7FC00000U : std::bit_cast<std::uint32_t>(x));
  }
  return out;
}

template <typename T>
std::vector<T> codes(int count, int limit, Random& random, bool extreme) {
  std::vector<T> v(index(count));
  for (T& x : v) {
    const std::int64_t span = (2 * std::int64_t{limit}) + 1;
    const auto any =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(span))) - limit;
    x = static_cast<T>(extreme ? (any < 0 ? -limit : limit) : any);
  }
  return v;
}

TEST(AttentionKernels, SpreadKeepsProductsAndTiersAreBitEqual) {
  Random random(kSeed);
  for (const int block : {8, 32, 64, 128}) {
    const std::vector<float> a = normals(2 * block, random);
    const std::vector<float> b = normals(2 * block, random);
    std::vector<float> first;
    for (const Tier tier : tiers()) {
      std::vector<float> x = a;
      std::vector<float> y = b;
      kernels_of(tier).attention.spread(x.data(), 2 * block, block);
      kernels_of(tier).attention.spread(y.data(), 2 * block, block);
      double plain = 0.0;
      double spread = 0.0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        plain += static_cast<double>(a[i]) * static_cast<double>(b[i]);
        spread += static_cast<double>(x[i]) * static_cast<double>(y[i]) / block;
      }
      ASSERT_NEAR(plain, spread, 1e-4);
      first = first.empty() ? x : first;
      ASSERT_EQ(bits(x), bits(first)) << tier_name(tier) << " " << block;
    }
  }
}

TEST(AttentionKernels, CodesAreNearAndTiersAreBitEqual) {
  Random random(kSeed);
  for (const int dims : kTestDims) {
    for (const float size : {1e-31F, 1e-20F, 1.0F, 1e20F}) {
      std::vector<float> x = normals(dims, random, size);
      std::vector<std::int8_t> first_bytes;
      std::vector<std::int16_t> first_words;
      float first_scales[2] = {};
      for (const Tier tier : tiers()) {
        const AttentionKernels& kernels = kernels_of(tier).attention;
        std::vector<std::int8_t> bytes(index(dims));
        std::vector<std::int16_t> words(index(dims));
        const float scale = kernels.encode(x.data(), dims, bytes.data());
        const float fine = kernels.encode_query(x.data(), dims, query_limit(dims), words.data());
        const float top =
            std::abs(*std::ranges::max_element(x, {}, [](float v) { return std::abs(v); }));
        // Half a step, and what the least-squares scale moves the outermost codes.
        for (std::size_t i = 0; i < x.size() && size > 1e-30F; ++i) {
          ASSERT_NEAR(scale * static_cast<float>(bytes[i]), x[i], top / 127.0F * 0.6F);
          ASSERT_NEAR(fine * static_cast<float>(words[i]), x[i], top / 32767.0F * 0.55F);
        }
        if (size < 1e-30F) {
          ASSERT_EQ(scale, 0.0F);
          ASSERT_EQ(fine, 0.0F);
        }
        if (tier == Tier::kScalar) {
          first_bytes = bytes;
          first_words = words;
          first_scales[0] = scale;
          first_scales[1] = fine;
        }
        ASSERT_EQ(bytes, first_bytes) << tier_name(tier);
        ASSERT_EQ(words, first_words) << tier_name(tier);
        ASSERT_EQ(scale, first_scales[0]);
        ASSERT_EQ(fine, first_scales[1]);
      }
    }
  }
}

TEST(AttentionKernels, ValuesThatAreNotFiniteGiveNanScales) {
  for (const Tier tier : tiers()) {
    for (const float bad : {kNan, std::numeric_limits<float>::infinity(), -kNan}) {
      std::vector<float> x(64, 1.0F);
      x[41] = bad;
      std::array<std::int8_t, 64> bytes;
      std::array<std::int16_t, 64> words;
      EXPECT_TRUE(std::isnan(kernels_of(tier).attention.encode(x.data(), 64, bytes.data())));
      EXPECT_TRUE(
          std::isnan(kernels_of(tier).attention.encode_query(x.data(), 64, 32767, words.data())));
      EXPECT_EQ(std::ranges::count(bytes, 0), 64);
      EXPECT_EQ(std::ranges::count(words, 0), 64);
    }
  }
}

TEST(AttentionKernels, ScoresAreExactProductsAndTiersAreBitEqual) {
  Random random(kSeed);
  for (const int dims : kTestDims) {
    for (int rows = 1; rows <= 26; ++rows) {
      const bool extreme = rows % 5 == 0;
      const auto queries = codes<std::int16_t>(rows * dims, query_limit(dims), random, extreme);
      const auto keys = codes<std::int8_t>(dims * kPageTokens, 127, random, extreme);
      const std::vector<float> query_scales = normals(rows, random);
      const std::vector<float> key_scales = normals(kPageTokens, random);
      constexpr std::size_t kStride = 40;
      std::vector<float> exact(index(rows) * kStride, -7.0F);
      for (int r = 0; r < rows; ++r) {
        for (int t = 0; t < kPageTokens; ++t) {
          std::int64_t dot = 0;
          for (int d = 0; d < dims; ++d) {
            dot += std::int64_t{queries[index(r * dims + d)]} *
                   keys[index((d / 2 * kPageTokens + t) * 2 + d % 2)];
          }
          ASSERT_LE(std::abs(dot), std::int64_t{std::numeric_limits<std::int32_t>::max()});
          exact[index(r) * kStride + index(t)] =
              (static_cast<float>(dot) * query_scales[index(r)]) * key_scales[index(t)];
        }
      }
      for (const Tier tier : tiers()) {
        std::vector<float> out(exact.size(), -7.0F);
        kernels_of(tier).attention.score({.queries = queries.data(),
                                          .query_scales = query_scales.data(),
                                          .rows = rows,
                                          .dims = dims,
                                          .keys = keys.data(),
                                          .key_scales = key_scales.data(),
                                          .out = out.data(),
                                          .out_stride = kStride});
        ASSERT_EQ(bits(out), bits(exact)) << tier_name(tier) << " " << rows << "x" << dims;
      }
    }
  }
}

TEST(AttentionKernels, GatheredValuesAreExactSums) {
  Random random(kSeed);
  for (const int dims : kTestDims) {
    for (int rows = 1; rows <= 13; ++rows) {
      const int pages = 1 + rows % 8;
      const bool extreme = rows % 3 == 0;
      const std::size_t stride = index(pages * kPageTokens + 16);
      const auto weights =
          codes<std::int16_t>(rows * static_cast<int>(stride), 32767, random, extreme);
      std::vector<std::vector<std::int8_t>> values;
      std::vector<const std::int8_t*> pointers;
      for (int page = 0; page < pages; ++page) {
        values.push_back(codes<std::int8_t>(dims * kPageTokens, 127, random, extreme));
      }
      for (const auto& page : values) {
        pointers.push_back(page.data());
      }
      const std::vector<std::int32_t> before(index(rows * dims), 1'000'000);
      for (const bool keep : {false, true}) {
        std::vector<std::int32_t> exact(before.size());
        for (int r = 0; r < rows; ++r) {
          for (int d = 0; d < dims; ++d) {
            std::int64_t sum = keep ? before[0] : 0;
            for (int t = 0; t < pages * kPageTokens; ++t) {
              const int in_page = t % kPageTokens;
              sum +=
                  std::int64_t{weights[index(r) * stride + index(t)]} *
                  values[index(t / kPageTokens)][index((in_page / 2 * dims + d) * 2 + in_page % 2)];
            }
            exact[index(r * dims + d)] = static_cast<std::int32_t>(sum);
          }
        }
        for (const Tier tier : tiers()) {
          std::vector<std::int32_t> sums = before;
          kernels_of(tier).attention.gather({.weights = weights.data(),
                                             .weight_stride = stride,
                                             .rows = rows,
                                             .dims = dims,
                                             .values = pointers.data(),
                                             .pages = pages,
                                             .sums = sums.data(),
                                             .keep = keep});
          ASSERT_EQ(sums, exact) << tier_name(tier) << " " << rows << "x" << dims;
        }
      }
    }
  }
}

struct Weighed {
  WeighResult result;
  std::vector<std::int16_t> weights;
};

Weighed weigh(Tier tier, std::vector<float> scores, int count, const std::vector<float>& scales) {
  std::vector<const float*> pages;
  for (std::size_t at = 0; at < scales.size(); at += kPageTokens) {
    pages.push_back(scales.data() + at);
  }
  Weighed out;
  out.weights.assign(scores.size(), 77);
  out.result = kernels_of(tier).attention.weigh({.scores = scores.data(),
                                                 .count = count,
                                                 .value_scales = pages.data(),
                                                 .weights = out.weights.data()});
  return out;
}

TEST(AttentionKernels, WeightsFollowTheSoftmaxAndTiersAreBitEqual) {
  Random random(kSeed);
  for (int count = 1; count <= 256; ++count) {
    const std::vector<float> scores = normals(256, random, count % 3 == 0 ? 30.0F : 3.0F);
    std::vector<float> scales = normals(256, random);
    for (std::size_t i = 0; i < scales.size(); ++i) {
      // Slots nobody may read hold anything.
      scales[i] = i < index(count) ? std::abs(scales[i]) : (i % 2 == 0 ? kNan : 1e30F);
    }
    const Weighed first = weigh(Tier::kScalar, scores, count, scales);
    const auto top = *std::max_element(scores.begin(), scores.begin() + count);
    ASSERT_EQ(first.result.max, top);
    double sum = 0.0;
    for (int t = 0; t < (count + 31) / 32 * 32; ++t) {
      const float weight = first.result.scale * static_cast<float>(first.weights[index(t)]);
      const double e = t < count ? std::exp(static_cast<double>(scores[index(t)] - top)) : 0.0;
      const double exact = t < count ? e * static_cast<double>(scales[index(t)]) : 0.0;
      ASSERT_NEAR(static_cast<double>(weight), exact, static_cast<double>(first.result.scale)) << t;
      sum += e;
    }
    ASSERT_NEAR(static_cast<double>(first.result.sum), sum, sum * 1e-5);
    for (const Tier tier : tiers()) {
      const Weighed other = weigh(tier, scores, count, scales);
      ASSERT_EQ(other.weights, first.weights) << tier_name(tier) << " " << count;
      ASSERT_EQ(other.result.max, first.result.max);
      ASSERT_EQ(other.result.sum, first.result.sum);
      ASSERT_EQ(other.result.scale, first.result.scale);
    }
  }
}

TEST(AttentionKernels, ValuesWithoutAScaleGiveZerosOrNan) {
  Random random(kSeed);
  const std::vector<float> scores = normals(64, random);
  for (const Tier tier : tiers()) {
    for (const int count : {5, 16, 37, 64}) {
      const Weighed zero = weigh(tier, scores, count, std::vector<float>(64, 0.0F));
      EXPECT_EQ(zero.result.scale, 0.0F);
      std::vector<float> scales(64, 1.0F);
      scales[index(count - 1)] = kNan;
      const Weighed bad = weigh(tier, scores, count, scales);
      EXPECT_TRUE(std::isnan(bad.result.scale)) << tier_name(tier) << " " << count;
      for (int t = 0; t < (count + 31) / 32 * 32; ++t) {
        ASSERT_EQ(zero.weights[index(t)], 0);
        ASSERT_EQ(bad.weights[index(t)], 0);
      }
    }
  }
}

TEST(AttentionKernels, SettledSumsAreScaledFloats) {
  Random random(kSeed);
  const auto sums = codes<std::int32_t>(96, 1 << 30, random, false);
  for (const Tier tier : tiers()) {
    std::vector<float> out(96);
    kernels_of(tier).attention.settle(sums.data(), 0.37F, 96, out.data());
    for (std::size_t i = 0; i < out.size(); ++i) {
      ASSERT_EQ(out[i], static_cast<float>(sums[i]) * 0.37F);
    }
  }
}

}  // namespace
}  // namespace genesis::kernel
