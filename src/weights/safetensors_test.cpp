// safetensors reading: a faithful round trip, and a refusal for each way a file can lie.
#include "base/random.h"
#include "weights/tensor_file.h"
#include "weights/test_files.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

namespace genesis::weights {
namespace {

using testing::as_bytes;
using testing::raw;
using testing::safetensors_file;

Result<std::shared_ptr<const TensorFile>> read(const std::string& file) {
  return TensorFile::from_bytes(as_bytes(file));
}

TEST(Safetensors, GivesBackTensorsAndMetadata) {
  const std::string bytes = testing::sample_safetensors();
  const auto file = read(bytes);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->format(), "safetensors");
  EXPECT_EQ(metadata_string(**file, "format"), "pt");
  ASSERT_EQ((*file)->tensors().size(), 3U);
  const TensorView* a = (*file)->find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->type, TensorType::kBF16);
  EXPECT_EQ(a->shape, (std::vector<std::int64_t>{2, 2}));
  const TensorView* b = (*file)->find("b");
  ASSERT_NE(b, nullptr);
  std::vector<float> values(3);
  ASSERT_TRUE(dequantize(b->type, b->data, values));
  EXPECT_EQ(values, (std::vector<float>{1.0F, 2.0F, 3.0F}));
  EXPECT_EQ((*file)->find("none")->elements(), 0);
}

TEST(Safetensors, ReadsScalarsAndEmptyHeaders) {
  const std::string scalar =
      safetensors_file(R"({"s":{"dtype":"F16","shape":[],"data_offsets":[0,2]}})", "\x00\x3C");
  EXPECT_FALSE(read(scalar)) << "the literal ends at its NUL, so a byte is missing";
  const std::string whole = safetensors_file(
      R"({"s":{"dtype":"F16","shape":[],"data_offsets":[0,2]}})", std::string(2, 'x'));
  const auto file = read(whole);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->find("s")->elements(), 1);
  const std::string empty = safetensors_file("{}", "");
  EXPECT_TRUE(read(empty));
  const std::string escaped = safetensors_file(
      "{\"\\u0061\\n\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "x");
  const auto named = read(escaped);
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_NE((*named)->find("a\n"), nullptr);
}

struct Lie {
  const char* name;
  std::string header;
  std::size_t data_bytes = 8;
  ErrorCode code = ErrorCode::kDataLoss;
};

