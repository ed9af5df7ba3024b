// SHA-256 and HMAC-SHA-256 (OpenSSL), and hexadecimal. Used for model files, keys and the ledger
// chain.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace genesis {

using Digest = std::array<std::uint8_t, 32>;

// Incremental hashing. Not thread-safe; finish() may be called once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::string_view bytes);
  void update(std::span<const std::uint8_t> bytes);
  Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest sha256(std::string_view bytes);
Digest hmac_sha256(std::string_view key, std::string_view bytes);
std::string to_hex(std::span<const std::uint8_t> bytes);
// Time does not depend on where the first difference is; lengths may leak.
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace genesis
