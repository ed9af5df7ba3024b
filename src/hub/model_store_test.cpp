// The model store: what is kept, found, shared, verified and removed.
#include "hub/model_store.h"

#include "base/file.h"
#include "hub/disk.h"
#include "hub/test_support.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace genesis::hub {
namespace {

using ::testing::HasSubstr;

class ModelStoreTest : public ::testing::Test {
 protected:
  StagedFile stage(const std::string& name, const std::string& content) {
    const auto path = store_.partial_folder().value() / ("staged." + std::to_string(++staged_));
    EXPECT_TRUE(write_file_atomic(path, content));
    return {.name = name,
            .path = path,
            .sha256 = testing::hex_sha256(content),
            .bytes = static_cast<std::int64_t>(content.size())};
  }

  Result<InstalledModel> install(const std::string& name, const std::string& content) {
    return store_.add({.name = name,
                       .source = "pypi:" + name + "==1",
                       .revision = "1",
                       .format = "gguf",
                       .created_unix_ms = 1000,
                       .files = {stage("w.gguf", content), stage("tokenizer.json", "{}")}});
  }

  std::size_t blobs() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(folder_.path() / "models/blobs")) {
      ++count;
    }
    return count;
  }

  testing::TempFolder folder_;
  ModelStore store_{folder_.path() / "models"};
  int staged_ = 0;
};

TEST_F(ModelStoreTest, AnEmptyStoreIsNoError) {
  EXPECT_TRUE(store_.list()->empty());
  const auto found = store_.find("x");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(found.error().hint, HasSubstr("genesis pull"));
}

TEST_F(ModelStoreTest, KeepsWhatIsAdded) {
  const auto added = install("my-model.q4_1", "weights");
  ASSERT_TRUE(added) << added.error().message;
  EXPECT_EQ(added->bytes(), 9);
  const auto found = store_.find("my-model.q4_1");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->source, "pypi:my-model.q4_1==1");
  EXPECT_EQ(found->revision, "1");
  EXPECT_EQ(found->format, "gguf");
  EXPECT_EQ(found->created_unix_ms, 1000);
  EXPECT_EQ(found->weights().sha256, testing::hex_sha256("weights"));
  EXPECT_EQ(read_file(found->weights().path, 100).value(), "weights");
  ASSERT_NE(found->file("tokenizer.json"), nullptr);
  EXPECT_EQ(found->file("absent"), nullptr);
  EXPECT_EQ(store_.list()->size(), 1U);
  const auto mode = std::filesystem::status(found->weights().path).permissions();
  EXPECT_EQ(mode, std::filesystem::perms(0444));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "models/partial"));
}

TEST_F(ModelStoreTest, FindsByUniqueBeginning) {
  ASSERT_TRUE(install("alpha-1b", "a"));
  ASSERT_TRUE(install("alpha-7b", "b"));
  ASSERT_TRUE(install("beta", "c"));
  ASSERT_TRUE(install("smollm2-135m-instruct", "d"));
  ASSERT_TRUE(install("smollm2-360m", "e"));
  EXPECT_EQ(store_.find("be")->name, "beta");
  EXPECT_EQ(store_.find("alpha-7")->name, "alpha-7b");
  EXPECT_EQ(store_.find("smollm2")->name, "smollm2-135m-instruct") << "the short name wins";
  const auto two = store_.find("alpha");
  ASSERT_FALSE(two);
  EXPECT_THAT(two.error().hint, HasSubstr("alpha-1b, alpha-7b"));
  const auto none = store_.find("betta");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(none.error().hint, HasSubstr("beta"));
  EXPECT_FALSE(store_.find(""));
  EXPECT_FALSE(store_.find("../manifests/beta"));
}

