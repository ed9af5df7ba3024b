// Exactness of block expansion against the gguf package, and of the half-precision conversions.
#include "base/random.h"
#include "base/sha256.h"
#include "weights/dequantize_golden.h"
#include "weights/tensor_type.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace genesis::weights {
namespace {

// Offsets of half-precision fields in a block, as in testdata/make_dequantize_golden.py.
std::vector<std::size_t> half_fields(TensorType type) {
  switch (type) {
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
      return {0, 2};
    case TensorType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

std::vector<std::uint8_t> random_blocks(TensorType type, std::size_t count) {
  const std::size_t size = block_layout(type).bytes;
  Random random(count);
  std::vector<std::uint8_t> bytes(count * size);
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(random.next());
  }
  for (std::size_t block = 0; block < count; ++block) {
    for (const std::size_t offset : half_fields(type)) {
      bytes[block * size + offset + 1] &= 0xBF;
    }
  }
  return bytes;
}

std::vector<float> expand(TensorType type, std::size_t blocks) {
  std::vector<float> out(blocks * block_layout(type).elements);
  EXPECT_TRUE(dequantize(type, random_blocks(type, blocks), out));
  return out;
}

TEST(Dequantize, EqualsTheGgufPackageBitForBit) {
  for (const golden::Row& row : golden::kRows) {
    SCOPED_TRACE(tensor_type_name(row.type));
    const std::vector<float> first = expand(row.type, 1);
    for (std::size_t i = 0; i * 8 < row.first_block.size(); ++i) {
      const auto word = std::string(row.first_block.substr(i * 8, 8));
      const auto bits = static_cast<std::uint32_t>(std::stoul(word, nullptr, 16));
      ASSERT_EQ(std::bit_cast<std::uint32_t>(first[i]), bits) << "element " << i;
    }
    const std::vector<float> many = expand(row.type, 256);
    const std::string_view bytes(reinterpret_cast<const char*>(many.data()),
                                 many.size() * sizeof(float));
    EXPECT_EQ(to_hex(sha256(bytes)), row.sha256);
  }
}

TEST(Dequantize, FloatIsCopiedBitForBit) {
  const std::vector<float> values{
      0.0F, -0.0F, 1.5F, std::numeric_limits<float>::infinity(), 1e-42F};
  std::vector<float> out(values.size());
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * 4);
  ASSERT_TRUE(dequantize(TensorType::kF32, bytes, out));
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(out[i]));
  }
}

TEST(Dequantize, ReadsFromUnalignedAddresses) {
  std::vector<std::uint8_t> bytes(1, 0xFF);
  const auto blocks = random_blocks(TensorType::kQ5_0, 2);
  bytes.insert(bytes.end(), blocks.begin(), blocks.end());
  std::vector<float> moved(64);
  ASSERT_TRUE(dequantize(TensorType::kQ5_0, std::span(bytes).subspan(1), moved));
  EXPECT_EQ(moved, expand(TensorType::kQ5_0, 2));
}

TEST(Dequantize, RefusesSizesThatDoNotFit) {
  std::vector<float> out(32);
  const std::vector<std::uint8_t> bytes(40);
  EXPECT_FALSE(dequantize(TensorType::kQ4_0, std::span(bytes).first(17), out));
  EXPECT_FALSE(dequantize(TensorType::kQ4_0, std::span(bytes).first(36), out));
  EXPECT_FALSE(dequantize(TensorType::kQ4_0, std::span(bytes).first(18), std::span(out).first(31)));
  EXPECT_TRUE(dequantize(TensorType::kQ4_0, std::span(bytes).first(18), out));
  EXPECT_TRUE(dequantize(TensorType::kQ4_0, {}, {}));
}

TEST(Dequantize, RefusesTypesThatAreNotWeights) {
  std::vector<float> out(1);
  const std::vector<std::uint8_t> bytes(8);
  for (const TensorType type :
       {TensorType::kI8, TensorType::kI64, TensorType::kF64, TensorType::kBool}) {
    const auto done = dequantize(type, bytes, out);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, ErrorCode::kUnsupported);
  }
}

// The value of a half by the definition of IEEE 754, independent of bit tricks.
double half_value(std::uint32_t half) {
  const int exponent = static_cast<int>((half >> 10) & 31U);
  const int mantissa = static_cast<int>(half & 1023U);
  const double sign = (half & 0x8000U) != 0 ? -1.0 : 1.0;
  return sign *
         (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

TEST(Half, EveryBitPatternHasItsValueAndComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if ((bits & 0x7C00U) == 0x7C00U) {
      ASSERT_EQ(std::isnan(value), (bits & 0x3FFU) != 0) << bits;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000U) != 0) << bits;
      if (std::isnan(value)) {
        ASSERT_TRUE(std::isnan(half_to_float(float_to_half(value)))) << bits;
        continue;
      }
      ASSERT_TRUE(std::isinf(value));
    } else {
      ASSERT_EQ(static_cast<double>(value), half_value(bits)) << bits;
    }
    ASSERT_EQ(float_to_half(value), half);
  }
}

TEST(Half, RoundsToNearestEvenBetweenNeighbours) {
  for (std::uint32_t bits = 0; bits < 0x7BFFU; ++bits) {
    const double low = half_value(bits);
    const double high = half_value(bits + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    const auto even = static_cast<std::uint16_t>(bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(float_to_half(middle), even);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0F)), bits);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e6F)), bits + 1);
    ASSERT_EQ(float_to_half(-middle), even | 0x8000U);
  }
  EXPECT_EQ(float_to_half(65519.99F), 0x7BFF);
  EXPECT_EQ(float_to_half(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_half(1e30F), 0x7C00);
  EXPECT_EQ(float_to_half(-1e-30F), 0x8000);
}

}  // namespace
}  // namespace genesis::weights
