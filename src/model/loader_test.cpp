// load_model() from files: text assets, hash, and the errors a user can meet.
#include "model/loader.h"

#include "base/file.h"
#include "base/sha256.h"
#include "model/test_model.h"
#include "model/text_assets.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <unistd.h>

namespace genesis::model {
namespace {

namespace fs = std::filesystem;

// A folder of its own, removed afterwards.
class LoaderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "loader_test_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }

  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& bytes) {
    const fs::path path = folder_ / name;
    GENESIS_CHECK(write_file_atomic(path, bytes).has_value());
    return path;
  }

  fs::path folder_;
};

// A byte-level vocabulary: a few normal tokens, a control token as BOS and EOS, and a template.
void put_vocabulary(weights::testing::GgufBuilder& file) {
  file.put_string("tokenizer.ggml.model", "gpt2")
      .put_string("tokenizer.ggml.pre", "gpt-2")
      .put_strings("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab"})
      .put_array<std::int32_t>("tokenizer.ggml.token_type", 5, {3, 1, 1, 1})
      .put_strings("tokenizer.ggml.merges", {"a b"})
      .put_number("tokenizer.ggml.bos_token_id", 4, 0U)
      .put_number("tokenizer.ggml.eos_token_id", 4, 0U)
      .put_string("tokenizer.chat_template", "{{ messages[0].content }}");
}

const LoadOptions kSmall{.threads = 1, .kv_bytes = 1 << 20};

TEST_F(LoaderTest, LoadsWeightsTokenizerAndTemplate) {
  const std::string bytes = TestModel{.edit = put_vocabulary}.build();
  const Result<LoadedModel> loaded = load_model(write("m.gguf", bytes), kSmall);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->runner->info().model_name, "test");
  EXPECT_EQ(loaded->runner->info().weights_sha256, to_hex(sha256(bytes)));
  EXPECT_EQ(loaded->text.tokenizer->encode("ab"), std::vector<std::int32_t>{3});
  EXPECT_EQ(loaded->text.eos_token, "<|end|>");
  ASSERT_EQ(loaded->text.tokenizer->end_ids().size(), 1U);
  EXPECT_NE(loaded->text.chat_template, nullptr);
}

TEST_F(LoaderTest, TellsWhatIsWrong) {
  const auto code_of = [](const fs::path& path) {
    const Result<LoadedModel> loaded = load_model(path, kSmall);
    return loaded ? ErrorCode::kInternal : loaded.error().code;
  };
  const std::string good = TestModel{.edit = put_vocabulary}.build();
  EXPECT_EQ(code_of(write("cut.gguf", good.substr(0, good.size() / 2))), ErrorCode::kDataLoss);
  EXPECT_EQ(code_of(write("plain.gguf", TestModel{}.build())), ErrorCode::kDataLoss);
  EXPECT_EQ(code_of(write("other.gguf", TestModel{.architecture = "rwkv"}.build())),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(folder_), ErrorCode::kNotFound);
  EXPECT_NE(code_of(folder_ / "absent.gguf"), ErrorCode::kInternal);
  const TestModel crowded{.vocab = 2, .edit = put_vocabulary};
  EXPECT_EQ(code_of(write("crowded.gguf", crowded.build())), ErrorCode::kDataLoss);
}

TEST_F(LoaderTest, LoadsAModelFolder) {
  // The weights of a folder are told apart by its config.json; here only what surrounds them
  // counts.
  write("model.safetensors", weights::testing::sample_safetensors());
  write("config.json", R"({"model_type": "bert"})");
  const Result<LoadedModel> loaded = load_model(folder_, kSmall);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(loaded.error().param, "model_type");
}

TEST(TextAssets, ChecksTheVocabulary) {
  const auto code_of = [](auto edit) {
    const auto opened = open_test_model({.edit = edit});
    const auto vocabulary = vocabulary_from_gguf(*opened->file);
    return vocabulary ? ErrorCode::kInternal : vocabulary.error().code;
  };
  EXPECT_EQ(code_of([](auto&) {}), ErrorCode::kDataLoss);
  EXPECT_EQ(code_of([](auto& file) {
              file.put_strings("tokenizer.ggml.tokens", {"a", "b"});
              file.template put_array<std::int32_t>("tokenizer.ggml.token_type", 5, {1});
            }),
            ErrorCode::kDataLoss);
  const auto opened = open_test_model({.edit = [](auto& file) {
    file.put_strings("tokenizer.ggml.tokens", {"a", "b"});
    file.put_number("tokenizer.ggml.eos_token_id", 4, 2U);
  }});
  const auto vocabulary = vocabulary_from_gguf(*opened->file);
  ASSERT_TRUE(vocabulary);
  EXPECT_FALSE(vocabulary->eos_id) << "an id beyond the vocabulary is none";
}

}  // namespace
}  // namespace genesis::model
