// Downloads: resumed after every kind of cut, and never accepted with a wrong byte.
#include "hub/download.h"

#include "base/file.h"
#include "base/random.h"
#include "hub/test_support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace genesis::hub {
namespace {

using ::testing::HasSubstr;

constexpr const char* kUrl = "https://files.example/m.gguf";

class DownloadTest : public ::testing::Test {
 protected:
  DownloadTest() {
    Random random(7);
    for (int i = 0; i < 50'000; ++i) {
      body_.push_back(static_cast<char>(random.next()));
    }
    fetcher_.web[kUrl].body = body_;
  }

  Result<Downloaded> fetch(std::string sha256, std::int64_t bytes) {
    DownloadRequest request{.url = kUrl,
                            .sha256 = std::move(sha256),
                            .bytes = bytes,
                            .folder = folder_.path(),
                            .key = "key",
                            .what = "m.gguf",
                            .retry_pause = std::chrono::milliseconds(1)};
    return testing::run(
        download(fetcher_, std::move(request), [&](std::int64_t done, std::int64_t total) {
          last_done_ = done;
          last_total_ = total;
        }));
  }

  Result<Downloaded> fetch() { return fetch(sha_of_body(), std::ssize(body_)); }

  std::string sha_of_body() const { return testing::hex_sha256(body_); }

  std::filesystem::path partial() const { return folder_.path() / "key.partial"; }

  testing::Resource& resource() { return fetcher_.web[kUrl]; }

  testing::TempFolder folder_;
  testing::FakeFetcher fetcher_;
  std::string body_;
  std::int64_t last_done_ = -1;
  std::int64_t last_total_ = -1;
};

TEST_F(DownloadTest, BringsTheFile) {
  const auto done = fetch();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(read_file(done->path, 1 << 20).value(), body_);
  EXPECT_EQ(done->sha256, sha_of_body());
  EXPECT_EQ(done->bytes, std::ssize(body_));
  EXPECT_EQ(last_done_, std::ssize(body_));
  EXPECT_EQ(last_total_, std::ssize(body_));
  EXPECT_EQ(fetcher_.seen.size(), 1U);
}

TEST_F(DownloadTest, GoesOnAfterCutsWithoutFetchingTwice) {
  resource().cuts = {1, 999, 0, 20'000, 12'345};
  const auto done = fetch();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(read_file(done->path, 1 << 20).value(), body_);
  EXPECT_EQ(fetcher_.seen.size(), 6U);
  EXPECT_EQ(fetcher_.seen[1].range, "bytes=1-");
  EXPECT_EQ(fetcher_.body_bytes, body_.size());
}

TEST_F(DownloadTest, GoesOnInTheNextProcess) {
  resource().cuts = {30'000, 0, 0, 0, 0, 0, 0};
  const auto cut = fetch();
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(std::filesystem::file_size(partial()), 30'000U);
  resource().cuts.clear();
  const auto done = fetch();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(fetcher_.seen.back().range, "bytes=30000-");
  EXPECT_EQ(fetcher_.body_bytes, body_.size());
  EXPECT_EQ(read_file(done->path, 1 << 20).value(), body_);
}

TEST_F(DownloadTest, ACompletePartialNeedsNoRequest) {
  ASSERT_TRUE(write_file_atomic(partial(), body_));
  const auto done = fetch();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(fetcher_.seen.empty());
}

TEST_F(DownloadTest, ADamagedPartialIsFetchedAgain) {
  std::string damaged = body_.substr(0, 40'000);
  damaged[17] = static_cast<char>(damaged[17] + 1);
  ASSERT_TRUE(write_file_atomic(partial(), damaged));
  const auto done = fetch();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(read_file(done->path, 1 << 20).value(), body_);
  EXPECT_EQ(fetcher_.seen.back().range, std::nullopt);
}

TEST_F(DownloadTest, APartialThatIsTooLongIsThrownAway) {
  ASSERT_TRUE(write_file_atomic(partial(), body_ + "more"));
  ASSERT_TRUE(fetch());
  EXPECT_EQ(fetcher_.seen[0].range, std::nullopt);
}

TEST_F(DownloadTest, AServerWithoutRangesStartsOver) {
  ASSERT_TRUE(write_file_atomic(partial(), body_.substr(0, 100)));
  resource().ranges = false;
  const auto done = fetch();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(read_file(done->path, 1 << 20).value(), body_);
}

TEST_F(DownloadTest, AServerThatStartsOverAndCutsIsGivenUp) {
  resource().ranges = false;
  for (int i = 0; i < 100; ++i) {
    resource().cuts.push_back(i % 2 == 0 ? 20'000 : 10'000);
  }
  const auto done = fetch();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(fetcher_.seen.size(), 5U);
}

TEST_F(DownloadTest, AWholePartialOfUnknownSizeIsRecognised) {
  ASSERT_TRUE(write_file_atomic(partial(), body_));
  const auto done = fetch(sha_of_body(), 0);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(fetcher_.body_bytes, 0U);
}

TEST_F(DownloadTest, EveryFlippedByteIsRefused) {
  Random random(11);
  for (int i = 0; i < 50; ++i) {
    std::string bad = body_;
    const std::size_t at = random.below(bad.size());
    bad[at] = static_cast<char>(bad[at] ^ static_cast<char>(1 + random.below(255)));
    resource().body = bad;
    const auto done = fetch();
    ASSERT_FALSE(done) << at;
    EXPECT_EQ(done.error().code, ErrorCode::kDataLoss);
    EXPECT_FALSE(std::filesystem::exists(partial()));
  }
}

TEST_F(DownloadTest, AnotherLengthIsRefused) {
  const std::string original = body_;
  resource().body = original + "x";
  const auto longer = fetch(sha_of_body(), std::ssize(original));
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::kDataLoss);
  resource().body = original.substr(1);
  const auto shorter = fetch(sha_of_body(), std::ssize(original));
  ASSERT_FALSE(shorter);
  EXPECT_EQ(shorter.error().code, ErrorCode::kUpstream);
  EXPECT_EQ(fetcher_.seen.size(), 2U) << "no second try against a proper end";
  const auto again = fetch(sha_of_body(), std::ssize(original));
  ASSERT_FALSE(again);
  EXPECT_EQ(fetcher_.seen.size(), 4U) << "the rest, refused with 416; then once from the start";
}

TEST_F(DownloadTest, TheHubsLinkedHashIsChecked) {
  resource().headers.set("X-Linked-Etag", '"' + sha_of_body() + '"');
  EXPECT_TRUE(fetch("", 0));
  resource().headers.set("X-Linked-Etag", '"' + std::string(64, 'a') + '"');
  const auto wrong = fetch("", 0);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kDataLoss);
  const auto changed = fetch();
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, ErrorCode::kDataLoss);
}

TEST_F(DownloadTest, WithoutAHashOldBytesAreNotUsed) {
  ASSERT_TRUE(write_file_atomic(partial(), "bytes of something else"));
  resource().cuts = {500};
  const auto done = fetch("", 0);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->sha256, sha_of_body());
  EXPECT_EQ(fetcher_.seen[0].range, std::nullopt);
  EXPECT_EQ(fetcher_.seen[1].range, std::nullopt);
}

