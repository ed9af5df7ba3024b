// API keys. A key is "gk-<id>-<secret>-<checksum>": 16 hex digits of public id, 64 of random
// secret, 8 of SHA-256 over what stands before, so that a typo or a key scanner needs no database.
// Stored is only the id and HMAC-SHA-256 of the secret under a pepper that lives outside the
// database: a copy of the database is useless by itself. Random keys need no slow hash.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "base/sha256.h"
#include "base/task.h"
#include "ledger/budget.h"
#include "store/database.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
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
// so they are for commands and admin routes. authenticate() works on a snapshot in memory and never
// waits: a thread of the store's own reads it anew every kRefresh, so a key that another process
// revoked is refused within a second. A key that another process made is looked for by learn().
//
// While the database is away the snapshot stays good for set_trusted(): long means that a fleet
// works on through an outage, and that a key revoked during one works as long. Safe from any
// thread. `database` and `clock` outlive it; the destructor waits for a read that is under way.
class KeyStore {
 public:
  static constexpr std::chrono::milliseconds kRefresh{500};
  static constexpr std::chrono::seconds kTrusted{300};
  // How long learn() waits for the database.
  static constexpr std::chrono::milliseconds kPatience{2'000};
  // How many may wait for the next refresh; more are turned away at once.
  static constexpr std::size_t kMaxWaiting = 1'000;

  // The pepper has at least 32 bytes. Reads the keys once, and then goes on reading.
  static Result<std::unique_ptr<KeyStore>> open(store::Database& database,
                                                const Clock& clock,
                                                std::string pepper);
  ~KeyStore();
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;

  void set_trusted(std::chrono::milliseconds trusted) { trusted_ = trusted; }

  Result<CreatedKey> create(const NewKey& wanted);
  // By id; kNotFound. Revoking twice is the same as once.
  Result<void> revoke(std::string_view id);
  // Newest last, revoked ones included.
  Result<std::vector<ApiKey>> list() const;

  // kUnauthenticated for anything that is not a valid key, always with the same words; an expired
  // one is told so, for its holder has proved to know it. kUnavailable when the snapshot is too old
  // to be trusted.
  Result<std::shared_ptr<const ApiKey>> authenticate(std::string_view token) const;

  // False for a well-formed key that the snapshot has never heard of: learn() it first.
  bool knows(std::string_view token) const;
  // Returns once the keys were read anew, by the thread, so that authenticate() can judge a key
  // made a moment ago. kUnavailable when the database does not answer within kPatience, kOverloaded
  // when kMaxWaiting wait already.
  Task<Result<void>> learn() const;

 private:
  struct Waiter;

  struct Record {
    std::shared_ptr<const ApiKey> key;
    Digest mac{};
  };

  struct Snapshot {
    std::int64_t version = -1;
    std::unordered_map<std::string, Record> keys;  // by id, revoked ones too
  };

  KeyStore(store::Database& database, const Clock& clock, std::string pepper);
  Result<void> refresh() const;
  void keep_fresh();
  void note(const Result<void>& refreshed);
  Result<std::shared_ptr<const Snapshot>> current() const;
  Digest mac_of(std::string_view id, std::string_view secret) const;

  store::Database& database_;
  const Clock& clock_;
  const std::string pepper_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Snapshot> snapshot_;
  mutable SteadyTime refreshed_;  // when the last refresh that succeeded began
  std::atomic<std::chrono::milliseconds> trusted_{kTrusted};
  mutable std::condition_variable wake_;
  mutable std::vector<std::shared_ptr<Waiter>> waiting_;  // for the next refresh
  bool stop_ = false;
  bool away_ = false;  // of the thread: its last refresh failed
  std::thread thread_;
};

}  // namespace genesis::ledger
