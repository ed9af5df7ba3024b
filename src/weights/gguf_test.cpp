// GGUF reading: a faithful round trip, and a refusal for each way a file can lie.
#include "base/file.h"
#include "base/random.h"
#include "weights/tensor_file.h"
#include "weights/test_files.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace genesis::weights {
namespace {

using testing::as_bytes;
using testing::gguf_text;
using testing::GgufBuilder;
using testing::raw;

constexpr std::uint32_t kU32 = 4;
constexpr std::uint32_t kF32Type = 0;
constexpr std::uint32_t kQ41Type = 3;

Result<std::shared_ptr<const TensorFile>> read(const std::string& file) {
  return TensorFile::from_bytes(as_bytes(file));
}

TEST(Gguf, GivesBackEveryKindOfValue) {
  const std::string bytes = testing::sample_gguf();
  const auto file = read(bytes);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->format(), "gguf");
  EXPECT_EQ(metadata_string(**file, "general.architecture"), "llama");
  EXPECT_EQ(metadata_integer(**file, "u8"), 200);
  EXPECT_EQ(metadata_integer(**file, "i8"), -3);
  EXPECT_EQ(metadata_integer(**file, "u16"), 60000);
  EXPECT_EQ(metadata_integer(**file, "i16"), -300);
  EXPECT_EQ(metadata_integer(**file, "i32"), -70000);
  EXPECT_EQ(metadata_number(**file, "f32"), 1.5);
  EXPECT_EQ(metadata_bool(**file, "yes"), true);
  EXPECT_EQ(metadata_integer(**file, "u64"), std::nullopt) << "does not fit int64";
  EXPECT_EQ(metadata_integer(**file, "i64"), -5);
  EXPECT_EQ(metadata_number(**file, "f64"), 0.1);
  EXPECT_EQ(metadata_number(**file, "i64"), -5.0);
  EXPECT_EQ(metadata_integer(**file, "absent"), std::nullopt);
  EXPECT_EQ(metadata_integer(**file, "f32"), std::nullopt);
  const auto& metadata = (*file)->metadata();
  EXPECT_EQ(std::get<std::vector<std::string>>(metadata.at("tokens")),
            (std::vector<std::string>{"<s>", "", "a\xC3\xA9"}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(metadata.at("kinds")),
            (std::vector<std::int64_t>{3, 1, -1}));
  EXPECT_EQ(std::get<std::vector<double>>(metadata.at("scores")), (std::vector<double>{0.5, -2.0}));
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(metadata.at("flags")),
            (std::vector<std::int64_t>{1, 0}));
}

TEST(Gguf, GivesTensorsRowMajor) {
  const std::string bytes = testing::sample_gguf();
  const auto file = read(bytes);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ((*file)->tensors().size(), 3U);
  const TensorView* w = (*file)->find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->shape, (std::vector<std::int64_t>{2, 32}));
  EXPECT_EQ(w->type, TensorType::kQ4_1);
  EXPECT_EQ(w->elements(), 64);
  ASSERT_EQ(w->data.size(), 40U);
  EXPECT_EQ(w->data[0], 2);
  EXPECT_EQ((*file)->find("k")->type, TensorType::kQ6_K);
  EXPECT_EQ((*file)->find("W"), nullptr);
  EXPECT_EQ((*file)->find(""), nullptr);
}

TEST(Gguf, ReadsVersionTwoAndFilesWithoutTensors) {
  GgufBuilder file;
  file.version = 2;
  const std::string two = file.put_string("a", "b").build();
  EXPECT_TRUE(read(two));
  const std::string empty = GgufBuilder{}.build();
  const auto parsed = read(empty);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE((*parsed)->tensors().empty());
}

TEST(Gguf, HonoursAnAlignmentOfItsOwn) {
  GgufBuilder file;
  file.alignment = 128;
  file.put_number("general.alignment", kU32, std::uint32_t{128});
  file.tensor("a", {1}, kF32Type, "abcd").tensor("b", {1}, kF32Type, "efgh");
  const std::string bytes = file.build();
  const auto parsed = read(bytes);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ((*parsed)->find("b")->data[0], 'e');
}

