// Signatures against RFC 8032's vectors, key files, base64.
#include "base/ed25519.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace genesis {

namespace {

template <std::size_t N>
std::array<std::uint8_t, N> unhex(std::string_view hex) {
  std::array<std::uint8_t, N> out{};
  for (std::size_t i = 0; i < N; ++i) {
    out[i] = static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(2 * i, 2)), nullptr, 16));
  }
  return out;
}

class KeyFile : public ::testing::Test {
 protected:
  KeyFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "genesis-key-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }

  ~KeyFile() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::filesystem::path file() const { return folder_ / "key.pem"; }

  std::filesystem::path folder_;
};

// RFC 8032, 7.1, test 2.
TEST(Ed25519, VerifiesTheStandardsVector) {
  const auto key = unhex<32>("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  auto signature = unhex<64>(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(verify_signature(key, "\x72", signature));
  EXPECT_FALSE(verify_signature(key, "\x73", signature));
  signature[0] ^= 1;
  EXPECT_FALSE(verify_signature(key, "\x72", signature));
}

TEST_F(KeyFile, IsMadeOncePrivateAndReadAgain) {
  const auto made = SigningKey::open(file());
  ASSERT_TRUE(made) << made.error().message;
  struct stat info{};
  ASSERT_EQ(::stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  const auto read = SigningKey::open(file());
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(made->public_key(), read->public_key());
  EXPECT_TRUE(verify_signature(read->public_key(), "text", made->sign("text")));
  EXPECT_FALSE(verify_signature(read->public_key(), "texts", made->sign("text")));
}

TEST_F(KeyFile, IsRefusedWhenOthersCanReadItOrWhenItIsNoKey) {
  ASSERT_TRUE(SigningKey::open(file()));
  ::chmod(file().c_str(), 0644);
  EXPECT_EQ(SigningKey::open(file()).error().code, ErrorCode::kPermissionDenied);
  ::chmod(file().c_str(), 0600);
  std::ofstream(file()) << "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
  EXPECT_EQ(SigningKey::open(file()).error().code, ErrorCode::kDataLoss);
}

TEST(PublicKeyText, RoundTripsAndRefuses) {
  PublicKey key{};
  key[0] = 7;
  key[31] = 255;
  EXPECT_EQ(parse_public_key(format_public_key(key)), key);
  for (const char* bad : {"", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:%%%="}) {
    EXPECT_FALSE(parse_public_key(bad)) << bad;
  }
}

// RFC 4648, 10.
TEST(Base64, FollowsTheStandardsExamples) {
  const std::pair<std::string_view, std::string_view> examples[] = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : examples) {
    const std::vector<std::uint8_t> bytes(plain.begin(), plain.end());
    EXPECT_EQ(to_base64(bytes), encoded);
    EXPECT_EQ(from_base64(encoded).value(), plain);
  }
  for (const char* bad : {"Zg", "Z g=", "Zg=a", "====", "Zg==\n"}) {
    EXPECT_FALSE(from_base64(bad)) << bad;
  }
}

}  // namespace

}  // namespace genesis
