// What GgufWriter writes, the reader reads.
#include "weights/gguf_writer.h"

#include "weights/tensor_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <unistd.h>

namespace genesis::weights {
namespace {

std::filesystem::path temporary(std::string_view name) {
  return std::filesystem::temp_directory_path() /
         fmt::format("genesis-gguf-{}-{}", ::getpid(), name);
}

TEST(GgufWriter, WritesWhatTheReaderReads) {
  GgufMetadata metadata;
  metadata.put_string("general.architecture", "llama");
  metadata.put_u32("llama.block_count", 3);
  metadata.put_f32("llama.rope.freq_base", 5e5F);
  metadata.put_bool("tokenizer.ggml.add_bos_token", true);
  metadata.put_u64("big", 1ULL << 40);
  metadata.put_strings("tokens", std::array<std::string, 2>{"a", "<s>"});
  metadata.put_i32s("kinds", std::array<std::int32_t, 2>{1, -3});
  metadata.put_i64s("rows", std::array<std::int64_t, 1>{1LL << 33});
  metadata.put_f32s("scores", std::array<float, 2>{0.5F, -1.0F});
  const std::array tensors{GgufTensor{"norm", TensorType::kF32, {3}},
                           GgufTensor{"w", TensorType::kQ8_0, {2, 32}}};
  auto layout = GgufLayout::make(metadata, tensors);
  ASSERT_TRUE(layout);
  const auto path = temporary("roundtrip");
  {
    auto writer = GgufWriter::create(path, *std::move(layout));
    ASSERT_TRUE(writer) << writer.error().message;
    std::array<std::uint8_t, 68> blocks{};
    blocks.fill(7);
    EXPECT_TRUE(writer->write(1, 34, std::span(blocks).first(34)));
    EXPECT_TRUE(writer->write(1, 0, std::span(blocks).first(34)));
    EXPECT_TRUE(writer->write(0, 0, std::span(blocks).first(12)));
    EXPECT_TRUE(writer->sync());
  }
  const auto file = TensorFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->described_bytes() <= std::filesystem::file_size(path), true);
  EXPECT_EQ(metadata_integer(**file, "llama.block_count"), 3);
  EXPECT_EQ(metadata_integer(**file, "big"), 1LL << 40);
  EXPECT_EQ(metadata_number(**file, "llama.rope.freq_base"), 5e5);
  EXPECT_EQ(metadata_bool(**file, "tokenizer.ggml.add_bos_token"), true);
  EXPECT_EQ(std::get<std::vector<std::int64_t>>((*file)->metadata().at("kinds")),
            (std::vector<std::int64_t>{1, -3}));
  const TensorView* weight = (*file)->find("w");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->shape, (std::vector<std::int64_t>{2, 32}));
  EXPECT_EQ(weight->data[33], 7);
  EXPECT_EQ(weight->data[67], 7);
  std::filesystem::remove(path);
}

TEST(GgufWriter, HasNoNumberForForeignTypes) {
  const std::array tensors{GgufTensor{"w", TensorType::kNF4, {1, 64}}};
  const auto layout = GgufLayout::make({}, tensors);
  ASSERT_FALSE(layout);
  EXPECT_EQ(layout.error().code, ErrorCode::kInvalidArgument);
}

TEST(GgufWriter, SaysWhereItCannotWrite) {
  auto layout = GgufLayout::make({}, {});
  ASSERT_TRUE(layout);
  const auto writer = GgufWriter::create("/nonexistent/x.gguf", *std::move(layout));
  ASSERT_FALSE(writer);
  EXPECT_NE(writer.error().message.find("/nonexistent/x.gguf"), std::string::npos);
}

}  // namespace
}  // namespace genesis::weights
