// bitsandbytes' 4-bit tensors: exact values, and broken or foreign ones refused by name.
#include "weights/quantize_golden.h"
#include "weights/tensor_file.h"
#include "weights/test_files.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <vector>

namespace genesis::weights {
namespace {

std::string golden_file() {
  return {reinterpret_cast<const char*>(testing::kNf4File), sizeof(testing::kNf4File)};
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

Error refusal(const std::string& file) {
  const auto opened = TensorFile::from_bytes(testing::as_bytes(file));
  EXPECT_FALSE(opened);
  return opened ? Error{} : opened.error();
}

TEST(Nf4, IsExactlyWhatBitsandbytesComputes) {
  const std::string bytes = golden_file();
  const auto file = TensorFile::from_bytes(testing::as_bytes(bytes));
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ((*file)->tensors().size(), 2U);
  const TensorView* weight = (*file)->find("w.weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->type, TensorType::kNF4);
  EXPECT_EQ(weight->shape, (std::vector<std::int64_t>{6, 64}));
  std::vector<float> values(6 * 64);
  ASSERT_TRUE(dequantize(weight->type, weight->data, values));
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), testing::kNf4Expanded[i]) << i;
  }
}

// The header's names and lengths stay as long as they were, so that only the lie changes.
TEST(Nf4, RefusesWhatDoesNotFit) {
  const std::string good = golden_file();
  EXPECT_NE(refusal(replaced(good, "__nf4", "__fp4")).message.find("'fp4' is not supported"),
            std::string::npos);
  EXPECT_EQ(refusal(replaced(good, "w.weight.absmax", "w.weight.absmux")).code,
            ErrorCode::kDataLoss);
  EXPECT_EQ(refusal(replaced(good, "w.weight.quant_map", "w.weight.quant_mop")).code,
            ErrorCode::kDataLoss);
  EXPECT_EQ(refusal(replaced(good, "\"blocksize\": 64", "\"blocksize\": 63")).code,
            ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(replaced(good, "\"shape\": [6, 64]", "\"shape\": [7, 64]")).code,
            ErrorCode::kDataLoss);
  EXPECT_EQ(refusal(replaced(good, "\"shape\": [6, 64]", "\"shape\": \"6,64\"")).code,
            ErrorCode::kDataLoss);
  EXPECT_EQ(refusal(replaced(good, "\"nested_blocksize\": 256", "\"nested_blocksize\": 001")).code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(replaced(good, "\"nested_blocksize\": 256", "\"nested_blocksize\":   2")).code,
            ErrorCode::kDataLoss);
}

// Without double quantization the scales are plain floats.
TEST(Nf4, ReadsPlainScales) {
  const std::string state =
      R"({"blocksize":64,"shape":[1,64],"quant_type":"nf4","dtype":"float32"})";
  std::string map;
  std::string header = R"({"w":{"dtype":"U8","shape":[32,1],"data_offsets":[0,32]},)"
                       R"("w.absmax":{"dtype":"F32","shape":[1],"data_offsets":[32,36]},)"
                       R"("w.quant_map":{"dtype":"F32","shape":[16],"data_offsets":[36,100]},)";
  header += fmt::format(R"("w.quant_state.bitsandbytes__nf4":{{"dtype":"U8","shape":[{0}],)"
                        R"("data_offsets":[100,{1}]}}}})",
                        state.size(),
                        100 + state.size());
  for (const float value : {-1.0F,
                            -0.6961928009986877F,
                            -0.5250730514526367F,
                            -0.39491748809814453F,
                            -0.28444138169288635F,
                            -0.18477343022823334F,
                            -0.09105003625154495F,
                            0.0F,
                            0.07958029955625534F,
                            0.16093020141124725F,
                            0.24611230194568634F,
                            0.33791524171829224F,
                            0.44070982933044434F,
                            0.5626170039176941F,
                            0.7229568362236023F,
                            1.0F}) {
    map += testing::raw(value);
  }
  const std::string data = std::string(32, '\x0F') + testing::raw(2.0F) + map + state;
  const std::string bytes = testing::safetensors_file(header, data);
  const auto file = TensorFile::from_bytes(testing::as_bytes(bytes));
  ASSERT_TRUE(file) << file.error().message;
  std::vector<float> values(64);
  ASSERT_TRUE(dequantize(TensorType::kNF4, (*file)->find("w")->data, values));
  EXPECT_EQ(values[0], -2.0F);
  EXPECT_EQ(values[1], 2.0F);
}

}  // namespace
}  // namespace genesis::weights