TEST(SafetensorsHostile, HeaderLiesAreRefused) {
  const std::vector<Lie> lies{
      {"not JSON", "{nope}"},
      {"unterminated", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8])"},
      {"two documents", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}{})"},
      {"trailing comma", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},})"},
      {"invalid UTF-8 name", "{\"\xFF\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}"},
      {"entry is a number", R"({"a":8})"},
      {"entry is an array", R"({"a":[8]})"},
      {"entry is a string", R"({"a":"x"})"},
      {"entry is null", R"({"a":null})"},
      {"missing dtype", R"({"a":{"shape":[8],"data_offsets":[0,8]}})"},
      {"missing shape", R"({"a":{"dtype":"U8","data_offsets":[0,8]}})"},
      {"missing offsets", R"({"a":{"dtype":"U8","shape":[8]}})"},
      {"unknown field", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":"y"}})"},
      {"field twice", R"({"a":{"dtype":"U8","dtype":"U8","shape":[8],"data_offsets":[0,8]}})"},
      {"shape twice", R"({"a":{"dtype":"U8","shape":[8],"shape":[8],"data_offsets":[0,8]}})"},
      {"one offset", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[8]}})"},
      {"three offsets", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,4,8]}})"},
      {"offsets backwards", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[8,0]}})"},
      {"offsets past the end", R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})"},
      {"negative offset", R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[-8,0]}})"},
      {"negative extent", R"({"a":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}})"},
      {"fractional extent", R"({"a":{"dtype":"U8","shape":[8.0],"data_offsets":[0,8]}})"},
      {"extent above 2^63",
       R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,8]}})"},
      {"extent is a string", R"({"a":{"dtype":"U8","shape":["8"],"data_offsets":[0,8]}})"},
      {"nested shape", R"({"a":{"dtype":"U8","shape":[[8]],"data_offsets":[0,8]}})"},
      {"nine dimensions",
       R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8]}})"},
      {"product overflows",
       R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
       0},
      {"bytes overflow",
       R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})",
       0},
      {"size is not the shape's", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})"},
      {"hole before", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"},
      {"hole after", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})"},
      {"data without tensors", "{}"},
      {"overlap",
       R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
       R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"},
      {"same bytes twice",
       R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
       R"("b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})"},
      {"duplicate name",
       R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
       R"("a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"},
      {"empty name", R"({"":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})"},
      {"metadata of numbers", R"({"__metadata__":{"a":1}})", 0},
      {"metadata nested", R"({"__metadata__":{"a":{}}})", 0},
      {"metadata is a string", R"({"__metadata__":"x"})", 0},
      {"metadata key twice", R"({"__metadata__":{"a":"1","a":"2"}})", 0},
      {"metadata twice", R"({"__metadata__":{},"__metadata__":{}})", 0},
      {"unknown dtype",
       R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})",
       8,
       ErrorCode::kUnsupported},
      {"deep nesting", "{\"a\":" + std::string(100'000, '[') + "}", 0},
  };
  for (const Lie& lie : lies) {
    const std::string bytes = safetensors_file(lie.header, std::string(lie.data_bytes, 'x'));
    const auto file = read(bytes);
    ASSERT_FALSE(file) << lie.name;
    EXPECT_EQ(file.error().code, lie.code) << lie.name << ": " << file.error().message;
  }
}

TEST(SafetensorsHostile, LengthLiesAreRefused) {
  for (const std::uint64_t length :
       {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{100'000'001}, ~std::uint64_t{0}}) {
    const std::string bytes = raw(length) + "{}";
    const auto file = read(bytes);
    ASSERT_FALSE(file) << length;
    EXPECT_EQ(file.error().code, ErrorCode::kDataLoss) << length;
  }
  const std::string padded_front = safetensors_file(" {}", "");
  EXPECT_FALSE(read(padded_front)) << "must begin with '{'";
}

TEST(SafetensorsHostile, EveryTruncationIsRefused) {
  const std::string bytes = testing::sample_safetensors();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    ASSERT_FALSE(read(cut)) << size << " of " << bytes.size();
  }
}

TEST(SafetensorsHostile, MutantsAreReadOrRefusedButNeverCrash) {
  constexpr std::uint64_t kSeed = 20261124;
  Random random(kSeed);
  const std::string original = testing::sample_safetensors();
  int good = 0;
  for (int i = 0; i < 5'000; ++i) {
    std::string mutant = original;
    for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
      mutant[random.below(mutant.size())] = static_cast<char>(random.next());
    }
    if (random.below(8) == 0) {
      mutant.resize(random.below(mutant.size()));
    }
    const auto file = read(mutant);
    ASSERT_TRUE(file || !file.error().message.empty());
    good += file ? 1 : 0;
  }
  std::printf("seed %llu: %d of 5000 mutants were still files\n",
              static_cast<unsigned long long>(kSeed),
              good);
  EXPECT_GT(good, 0);
  EXPECT_LT(good, 5'000);
}

TEST(TensorFile, RefusesOtherFormatsWithTheNextStep) {
  for (const std::string& bytes : {std::string("\x80\x02}q\x00", 5) + std::string(64, 'x'),
                                   std::string("PK\x03\x04") + std::string(64, 'x')}) {
    const auto file = read(bytes);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(file.error().message.find("pickle"), std::string::npos);
    EXPECT_NE(file.error().hint.find("safetensors"), std::string::npos);
  }
  for (const std::string& bytes : {std::string("lmgg") + std::string(64, 'x'),
                                   std::string("\x89HDF\r\n") + std::string(64, 'x'),
                                   std::string("hello, I am a text file")}) {
    const auto file = read(bytes);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code, ErrorCode::kUnsupported);
    EXPECT_FALSE(file.error().hint.empty());
  }
}

}  // namespace
}  // namespace genesis::weights
