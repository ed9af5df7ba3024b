// The Hub's answers, the choice of files, the local cache, and the settings from the environment.
#include "hub/hub_api.h"

#include "base/file.h"
#include "hub/test_support.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

namespace genesis::hub {
namespace {

const std::string kCommit(40, 'c');

ModelSource source(std::string file = {}, std::string revision = "main") {
  return {.kind = SourceKind::kHub,
          .repository = "org/repo",
          .file = std::move(file),
          .revision = std::move(revision)};
}

std::vector<HubFile> files(std::initializer_list<const char*> names) {
  std::vector<HubFile> out;
  for (const char* name : names) {
    out.push_back({.name = name, .bytes = 1, .sha256 = {}});
  }
  return out;
}

std::string choice(std::initializer_list<const char*> names, std::string wanted = {}) {
  const auto chosen = choose_hub_files(files(names), source(std::move(wanted)));
  if (!chosen) {
    return std::string(error_code_name(chosen.error().code));
  }
  std::string joined;
  for (const HubFile& file : *chosen) {
    joined += (joined.empty() ? "" : " ") + file.name;
  }
  return joined;
}

TEST(HubApi, MakesUrls) {
  const HubSettings settings{.hub_endpoint = "http://mirror:1"};
  EXPECT_EQ(hub_info_url(settings, source("", "refs/pr/1")),
            "http://mirror:1/api/models/org/repo/revision/refs%2Fpr%2F1?blobs=true");
  EXPECT_EQ(hub_file_url(settings, "org/repo", kCommit, "a dir/x#1.gguf"),
            "http://mirror:1/org/repo/resolve/" + kCommit + "/a%20dir/x%231.gguf");
}

TEST(HubApi, ReadsARepository) {
  const auto repository = parse_hub_info(R"({"id":"org/repo","sha":")" + kCommit + R"(","siblings":[
        {"rfilename":"README.md","size":3,"blobId":"x"},
        {"rfilename":"m.gguf","size":9,"lfs":{"sha256":")" +
                                         std::string(64, 'a') + R"(","size":9}},
        {"rfilename":"n.gguf","lfs":{"sha256":"junk"}}]})");
  ASSERT_TRUE(repository) << repository.error().message;
  EXPECT_EQ(repository->commit, kCommit);
  ASSERT_EQ(repository->files.size(), 3U);
  EXPECT_EQ(repository->files[1].bytes, 9);
  EXPECT_EQ(repository->files[1].sha256, std::string(64, 'a'));
  EXPECT_EQ(repository->files[2].sha256, "");
}

TEST(HubApi, RefusesBadAnswers) {
  const std::string sha = R"("sha":")" + kCommit + '"';
  for (const std::string& body : {std::string("<html>"),
                                  std::string("[]"),
                                  std::string(R"({"siblings":[]})"),
                                  "{" + sha + "}",
                                  std::string(R"({"sha":"../../x","siblings":[]})"),
                                  "{" + sha + R"(,"siblings":[1]})",
                                  "{" + sha + R"(,"siblings":[{"rfilename":"../x"}]})",
                                  "{" + sha + R"(,"siblings":[{"rfilename":"/x"}]})",
                                  "{" + sha + R"(,"siblings":[{"rfilename":"a/../../x"}]})",
                                  "{" + sha + R"(,"siblings":[{"rfilename":""}]})",
                                  "{" + sha + R"(,"siblings":[{"rfilename":"x","size":"9"}]})"}) {
    EXPECT_FALSE(parse_hub_info(body)) << body;
  }
}

TEST(HubApi, ChoosesWeights) {
  EXPECT_EQ(choice({"m.Q4_K_M.gguf", "m.Q8_0.gguf", "m.F16.gguf"}), "m.Q8_0.gguf");
  EXPECT_EQ(choice({"m-q4_1.gguf", "m-q4_k_m.gguf"}), "m-q4_k_m.gguf");
  EXPECT_EQ(choice({"m.Q4_1.gguf", "m.F32.gguf"}), "m.Q4_1.gguf");
  EXPECT_EQ(choice({"z.gguf", "b.gguf", "mmproj-a.gguf"}), "b.gguf");
  EXPECT_EQ(choice({"m.Q4_K_M.gguf", "m.Q8_0.gguf"}, "q4_k_m"), "m.Q4_K_M.gguf");
  EXPECT_EQ(choice({"m.IQ4_1.gguf", "m.Q4_1.gguf"}, "Q4_1"), "m.Q4_1.gguf") << "whole words only";
  EXPECT_EQ(choice({"m.gguf", "n.gguf"}, "n.gguf"), "n.gguf");
  EXPECT_EQ(choice({"m.gguf"}, "Q2_K"), "not_found");
  EXPECT_EQ(choice({"pytorch_model.bin", "m.gguf"}, "pytorch_model.bin"), "unsupported");
  EXPECT_EQ(
      choice(
          {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "x.py"}),
      "model.safetensors config.json tokenizer.json tokenizer_config.json");
  EXPECT_EQ(
      choice({"pkg/data/model.safetensors", "pkg/data/config.json", "pkg/data/tokenizer.json"}),
      "pkg/data/model.safetensors pkg/data/config.json pkg/data/tokenizer.json");
  EXPECT_EQ(choice({"sub/model.safetensors", "model.safetensors", "config.json", "tokenizer.json"}),
            "model.safetensors config.json tokenizer.json");
  EXPECT_EQ(choice({"model.safetensors", "config.json"}), "not_found");
  EXPECT_EQ(choice({"model-00001-of-00002.safetensors", "config.json"}), "unsupported");
  EXPECT_EQ(choice({"model-00001-of-00002.safetensors",
                    "model-00002-of-00002.safetensors",
                    "model.safetensors.index.json",
                    "sub/model-00001-of-00002.safetensors",
                    "config.json",
                    "tokenizer.json"}),
            "model.safetensors.index.json config.json tokenizer.json "
            "model-00001-of-00002.safetensors model-00002-of-00002.safetensors");
  EXPECT_EQ(choice({"m-00001-of-00003.gguf"}), "unsupported");
  EXPECT_EQ(choice({"pytorch_model.bin", "config.json"}), "unsupported");
  EXPECT_EQ(choice({"README.md"}), "not_found");
  EXPECT_EQ(choice({}), "not_found");
}

