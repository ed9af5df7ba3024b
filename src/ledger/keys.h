// API keys. A key is "gk-<id>-<secret>-<checksum>": 16 hex digits of public id, 64 of random
// secret, 8 of SHA-256 over what stands before, so that a typo or a key scanner needs no database.
// Stored is only the id and HMAC-SHA-256 of the secret under a pepper that lives outside the
// database: a copy of the database is useless by itself. Random keys need no slow hash.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "base/sha256.h"
#include "ledger/budget.h"
#include "store/database.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace genesis::ledger {

// What one key may ask of the gateway at most; 0 = no limit.
struct KeyLimits {
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;
  std::int64_t parallel = 0;
};

struct ApiKey {
  std::string id;
  std::string name;
  std::string tenant;
  std::string team;  // empty = none
  bool admin = false;
  std::vector<std::string> models;  // routes and models it may ask for; empty = all
  std::int64_t created_ms = 0;
  std::int64_t revoked_ms = 0;  // 0 = valid
  std::int64_t expires_ms = 0;  // 0 = never
  KeyLimits limits;
};

struct NewKey {
  std::string name;
  std::string tenant;
  std::string team;
  bool admin = false;
  std::vector<std::string> models;
  KeyLimits limits;
  std::chrono::seconds lifetime{0};  // 0 = for ever
  std::vector<Budget> budgets;       // scope and subject are filled in
};

struct CreatedKey {
  ApiKey key;
  std::string token;  // shown once, stored nowhere
};

// True for anything of the key's form with a right checksum; says nothing about validity.
bool well_formed_key(std::string_view token);

// Creation and revocation write to `database` (an owner or a guest of it) and wait for the commit,
// so they are for commands and admin routes. authenticate() works on a snapshot in memory: a new
// key is valid at once, a revoked one at most kRefresh longer, whichever process changed it. Safe
// from any thread. `database` and `clock` outlive it.
class KeyStore {
 public:
  static constexpr std::chrono::milliseconds kRefresh{500};
  // A snapshot that cannot be refreshed for this long is no longer trusted.
  static constexpr std::chrono::milliseconds kTrusted{10'000};

  // The pepper has at least 32 bytes. Reads the keys once.
  static Result<std::unique_ptr<KeyStore>> open(store::Database& database,
                                                const Clock& clock,
                                                std::string pepper);

  Result<CreatedKey> create(const NewKey& wanted);
  // By id; kNotFound. Revoking twice is the same as once.
  Result<void> revoke(std::string_view id);
  // Newest last, revoked ones included.
  Result<std::vector<ApiKey>> list() const;

  // kUnauthenticated for anything that is not a valid key, always with the same words; an expired
  // one is told so, for its holder has proved to know it.
  Result<std::shared_ptr<const ApiKey>> authenticate(std::string_view token) const;

 private:
  struct Record {
    std::shared_ptr<const ApiKey> key;
    Digest mac{};
  };

  struct Snapshot {
    std::int64_t version = -1;
    std::unordered_map<std::string, Record> keys;  // valid ones, by id
  };

  KeyStore(store::Database& database, const Clock& clock, std::string pepper);
  Result<void> refresh() const;
  Result<std::shared_ptr<const Snapshot>> current(std::string_view id) const;
  Digest mac_of(std::string_view id, std::string_view secret) const;

  store::Database& database_;
  const Clock& clock_;
  const std::string pepper_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Snapshot> snapshot_;
  mutable SteadyTime checked_;    // when a refresh was last tried
  mutable SteadyTime refreshed_;  // when it last succeeded
};

}  // namespace genesis::ledger
