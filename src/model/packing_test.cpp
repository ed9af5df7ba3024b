// Packing: exact for 4- and 8-bit GGUF blocks, within half a step for what is rounded.
#include "model/packing.h"

#include "model/memory_region.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace genesis::model {
namespace {

struct Packed {
  MemoryRegion memory;
  kernel::Panels panels;
};

Packed pack(const weights::TensorView& tensor, bool fp32, std::vector<std::int32_t> order = {}) {
  const PackJob job{&tensor, std::move(order), packed_format(tensor, fp32)};
  Result<MemoryRegion> memory = MemoryRegion::allocate(packed_bytes(job.shape()), "a test");
  GENESIS_CHECK(memory.has_value());
  Packed packed{std::move(*memory), {}};
  packed.panels = place(job.shape(), packed.memory.data());
  for (int panel = 0; panel < packed.panels.panels(); ++panel) {
    GENESIS_CHECK(pack_panel(job, packed.panels, panel).has_value());
  }
  return packed;
}

std::vector<float> expanded(const weights::TensorView& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  GENESIS_CHECK(weights::dequantize(tensor.type, tensor.data, values).has_value());
  return values;
}

class PackingTest : public testing::TestWithParam<std::uint32_t> {};

TEST_P(PackingTest, RowsReadBack) {
  const auto opened = open_test_model({.type_of = [](const std::string&) { return GetParam(); }});
  const weights::TensorView& tensor = *opened->file->find("token_embd.weight");  // 101 rows of 64
  const std::vector<float> values = expanded(tensor);
  for (const bool fp32 : {false, true}) {
    const Packed packed = pack(tensor, fp32);
    const bool exact =
        fp32 || GetParam() == kGgufQ4_0 || GetParam() == kGgufQ4_1 || GetParam() == kGgufQ8_0;
    for (int row = 0; row < 101; ++row) {
      std::vector<float> back(64);
      unpack_row(packed.panels, row, back.data());
      for (std::size_t k = 0; k < 64; ++k) {
        const float stored = values[static_cast<std::size_t>(row) * 64 + k];
        // Values lie within +-0.375: half a step of 0.375 / 127, and the rounding of a half scale.
        const float bound = exact ? 1e-6F : 0.375F / 127.0F * 0.6F;
        ASSERT_NEAR(back[k], stored, bound) << "row " << row << " value " << k << " fp32 " << fp32;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types,
                         PackingTest,
                         testing::Values(kGgufF32, kGgufF16, kGgufQ4_0, kGgufQ4_1, kGgufQ8_0));

TEST(Packing, FollowsTheRowOrder) {
  const auto opened = open_test_model({});
  const weights::TensorView& tensor = *opened->file->find("token_embd.weight");
  std::vector<std::int32_t> order(101);
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = static_cast<std::int32_t>(100 - i);
  }
  const Packed plain = pack(tensor, false);
  const Packed turned = pack(tensor, false, order);
  std::vector<float> a(64);
  std::vector<float> b(64);
  unpack_row(plain.panels, 7, a.data());
  unpack_row(turned.panels, 93, b.data());
  EXPECT_EQ(a, b);
}

TEST(Packing, AHugeQ4_0ScaleIsRoundedInsteadOfOverflowing) {
  // Scale 16384: -8 times it is beyond binary16.
  std::string bytes;
  for (int i = 0; i < 16; ++i) {
    bytes += weights::testing::raw(weights::float_to_half(16384.0F)) + std::string(16, '\x7C');
  }
  weights::testing::GgufBuilder file;
  file.put_string("general.architecture", "llama");
  const std::string gguf = file.tensor("w", {32, 16}, kGgufQ4_0, bytes).build();
  const auto opened = weights::TensorFile::from_bytes(weights::testing::as_bytes(gguf));
  ASSERT_TRUE(opened);
  const weights::TensorView& tensor = *(*opened)->find("w");
  EXPECT_EQ(packed_format(tensor, false), kernel::Format::kQ8);
  const Packed packed = pack(tensor, false);
  std::vector<float> back(32);
  unpack_row(packed.panels, 3, back.data());
  EXPECT_NEAR(back[0], 4 * 16384.0F, 300.0F);
  EXPECT_NEAR(back[16], -1 * 16384.0F, 300.0F);
}

}  // namespace
}  // namespace genesis::model