TEST(HubApi, ReadsTheLocalCache) {
  const testing::TempFolder folder;
  const HubSettings settings{.hub_cache = folder.path()};
  const auto repo = folder.path() / "models--org--repo";
  std::filesystem::create_directories(repo / "blobs");
  std::filesystem::create_directories(repo / "refs");
  std::filesystem::create_directories(repo / "snapshots" / kCommit / "sub");
  ASSERT_TRUE(write_file_atomic(repo / "blobs" / "b1", "weights"));
  ASSERT_TRUE(write_file_atomic(repo / "refs" / "main", kCommit));
  std::filesystem::create_symlink("../../../blobs/b1",
                                  repo / "snapshots" / kCommit / "sub" / "m.gguf");
  std::filesystem::create_symlink("../../blobs/gone", repo / "snapshots" / kCommit / "broken.gguf");

  EXPECT_EQ(cached_commit(settings, source()), kCommit);
  EXPECT_EQ(cached_commit(settings, source("", kCommit)), kCommit);
  EXPECT_EQ(cached_commit(settings, source("", "v2")), std::nullopt);
  EXPECT_EQ(cached_commit(settings, source("", std::string(40, 'd'))), std::nullopt);
  const auto file = cached_file(settings, "org/repo", kCommit, "sub/m.gguf");
  ASSERT_TRUE(file);
  EXPECT_EQ(*file, std::filesystem::canonical(repo / "blobs" / "b1"));
  EXPECT_EQ(cached_file(settings, "org/repo", kCommit, "broken.gguf"), std::nullopt);
  EXPECT_EQ(cached_file(settings, "org/repo", kCommit, "../../refs/main"), std::nullopt);
  EXPECT_EQ(cached_file(HubSettings{}, "org/repo", kCommit, "sub/m.gguf"), std::nullopt);
  const auto all = cached_files(settings, "org/repo", kCommit);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].name, "sub/m.gguf");
  EXPECT_EQ(all[0].bytes, 7);
}

// Sets variables for one test and puts the old values back.
class Variables {
 public:
  void set(const char* name, const char* value) {
    const char* before = std::getenv(name);
    saved_.emplace_back(name,
                        before == nullptr ? std::nullopt : std::optional<std::string>(before));
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  }

  Variables() = default;
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;

  ~Variables() {
    for (auto at = saved_.rbegin(); at != saved_.rend(); ++at) {
      at->second ? ::setenv(at->first, at->second->c_str(), 1) : ::unsetenv(at->first);
    }
  }

 private:
  std::vector<std::pair<const char*, std::optional<std::string>>> saved_;
};

TEST(HubSettings, FollowTheEnvironment) {
  const testing::TempFolder folder;
  Variables variables;
  for (const char* name : {"HF_ENDPOINT",
                           "HF_TOKEN",
                           "HF_TOKEN_PATH",
                           "HF_HUB_OFFLINE",
                           "HF_HUB_CACHE",
                           "XDG_CACHE_HOME",
                           "GENESIS_PYPI_INDEX",
                           "PIP_INDEX_URL"}) {
    variables.set(name, nullptr);
  }
  variables.set("HF_HOME", folder.path().c_str());
  HubSettings settings = HubSettings::from_environment();
  EXPECT_EQ(settings.hub_endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.package_index, "https://pypi.org/simple");
  EXPECT_EQ(settings.hub_cache, folder.path() / "hub");
  EXPECT_EQ(settings.hub_token, "");
  EXPECT_FALSE(settings.hub_offline);

  ASSERT_TRUE(write_file_atomic(folder.path() / "token", " from-file\n"));
  EXPECT_EQ(HubSettings::from_environment().hub_token, "from-file");
  variables.set("HF_TOKEN", "from-variable");
  variables.set("HF_ENDPOINT", "http://mirror/");
  variables.set("HF_HUB_OFFLINE", "yes");
  variables.set("HF_HUB_CACHE", "/c");
  variables.set("PIP_INDEX_URL", "http://pip/simple/");
  settings = HubSettings::from_environment();
  EXPECT_EQ(settings.hub_token, "from-variable");
  EXPECT_EQ(settings.hub_endpoint, "http://mirror");
  EXPECT_TRUE(settings.hub_offline);
  EXPECT_EQ(settings.hub_cache, "/c");
  EXPECT_EQ(settings.package_index, "http://pip/simple");
  variables.set("GENESIS_PYPI_INDEX", "http://own/simple");
  variables.set("HF_HUB_OFFLINE", "0");
  settings = HubSettings::from_environment();
  EXPECT_EQ(settings.package_index, "http://own/simple");
  EXPECT_FALSE(settings.hub_offline);
}

}  // namespace
}  // namespace genesis::hub
