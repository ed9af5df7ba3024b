// Quantizers: bit-equality with the gguf package, error bounds, and what is refused.
#include "weights/quantize.h"

#include "weights/quantize_golden.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace genesis::weights {
namespace {

std::vector<std::uint8_t> quantized(TensorType type, std::span<const float> values) {
  const BlockLayout layout = block_layout(type);
  std::vector<std::uint8_t> out(values.size() / layout.elements * layout.bytes);
  const auto done = quantize(type, values, out);
  EXPECT_TRUE(done) << done.error().message;
  return out;
}

std::vector<float> golden_input() {
  std::vector<float> values;
  for (const std::uint32_t word : testing::kQuantizeInput) {
    values.push_back(std::bit_cast<float>(word));
  }
  return values;
}

void expect_golden(TensorType type, std::span<const std::uint8_t> golden) {
  const auto out = quantized(type, golden_input());
  ASSERT_EQ(out.size(), golden.size());
  EXPECT_TRUE(std::equal(out.begin(), out.end(), golden.begin())) << tensor_type_name(type);
}

TEST(Quantize, IsBitEqualToTheGgufPackage) {
  expect_golden(TensorType::kQ8_0, testing::kGoldenQ8_0);
  expect_golden(TensorType::kQ4_0, testing::kGoldenQ4_0);
  expect_golden(TensorType::kQ4_1, testing::kGoldenQ4_1);
  expect_golden(TensorType::kQ5_0, testing::kGoldenQ5_0);
  expect_golden(TensorType::kBF16, testing::kGoldenBF16);
}

constexpr TensorType kAll[] = {TensorType::kF32,
                               TensorType::kF16,
                               TensorType::kBF16,
                               TensorType::kQ4_0,
                               TensorType::kQ4_1,
                               TensorType::kQ5_0,
                               TensorType::kQ8_0,
                               TensorType::kQ4_K,
                               TensorType::kQ6_K};

// Blocks of very different shape, each kept within the bound that convert checks files against.
TEST(Quantize, KeepsItsErrorBound) {
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    std::vector<float> values(256);
    std::normal_distribution<float> normal(static_cast<float>(round % 5 - 2) * 0.5F, 1.0F);
    const float size = std::pow(10.0F, static_cast<float>(round % 9 - 6));
    for (float& value : values) {
      value = normal(random) * size;
    }
    if (round % 3 == 0) {
      values[static_cast<std::size_t>(round) % 256] *= 50.0F;
    }
    if (round % 7 == 0) {
      std::fill_n(values.begin(), 64, 0.0F);
    }
    for (const TensorType type : kAll) {
      const auto blocks = quantized(type, values);
      std::vector<float> back(values.size());
      ASSERT_TRUE(dequantize(type, blocks, back));
      const std::size_t elements = block_layout(type).elements;
      for (std::size_t at = 0; at < values.size(); at += elements) {
        const std::span block = std::span(values).subspan(at, elements);
        const double bound = error_bound(type, block);
        for (std::size_t i = 0; i < elements; ++i) {
          ASSERT_LE(std::abs(double{back[at + i]} - values[at + i]), bound)
              << tensor_type_name(type) << " round " << round << " value " << values[at + i];
        }
      }
    }
  }
}

// Root of the mean squared error of normal values, in units of their deviation. llama.cpp's own
// quantizers give 0.0710 (Q4_K) and 0.0177 (Q6_K) on such values (tests/parity/quantize.py).
double relative_error(TensorType type) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> values(256 * 200);
  for (float& value : values) {
    value = normal(random);
  }
  const auto blocks = quantized(type, values);
  std::vector<float> back(values.size());
  EXPECT_TRUE(dequantize(type, blocks, back));
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += std::pow(double{back[i]} - values[i], 2);
  }
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(Quantize, LosesNoMoreThanExpected) {
  EXPECT_LT(relative_error(TensorType::kQ4_K), 0.0715);
  EXPECT_LT(relative_error(TensorType::kQ6_K), 0.0180);
  EXPECT_LT(relative_error(TensorType::kQ8_0), 0.006);
}

TEST(Quantize, RefusesWhatItCannotStore) {
  std::vector<float> values(256, 1.0F);
  std::vector<std::uint8_t> out(144);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  auto done = quantize(TensorType::kQ4_K, values, out);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kDataLoss);
  values[7] = 1e30F;
  EXPECT_FALSE(quantize(TensorType::kQ4_K, values, out));
  values[7] = 1.0F;
  EXPECT_FALSE(quantize(TensorType::kQ4_K, values, std::span(out).first(100)));
  EXPECT_FALSE(quantize(TensorType::kQ5_K, values, out));
  EXPECT_FALSE(can_quantize(TensorType::kI32));
  EXPECT_TRUE(quantize(TensorType::kQ4_K, values, out));
}

}  // namespace
}  // namespace genesis::weights