TEST_F(ModelStoreTest, SharesFilesAndRemovesOnlyTheUnused) {
  ASSERT_TRUE(install("one", "same"));
  ASSERT_TRUE(install("two", "same"));
  ASSERT_TRUE(install("three", "other"));
  EXPECT_EQ(blobs(), 3U) << "same, other, tokenizer";
  ASSERT_TRUE(store_.remove("one"));
  EXPECT_EQ(blobs(), 3U);
  EXPECT_TRUE(store_.verify("two"));
  ASSERT_TRUE(store_.remove("two"));
  EXPECT_EQ(blobs(), 2U);
  ASSERT_TRUE(store_.remove("three"));
  EXPECT_EQ(blobs(), 0U);
  const auto again = store_.remove("three");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(store_.remove("../x"));
  EXPECT_FALSE(store_.remove("thr")) << "no prefixes when deleting";
}

TEST_F(ModelStoreTest, WeightsThatNeedOtherFilesAreSeenBesideThem) {
  StagedFile weights = stage("model.safetensors", "weights");
  StagedFile config = stage("config.json", "{}");
  ASSERT_TRUE(store_.add({.name = "st",
                          .source = "s",
                          .revision = {},
                          .format = "safetensors",
                          .files = {weights, config}}));
  for (int round = 0; round < 2; ++round) {
    const auto path = store_.weights_path(store_.find("st").value());
    ASSERT_TRUE(path) << path.error().message;
    EXPECT_EQ(path->filename(), "model.safetensors");
    EXPECT_EQ(read_file(*path, 100).value(), "weights");
    EXPECT_EQ(read_file(path->parent_path() / "config.json", 100).value(), "{}");
  }
  ASSERT_TRUE(store_.remove("st"));
  EXPECT_TRUE(std::filesystem::is_empty(store_.root() / "folders"));
  const auto gguf = install("one", "x");
  EXPECT_EQ(store_.weights_path(*gguf).value(), gguf->weights().path);
}

TEST_F(ModelStoreTest, ReplacesAModelOfTheSameName) {
  ASSERT_TRUE(install("one", "old"));
  ASSERT_TRUE(install("one", "new"));
  EXPECT_EQ(blobs(), 2U) << "the old weights are gone";
  EXPECT_EQ(read_file(store_.find("one")->weights().path, 100).value(), "new");
}

TEST_F(ModelStoreTest, StagedLinksToABlobThatIsThereDoNotStay) {
  const auto first = install("one", "same");
  ASSERT_TRUE(first);
  StagedFile link = stage("w.gguf", "x");
  std::filesystem::remove(link.path);
  std::filesystem::create_hard_link(first->weights().path, link.path);
  link.sha256 = first->weights().sha256;
  link.bytes = first->weights().bytes;
  ASSERT_TRUE(store_.add(
      {.name = "two", .source = "s", .revision = {}, .format = "gguf", .files = {link}}));
  EXPECT_FALSE(std::filesystem::exists(link.path));
  EXPECT_TRUE(store_.verify("two"));
}

TEST_F(ModelStoreTest, VerifyFindsOneChangedByteAndAMissingFile) {
  const auto model = install("one", "weights");
  ASSERT_TRUE(model);
  ASSERT_TRUE(store_.verify("one"));
  const auto path = model->weights().path;
  std::filesystem::permissions(path, std::filesystem::perms(0644));
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << 'W';
  const auto changed = store_.verify("one");
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, ErrorCode::kDataLoss);
  EXPECT_THAT(changed.error().message, HasSubstr("w.gguf"));
  EXPECT_THAT(changed.error().hint, HasSubstr("pypi:one==1"));
  std::filesystem::remove(path);
  const auto gone = store_.verify("one");
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, ErrorCode::kDataLoss);
}

