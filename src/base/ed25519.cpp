#include "base/ed25519.h"

#include "base/check.h"
#include "base/file.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <sys/stat.h>

namespace genesis {

namespace {

constexpr std::size_t kMaxKeyFile = 4096;
constexpr std::string_view kPublicPrefix = "ed25519:";

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};

struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

using KeyHandle = std::unique_ptr<EVP_PKEY, FreeKey>;
using BioHandle = std::unique_ptr<BIO, FreeBio>;
using DigestHandle = std::unique_ptr<EVP_MD_CTX, FreeDigest>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());  // NOLINT
}

Result<void> check_private(const std::filesystem::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return fail(ErrorCode::kPermissionDenied,
                fmt::format("the signing key {} can be read by others", file.string()),
                fmt::format("chmod 600 {}", file.string()));
  }
  return {};
}

}  // namespace

struct SigningKey::Key {
  KeyHandle handle;
};

SigningKey::SigningKey(std::unique_ptr<Key> key) : key_(std::move(key)) {}

SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

Result<SigningKey> SigningKey::generate(const std::filesystem::path& file) {
  auto key = std::make_unique<Key>(KeyHandle(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")));
  const BioHandle out(BIO_new(BIO_s_mem()));
  if (!key->handle || !out ||
      PEM_write_bio_PKCS8PrivateKey(
          out.get(), key->handle.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return fail(ErrorCode::kInternal, "OpenSSL could not make an Ed25519 key");
  }
  char* pem = nullptr;
  const long size = BIO_get_mem_data(out.get(), &pem);
  GENESIS_TRY_VOID(
      write_file_atomic(file, std::string_view(pem, static_cast<std::size_t>(size)), 0600));
  return SigningKey(std::move(key));
}

Result<SigningKey> SigningKey::open(const std::filesystem::path& file) {
  const auto pem = read_file(file, kMaxKeyFile);
  if (!pem && pem.error().code == ErrorCode::kNotFound) {
    return generate(file);
  }
  if (!pem) {
    return std::unexpected(pem.error());
  }
  GENESIS_TRY_VOID(check_private(file));
  const BioHandle in(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  KeyHandle handle(in ? PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!handle || EVP_PKEY_get_base_id(handle.get()) != EVP_PKEY_ED25519) {
    return fail(ErrorCode::kDataLoss,
                fmt::format("{} does not hold an Ed25519 key", file.string()),
                "restore it from a backup; a new key makes a new signer");
  }
  return SigningKey(std::make_unique<Key>(std::move(handle)));
}

PublicKey SigningKey::public_key() const {
  PublicKey out{};
  std::size_t size = out.size();
  const int got = EVP_PKEY_get_raw_public_key(key_->handle.get(), out.data(), &size);
  GENESIS_CHECK(got == 1 && size == out.size());
  return out;
}

Signature SigningKey::sign(std::string_view message) const {
  Signature out{};
  std::size_t size = out.size();
  const DigestHandle context(EVP_MD_CTX_new());
  const bool signed_it =
      context &&
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->handle.get()) == 1 &&
      EVP_DigestSign(context.get(), out.data(), &size, bytes_of(message), message.size()) == 1;
  GENESIS_CHECK(signed_it && size == out.size());
  return out;
}

bool verify_signature(const PublicKey& key, std::string_view message, const Signature& signature) {
  const KeyHandle handle(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()));
  const DigestHandle context(EVP_MD_CTX_new());
  return handle && context &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, handle.get()) == 1 &&
         EVP_DigestVerify(context.get(),
                          signature.data(),
                          signature.size(),
                          bytes_of(message),
                          message.size()) == 1;
}

std::string format_public_key(const PublicKey& key) {
  return std::string(kPublicPrefix) + to_base64(key);
}

Result<PublicKey> parse_public_key(std::string_view text) {
  PublicKey key{};
  if (text.starts_with(kPublicPrefix)) {
    const auto bytes = from_base64(text.substr(kPublicPrefix.size()));
    if (bytes && bytes->size() == key.size()) {
      std::ranges::copy(*bytes, key.begin());
      return key;
    }
  }
  return fail(ErrorCode::kInvalidArgument,
              "a public key is written ed25519:<44 characters of base64>",
              "genesis ledger pubkey");
}

std::string to_base64(std::span<const std::uint8_t> bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock() adds a zero
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),  // NOLINT
                                   bytes.data(),
                                   static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Result<std::string> from_base64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::string_view body = text.substr(0, text.size() - padding);
  if (text.size() % 4 != 0 || text.size() > 1'000'000 ||
      body.find_first_not_of(kAlphabet) != std::string_view::npos) {
    return fail(ErrorCode::kInvalidArgument, "this is not base64");
  }
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),  // NOLINT
                                   bytes_of(text),
                                   static_cast<int>(text.size()));
  if (size < 0) {
    return fail(ErrorCode::kInvalidArgument, "this is not base64");
  }
  out.resize(static_cast<std::size_t>(size) - padding);
  return out;
}

}  // namespace genesis
