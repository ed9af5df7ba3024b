// The packed cache: same answers, shared files, and nothing believed that does not fit.
#include "model/packed_cache.h"

#include "base/file.h"
#include "model/loader.h"
#include "model/memory_need.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace genesis::model {
namespace {

namespace fs = std::filesystem;

void put_vocabulary(weights::testing::GgufBuilder& file) {
  file.put_string("tokenizer.ggml.model", "gpt2")
      .put_string("tokenizer.ggml.pre", "gpt-2")
      .put_strings("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab"})
      .put_array<std::int32_t>("tokenizer.ggml.token_type", 5, {3, 1, 1, 1})
      .put_strings("tokenizer.ggml.merges", {"a b"})
      .put_number("tokenizer.ggml.eos_token_id", 4, 0U);
}

class PackedCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "packed_cache_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    options_ = {.threads = 2,
                .kv_bytes = 1 << 20,
                .cache_folder = folder_ / "cache",
                .cache_from_bytes = 0};
    model_ = folder_ / "m.gguf";
    write_model(1);
  }

  void TearDown() override { fs::remove_all(folder_); }

  void write_model(std::uint64_t seed) {
    ASSERT_TRUE(write_file_atomic(model_, TestModel{.seed = seed, .edit = put_vocabulary}.build()));
  }

  // Logits after a few tokens, which depend on every weight.
  std::vector<float> answer(const LoadOptions& options) const {
    const auto loaded = load_model(model_, options);
    EXPECT_TRUE(loaded) << loaded.error().message;
    const std::vector<std::int32_t> tokens{1, 7, 50};
    const std::vector<std::int32_t> pages{0};
    const engine::SequenceStep step{.tokens = tokens, .start = 0, .pages = pages, .logit_rows = 1};
    std::vector<float> logits(101);
    EXPECT_TRUE(loaded->runner->run(std::span(&step, 1), logits));
    return logits;
  }

  std::vector<float> uncached() const {
    LoadOptions options = options_;
    options.cache_folder.clear();
    return answer(options);
  }

  std::vector<fs::path> entries() const {
    std::vector<fs::path> found;
    for (const auto& each : fs::directory_iterator(options_.cache_folder)) {
      if (each.path().extension() == ".panels") {
        found.push_back(each.path());
      }
    }
    return found;
  }

  fs::path folder_;
  fs::path model_;
  LoadOptions options_;
};

TEST_F(PackedCacheTest, AnswersAreTheSamePackedMappedAndWithout) {
  const std::vector<float> plain = uncached();
  EXPECT_EQ(answer(options_), plain);  // packs into the entry
  ASSERT_EQ(entries().size(), 1U);
  const auto made = fs::file_size(entries()[0]);
  EXPECT_EQ(answer(options_), plain);  // maps it
  EXPECT_EQ(entries().size(), 1U);
  EXPECT_EQ(fs::file_size(entries()[0]), made);
}

TEST_F(PackedCacheTest, DamagedEntriesAreMadeAgain) {
  const std::vector<float> plain = answer(options_);
  const fs::path entry = entries().at(0);
  const std::string whole = *read_file(entry, 1 << 24);
  for (std::size_t at = 100; at < whole.size(); at += whole.size() / 13) {
    std::string bent = whole;
    bent[at] = static_cast<char>(bent[at] ^ 0x10);
    ASSERT_TRUE(write_file_atomic(entry, bent));
    EXPECT_EQ(answer(options_), plain) << "byte " << at;
  }
  ASSERT_TRUE(write_file_atomic(entry, whole.substr(0, whole.size() / 2)));
  EXPECT_EQ(answer(options_), plain);
  ASSERT_TRUE(write_file_atomic(entry, "nonsense"));
  EXPECT_EQ(answer(options_), plain);
  EXPECT_EQ(*read_file(entry, 1 << 24), whole);
}

TEST_F(PackedCacheTest, OtherWeightsUnderTheSameNameAreNotTakenForTheOld) {
  const std::vector<float> first = answer(options_);
  write_model(2);
  const std::vector<float> second = answer(options_);
  EXPECT_NE(first, second);
  EXPECT_EQ(second, uncached());
  EXPECT_EQ(entries().size(), 2U);
  // An entry renamed to the hash of other weights says itself whose it is.
  const auto found = entries();
  fs::copy_file(found[0], found[1], fs::copy_options::overwrite_existing);
  EXPECT_EQ(answer(options_), second);
}

TEST_F(PackedCacheTest, StaysWithinItsSize) {
  EXPECT_FALSE(answer(options_).empty());
  const auto one = static_cast<std::int64_t>(fs::file_size(entries().at(0)));
  options_.cache_bytes = one + one / 2;
  write_model(2);
  EXPECT_FALSE(answer(options_).empty());
  EXPECT_EQ(entries().size(), 1U);  // the older one had to go
  options_.cache_bytes = one / 2;
  write_model(3);
  EXPECT_EQ(answer(options_), uncached());
  const PackedCache cache(options_.cache_folder, 0);
  EXPECT_EQ(cache.list().size(), 1U);
  EXPECT_GT(cache.clear(), 0);
  EXPECT_TRUE(cache.list().empty());
}

TEST_F(PackedCacheTest, AHashIsKeptWhileTheFileIsUnchanged) {
  const fs::path records = folder_ / "hashes";
  const std::vector<fs::path> files{model_};
  fs::last_write_time(model_, fs::file_time_type::clock::now() - std::chrono::hours(1));
  const auto first = weights_sha256(files, records);
  ASSERT_TRUE(first);
  // A file whose status changed a moment ago is not recorded: it may change again unseen.
  EXPECT_FALSE(fs::exists(records));
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));
  EXPECT_EQ(weights_sha256(files, records).value_or(""), *first);
  ASSERT_TRUE(fs::exists(records));
  const fs::path record = fs::directory_iterator(records)->path();
  std::string text = *read_file(record, 4096);
  text.replace(text.find(*first), 4, "0000");
  ASSERT_TRUE(write_file_atomic(record, text));
  EXPECT_NE(weights_sha256(files, records).value_or(""),
            *first);  // the record was believed, not the file
  write_model(5);
  const std::string changed = weights_sha256(files, records).value_or("");
  EXPECT_NE(changed.substr(0, 4), "0000");
  EXPECT_NE(changed, *first);
}

TEST(MemoryNeed, CountsWhatIsPackedAndRefusesWhatCannotFit) {
  const auto opened = open_test_model({.type_of = [](const std::string&) { return kGgufQ4_1; }});
  ModelSpec spec;
  spec.hidden = 64;
  spec.heads = 6;
  spec.kv_heads = 2;
  spec.head_dim = 32;
  spec.mlp = 96;
  spec.vocab = 101;
  const MemoryNeed need = memory_need(*opened->file, spec, {.kv_bytes = 1000});
  // 2 tables of 101 x 64; per layer 64 x 192 twice, 64 x 64 twice, 64 x 96 three times; 20 bytes
  // a 32.
  EXPECT_EQ(need.weights,
            (2 * 101 * 64 + 2 * (2 * 64 * 192 + 2 * 64 * 64 + 3 * 64 * 96)) / 32 * 20);
  EXPECT_EQ(need.keys_values, 1000);
  EXPECT_GT(memory_free(), 0);
  EXPECT_TRUE(check_memory(need, need.total()));
  const auto refused = check_memory(need, need.total() - 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kResourceExhausted);
  EXPECT_NE(refused.error().message.find("needs"), std::string::npos);
}

}  // namespace
}  // namespace genesis::model
