// Models in several files: what belongs together is one, every lie of the index is named.
#include "base/file.h"
#include "weights/tensor_file.h"
#include "weights/test_files.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <unistd.h>

namespace genesis::weights {
namespace {

namespace fs = std::filesystem;

class Sharded : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        fs::temp_directory_path() / fmt::format("genesis-shards-{}-{}", ::getpid(), info->name());
    fs::create_directories(folder_);
    put("a.safetensors",
        testing::safetensors_file(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                                  std::string(8, '\1')));
    put("b.safetensors",
        testing::safetensors_file(R"({"y":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                                  std::string(3, '\2')));
  }

  void TearDown() override { fs::remove_all(folder_); }

  void put(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(write_file_atomic(folder_ / name, bytes));
  }

  Result<std::shared_ptr<const TensorFile>> open(const std::string& index) {
    put("model.safetensors.index.json", index);
    return TensorFile::open(folder_ / "model.safetensors.index.json");
  }

  std::string refusal(const std::string& index) {
    const auto file = open(index);
    EXPECT_FALSE(file) << index;
    return file ? "" : file.error().message;
  }

  static std::string part(std::uint16_t number, std::uint16_t count, std::string_view tensor) {
    testing::GgufBuilder file;
    file.put_string("general.name", fmt::format("part{}", number))
        .put_number("split.no", 2, number)
        .put_number("split.count", 2, count)
        .put_number("split.tensors.count", 5, std::int32_t{2});
    file.tensor(tensor, {4}, 0, std::string(16, '\x01'));
    return file.build();
  }

  fs::path folder_;
};

constexpr std::string_view kGood =
    R"({"metadata":{"total_size":11},"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})";

TEST_F(Sharded, OpensAllShardsAsOne) {
  const auto file = open(std::string(kGood));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->format(), "safetensors");
  EXPECT_EQ((*file)->tensors().size(), 2U);
  EXPECT_EQ((*file)->find("y")->data[2], 2);
}

TEST_F(Sharded, RefusesNamesOutsideTheFolder) {
  for (const std::string name : {"../a.safetensors",
                                 "/etc/a.safetensors",
                                 ".a.safetensors",
                                 "sub/a.safetensors",
                                 "sub\\\\a.safetensors",
                                 "a.bin",
                                 ""}) {
    const std::string why =
        refusal(fmt::format(R"({{"weight_map":{{"x":"{}","y":"b.safetensors"}}}})", name));
    EXPECT_NE(why.find("of the same folder"), std::string::npos) << why;
  }
}

TEST_F(Sharded, RefusesAnIndexThatItsFilesContradict) {
  EXPECT_NE(refusal(R"({"weight_map":{"x":"a.safetensors"},"metadata":{"total_size":9}})")
                .find("says 9 bytes"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"weight_map":{"x":"a.safetensors","z":"b.safetensors"}})").find("'y'"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"weight_map":{"x":"b.safetensors","y":"b.safetensors"}})").find("lacks"),
            std::string::npos);
  EXPECT_NE(
      refusal(R"({"weight_map":{"x":"a.safetensors","y":"c.safetensors"}})").find("c.safetensors"),
      std::string::npos);
  for (const std::string index : {"",
                                  "[]",
                                  "{}",
                                  R"({"weight_map":{}})",
                                  R"({"weight_map":[1]})",
                                  R"({"weight_map":{"x":1}})"}) {
    EXPECT_FALSE(open(index)) << index;
  }
}

TEST_F(Sharded, RefusesATensorInTwoFiles) {
  put("b.safetensors",
      testing::safetensors_file(R"({"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                                std::string(3, '\2')));
  EXPECT_NE(
      refusal(R"({"weight_map":{"x":"a.safetensors","y":"b.safetensors"}})").find("elsewhere"),
      std::string::npos);
}

TEST_F(Sharded, OpensPartsOfAGguf) {
  put("m-00001-of-00002.gguf", part(0, 2, "x"));
  put("m-00002-of-00002.gguf", part(1, 2, "y"));
  const auto file = TensorFile::open(folder_ / "m-00001-of-00002.gguf");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->tensors().size(), 2U);
  EXPECT_EQ(metadata_string(**file, "general.name"), "part0");
}

TEST_F(Sharded, RefusesPartsThatDoNotBelongTogether) {
  put("m-00001-of-00002.gguf", part(0, 2, "x"));
  EXPECT_FALSE(TensorFile::open(folder_ / "m-00001-of-00002.gguf"));
  put("m-00002-of-00002.gguf", part(0, 2, "y"));
  const auto wrong = TensorFile::open(folder_ / "m-00001-of-00002.gguf");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("split.no"), std::string::npos);
  put("m-00002-of-00002.gguf", part(1, 2, "x"));
  EXPECT_FALSE(TensorFile::open(folder_ / "m-00001-of-00002.gguf"));
}

// A header tells what the file should be, also when the file ends early.
TEST_F(Sharded, ReadsTheHeaderOfACutFile) {
  const std::string whole = testing::sample_gguf();
  put("cut.gguf", whole.substr(0, whole.size() - 100));
  const auto file = TensorFile::open(folder_ / "cut.gguf");
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().message.find("100 of the"), std::string::npos) << file.error().message;
  const auto header = TensorFile::open_header(folder_ / "cut.gguf");
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ((*header)->described_bytes(), whole.size());
  EXPECT_EQ((*header)->tensors().size(), 3U);
  EXPECT_TRUE((*header)->tensors()[0].data.empty());
}

}  // namespace
}  // namespace genesis::weights