TEST_F(ModelStoreTest, RefusesNamesOutsideTheGrammar) {
  for (const std::string& name : {std::string(),
                                  std::string("A"),
                                  std::string("a/b"),
                                  std::string(".a"),
                                  std::string("-a"),
                                  std::string("a b"),
                                  std::string("a\0", 2),
                                  std::string(97, 'a')}) {
    EXPECT_FALSE(is_model_name(name)) << name;
    EXPECT_FALSE(install(name, "w")) << name;
  }
  EXPECT_TRUE(is_model_name(std::string(96, 'a')));
  EXPECT_TRUE(store_.list()->empty());
}

TEST_F(ModelStoreTest, MakesNames) {
  EXPECT_EQ(make_model_name("SmolLM2-135M-Instruct.Q4_1"), "smollm2-135m-instruct.q4_1");
  EXPECT_EQ(make_model_name("..My Model/é"), "my-model---");
  EXPECT_EQ(make_model_name(""), "model");
  EXPECT_EQ(make_model_name("---"), "model");
  EXPECT_EQ(make_model_name(std::string(300, 'X')).size(), 96U);
}

TEST_F(ModelStoreTest, DamagedManifestsAreNamedAndCanBeRemoved) {
  ASSERT_TRUE(install("good", "w"));
  const auto manifest = [](std::string_view name, std::string_view files) {
    return fmt::format(
        R"({{"name":"{}","source":"s","revision":"","format":"gguf","files":[{}]}})", name, files);
  };
  const auto file = [](std::string_view sha256, int bytes) {
    return fmt::format(R"({{"name":"w","sha256":"{}","bytes":{}}})", sha256, bytes);
  };
  const std::string sha(64, 'a');
  const auto path = folder_.path() / "models/manifests/bad.json";
  for (const std::string& text : {std::string(),
                                  std::string("{"),
                                  std::string("[]"),
                                  std::string(R"({"name":"bad"})"),
                                  manifest("bad", ""),
                                  manifest("bad", file("../../x", 1)),
                                  manifest("bad", file(sha, -1)),
                                  manifest("other", file(sha, 1))}) {
    ASSERT_TRUE(write_file_atomic(path, text));
    const auto list = store_.list();
    ASSERT_FALSE(list) << text;
    EXPECT_EQ(list.error().code, ErrorCode::kDataLoss) << text;
    EXPECT_THAT(list.error().hint, HasSubstr("genesis rm bad"));
    EXPECT_TRUE(store_.find("good"));
  }
  EXPECT_TRUE(store_.remove("bad"));
  EXPECT_EQ(store_.list()->size(), 1U);
  EXPECT_TRUE(store_.verify("good"));
}

TEST(Disk, LocksExcludeEachOther) {
  const testing::TempFolder folder;
  const auto path = folder.path() / "lock";
  {
    const auto held = FileLock::attempt(path);
    ASSERT_TRUE(held);
    ASSERT_TRUE(held->has_value());
    const auto second = FileLock::attempt(path);
    ASSERT_TRUE(second);
    EXPECT_FALSE(second->has_value());
  }
  const auto free = FileLock::attempt(path);
  ASSERT_TRUE(free);
  EXPECT_TRUE(free->has_value());
}

TEST(Disk, OutputFilesGrowAndReport) {
  const testing::TempFolder folder;
  const auto path = folder.path() / "out";
  {
    auto file = OutputFile::open(path, true);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write(testing::as_bytes("abc")));
    EXPECT_EQ(file->size(), 3);
    ASSERT_TRUE(file->sync());
  }
  auto file = OutputFile::open(path, false);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size(), 3);
  ASSERT_TRUE(file->write(testing::as_bytes("de")));
  EXPECT_EQ(hash_file(path)->sha256, testing::hex_sha256("abcde"));
  EXPECT_EQ(hash_file(path)->bytes, 5);
  ASSERT_TRUE(file->clear());
  EXPECT_EQ(std::filesystem::file_size(path), 0U);
  const auto absent = hash_file(folder.path() / "absent");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(OutputFile::open(folder.path() / "no" / "file", true));
}

}  // namespace
}  // namespace genesis::hub