struct Lie {
  const char* name;
  std::function<std::string()> file;
  ErrorCode code = ErrorCode::kDataLoss;
};

std::string with_alignment(std::uint32_t type, const std::string& value) {
  return GgufBuilder{}
      .put("general.alignment", raw(type) + value)
      .tensor("a", {4}, kF32Type, std::string(16, 'x'))
      .build();
}

std::string with_value(const std::string& value) {
  return GgufBuilder{}.put("key", value).build();
}

std::string with_row(std::initializer_list<std::uint64_t> extents,
                     std::uint32_t type,
                     std::uint64_t offset,
                     std::size_t data_bytes) {
  GgufBuilder file;
  file.data.assign(data_bytes, 'x');
  return file.row("a", extents, type, offset).build();
}

std::string changed(const std::function<void(GgufBuilder&)>& change) {
  GgufBuilder file;
  file.put_string("k", "v").tensor("a", {4}, kF32Type, std::string(16, 'x'));
  change(file);
  return file.build();
}

std::string array_head(std::uint32_t type, std::uint64_t count) {
  return raw(std::uint32_t{9}) + raw(type) + raw(count);
}

constexpr std::uint64_t kHuge = 1ULL << 62;

std::vector<Lie> header_lies() {
  using B = GgufBuilder;
  return {
      {"empty", [] { return std::string(); }},
      {"bad magic", [] { return "GGUG" + std::string(60, '\0'); }, ErrorCode::kUnsupported},
      {"magic only", [] { return std::string("GGUF"); }},
      {"version 0", [] { return changed([](B& b) { b.version = 0; }); }, ErrorCode::kUnsupported},
      {"version 1", [] { return changed([](B& b) { b.version = 1; }); }, ErrorCode::kUnsupported},
      {"version 4", [] { return changed([](B& b) { b.version = 4; }); }, ErrorCode::kUnsupported},
      {"big-endian version",
       [] { return changed([](B& b) { b.version = 0x03000000; }); },
       ErrorCode::kUnsupported},
      {"big-endian magic", [] { return "FUGG" + std::string(60, '\0'); }, ErrorCode::kUnsupported},
      {"huge tensor count", [] { return changed([](B& b) { b.tensor_count = kHuge; }); }},
      {"tensor count of -1", [] { return changed([](B& b) { b.tensor_count = ~0ULL; }); }},
      {"one tensor too many", [] { return changed([](B& b) { ++b.tensor_count; }); }},
      {"huge metadata count", [] { return changed([](B& b) { b.metadata_count = kHuge; }); }},
      {"metadata count of -1", [] { return changed([](B& b) { b.metadata_count = ~0ULL; }); }},
      {"one entry too many", [] { return changed([](B& b) { ++b.metadata_count; }); }},
      {"one entry too few", [] { return changed([](B& b) { --b.metadata_count; }); }},
  };
}