TEST_F(DownloadTest, StatusesBecomeErrors) {
  const std::vector<std::pair<int, ErrorCode>> cases{{401, ErrorCode::kPermissionDenied},
                                                     {403, ErrorCode::kPermissionDenied},
                                                     {404, ErrorCode::kNotFound},
                                                     {429, ErrorCode::kRateLimited},
                                                     {500, ErrorCode::kUnavailable},
                                                     {204, ErrorCode::kUpstream}};
  for (const auto& [status, code] : cases) {
    resource().status = status;
    const auto done = fetch();
    ASSERT_FALSE(done) << status;
    EXPECT_EQ(done.error().code, code) << status;
    EXPECT_EQ(done.error().upstream_status, status);
    EXPECT_THAT(done.error().message, HasSubstr("m.gguf"));
  }
  EXPECT_EQ(fetcher_.seen.size(), 4U + 2 * 4U) << "429 and 500 are tried four times";
}

TEST_F(DownloadTest, TooLittleDiskIsToldBeforehand) {
  const auto done = fetch(sha_of_body(), std::int64_t{1} << 60);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kResourceExhausted);
  EXPECT_TRUE(fetcher_.seen.empty());
}

TEST_F(DownloadTest, AThousandRandomCutsFetchNothingTwice) {
  constexpr std::uint64_t kSeed = 99;
  Random random(kSeed);
  for (int i = 0; i < 1'000; ++i) {
    resource().cuts.push_back(1 + random.below(80));
  }
  const auto done = fetch();
  ASSERT_TRUE(done) << done.error().message << " seed " << kSeed;
  EXPECT_EQ(fetcher_.body_bytes, body_.size());
  EXPECT_GT(fetcher_.seen.size(), 900U);
}

}  // namespace
}  // namespace genesis::hub
