// Ed25519 signatures (RFC 8032, OpenSSL) and base64: for reports that somebody else has to trust.
#pragma once

#include "base/result.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace genesis {

using PublicKey = std::array<std::uint8_t, 32>;
using Signature = std::array<std::uint8_t, 64>;

// A private key. Immutable; safe from any thread.
class SigningKey {
 public:
  // Reads the PKCS#8 PEM file, or makes the key and the file (mode 0600) when there is none. A key
  // that others may read is refused with kPermissionDenied.
  static Result<SigningKey> open(const std::filesystem::path& file);

  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();

  PublicKey public_key() const;
  Signature sign(std::string_view message) const;

 private:
  struct Key;
  explicit SigningKey(std::unique_ptr<Key> key);
  static Result<SigningKey> generate(const std::filesystem::path& file);

  std::unique_ptr<Key> key_;
};

bool verify_signature(const PublicKey& key, std::string_view message, const Signature& signature);

// "ed25519:<base64>"; how a public key is shown and given.
std::string format_public_key(const PublicKey& key);
Result<PublicKey> parse_public_key(std::string_view text);

std::string to_base64(std::span<const std::uint8_t> bytes);
// Strict: padding, no blanks. kInvalidArgument.
Result<std::string> from_base64(std::string_view text);

}  // namespace genesis