std::vector<Lie> metadata_lies() {
  using B = GgufBuilder;
  return {
      {"huge key",
       [] { return changed([](B& b) { b.metadata = raw(kHuge) + b.metadata.substr(8); }); }},
      {"key over 65535", [] { return B{}.put_string(std::string(70'000, 'k'), "v").build(); }},
      {"empty key", [] { return B{}.put_string("", "v").build(); }},
      {"duplicate key", [] { return B{}.put_string("k", "1").put_string("k", "2").build(); }},
      {"value type 13", [] { return with_value(raw(std::uint32_t{13}) + raw(std::uint64_t{0})); }},
      {"value type -1", [] { return with_value(raw(~0U) + raw(std::uint64_t{0})); }},
      {"huge string", [] { return with_value(raw(std::uint32_t{8}) + raw(kHuge)); }},
      {"string past the end",
       [] { return with_value(raw(std::uint32_t{8}) + raw(std::uint64_t{2}) + "x"); }},
      {"truth value 2", [] { return with_value(raw(std::uint32_t{7}) + '\2'); }},
      {"huge array", [] { return with_value(array_head(5, kHuge)); }},
      {"array whose bytes overflow", [] { return with_value(array_head(12, 1ULL << 61)); }},
      {"array one too long", [] { return with_value(array_head(5, 3) + std::string(8, 'x')); }},
      {"huge array of strings", [] { return with_value(array_head(8, kHuge)); }},
      {"array of unknown type", [] { return with_value(array_head(77, 0)); }},
      {"array of truth value 2", [] { return with_value(array_head(7, 1) + '\2'); }},
      {"array of uint64 above int64", [] { return with_value(array_head(10, 1) + raw(~0ULL)); }},
      {"array of arrays",
       [] { return with_value(array_head(9, 1) + array_head(5, 0).substr(4)); },
       ErrorCode::kUnsupported},
      {"alignment 0", [] { return with_alignment(kU32, raw(0U)); }},
      {"alignment 1", [] { return with_alignment(kU32, raw(1U)); }},
      {"alignment 48", [] { return with_alignment(kU32, raw(48U)); }},
      {"alignment 2^21", [] { return with_alignment(kU32, raw(1U << 21)); }},
      {"alignment signed", [] { return with_alignment(5, raw(32)); }},
      {"alignment text", [] { return with_alignment(8, gguf_text("32")); }},
  };
}

std::vector<Lie> tensor_lies() {
  using B = GgufBuilder;
  return {
      {"no dimensions", [] { return with_row({}, kF32Type, 0, 64); }},
      {"five dimensions", [] { return with_row({1, 1, 1, 1, 1}, kF32Type, 0, 64); }},
      {"extent 0", [] { return with_row({4, 0}, kF32Type, 0, 64); }},
      {"extent -1", [] { return with_row({~0ULL}, kF32Type, 0, 64); }},
      {"product overflows", [] { return with_row({1ULL << 40, 1ULL << 40}, kF32Type, 0, 64); }},
      {"product wraps to small",
       [] { return with_row({1ULL << 32, 1ULL << 32, 16}, kF32Type, 0, 64); }},
      {"bytes overflow", [] { return with_row({1ULL << 62}, kF32Type, 0, 64); }},
      {"rows not whole blocks", [] { return with_row({16, 2}, kQ41Type, 0, 64); }},
      {"too large for the file", [] { return with_row({17}, kF32Type, 0, 64); }},
      {"offset past the end", [] { return with_row({4}, kF32Type, 64, 64); }},
      {"offset near 2^64", [] { return with_row({4}, kF32Type, ~0ULL - 31, 64); }},
      {"offset off the grid", [] { return with_row({4}, kF32Type, 4, 64); }},
      {"no data at all", [] { return with_row({4}, kF32Type, 0, 0); }},
      {"foreign type Q2_K", [] { return with_row({256}, 10, 0, 128); }, ErrorCode::kUnsupported},
      {"removed type 4", [] { return with_row({32}, 4, 0, 128); }, ErrorCode::kUnsupported},
      {"unknown type 1000", [] { return with_row({4}, 1000, 0, 64); }, ErrorCode::kUnsupported},
      {"duplicate name",
       [] { return changed([](B& b) { b.tensor("a", {1}, kF32Type, "abcd"); }); }},
      {"empty name", [] { return B{}.tensor("", {1}, kF32Type, "abcd").build(); }},
      {"name over 256",
       [] { return B{}.tensor(std::string(257, 'n'), {1}, kF32Type, "abcd").build(); }},
      {"same bytes twice", [] { return changed([](B& b) { b.row("b", {4}, kF32Type, 0); }); }},
      {"overlap inside",
       [] {
         return changed([](B& b) {
           b.tensor("b", {16}, kF32Type, std::string(64, 'y')).row("c", {1}, kF32Type, 64);
         });
       }},
  };
}

void expect_refused(const std::vector<Lie>& lies) {
  for (const Lie& lie : lies) {
    const std::string bytes = lie.file();
    const auto file = read(bytes);
    ASSERT_FALSE(file) << lie.name;
    EXPECT_EQ(file.error().code, lie.code) << lie.name << ": " << file.error().message;
    EXPECT_FALSE(file.error().message.empty()) << lie.name;
  }
}

TEST(GgufHostile, HeaderLiesAreRefused) {
  expect_refused(header_lies());
}

TEST(GgufHostile, MetadataLiesAreRefused) {
  expect_refused(metadata_lies());
}

TEST(GgufHostile, TensorLiesAreRefused) {
  expect_refused(tensor_lies());
}

TEST(GgufHostile, TheUnchangedFilesOfTheseTestsAreGood) {
  const std::string plain = changed([](GgufBuilder&) {});
  EXPECT_TRUE(read(plain));
  const std::string row = with_row({16}, kF32Type, 0, 64);
  EXPECT_TRUE(read(row));
  const std::string aligned = with_alignment(kU32, raw(32U));
  EXPECT_TRUE(read(aligned));
}

TEST(GgufHostile, ForeignTypeIsNamed) {
  const std::string bytes = with_row({256}, 10, 0, 128);
  const auto file = read(bytes);
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().message.find("Q2_K"), std::string::npos);
  EXPECT_NE(file.error().message.find("'a'"), std::string::npos);
}

TEST(GgufHostile, EveryTruncationIsRefused) {
  const std::string bytes = testing::sample_gguf();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    // A copy of exactly this size, so that the address sanitizer sees one byte too far.
    const std::string cut = bytes.substr(0, size);
    ASSERT_FALSE(read(cut)) << size << " of " << bytes.size();
  }
}

TEST(GgufHostile, MutantsAreReadOrRefusedButNeverCrash) {
  constexpr std::uint64_t kSeed = 20261123;
  RecordProperty("seed", static_cast<int>(kSeed));
  Random random(kSeed);
  const std::string original = testing::sample_gguf();
  int good = 0;
  for (int i = 0; i < 5'000; ++i) {
    std::string mutant = original;
    for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
      mutant[random.below(mutant.size())] = static_cast<char>(random.next());
    }
    if (random.below(8) == 0) {
      mutant.resize(random.below(mutant.size()));
    }
    const auto file = read(mutant);
    ASSERT_TRUE(file || !file.error().message.empty());
    if (file) {
      ++good;
      for (const TensorView& tensor : (*file)->tensors()) {
        ASSERT_TRUE(tensor.data.data() >= as_bytes(mutant).data() &&
                    tensor.data.data() + tensor.data.size() <=
                        as_bytes(mutant).data() + mutant.size());
      }
    }
  }
  std::printf("seed %llu: %d of 5000 mutants were still files\n",
              static_cast<unsigned long long>(kSeed),
              good);
  EXPECT_GT(good, 0);
  EXPECT_LT(good, 5'000);
}

TEST(TensorFile, ReadsFromDiskAndKeepsTheMapping) {
  const auto path = std::filesystem::temp_directory_path() / new_id("weights-");
  ASSERT_TRUE(write_file_atomic(path, testing::sample_gguf()));
  auto file = TensorFile::open(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ((*file)->find("norm")->data[15], 1);
}

TEST(TensorFile, NamesThePathOfABadFile) {
  const auto path = std::filesystem::temp_directory_path() / new_id("weights-");
  ASSERT_TRUE(write_file_atomic(path, testing::sample_gguf().substr(0, 100)));
  const auto file = TensorFile::open(path);
  std::filesystem::remove(path);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kDataLoss);
  EXPECT_EQ(file.error().param, path.string());
  EXPECT_FALSE(TensorFile::open(path)) << "absent";
  EXPECT_FALSE(TensorFile::open(path.parent_path())) << "a folder";
}

}  // namespace
}  // namespace genesis::weights
