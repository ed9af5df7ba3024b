// Making, checking and refreshing keys.
#include "ledger/keys.h"

#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "ledger/schema.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <optional>
#include <pthread.h>
#include <utility>

namespace genesis::ledger {

namespace {

constexpr std::string_view kPrefix = "gk-";
constexpr std::size_t kIdChars = 16;
constexpr std::size_t kSecretChars = 64;
constexpr std::size_t kChecksumChars = 8;
constexpr std::size_t kTokenChars =
    kPrefix.size() + kIdChars + 1 + kSecretChars + 1 + kChecksumChars;
constexpr std::size_t kMinPepperBytes = 32;
constexpr std::size_t kMaxNameBytes = 256;
constexpr std::size_t kMaxModels = 1000;
// Far above any use, far below what overflows in tokens a minute times a minute.
constexpr std::int64_t kMaxLimit = 1'000'000'000;
// Between refreshes that unknown keys asked for: whoever makes keys up cannot keep a database busy.
constexpr std::chrono::milliseconds kEarlyPause{20};

struct TokenParts {
  std::string_view id;
  std::string_view secret;
};

std::string checksum(std::string_view before) {
  return to_hex(sha256(before)).substr(0, kChecksumChars);
}

Result<TokenParts> split(std::string_view token) {
  constexpr std::size_t kSecretAt = kPrefix.size() + kIdChars + 1;
  constexpr std::size_t kChecksumAt = kSecretAt + kSecretChars + 1;
  if (token.size() != kTokenChars || !token.starts_with(kPrefix) || token[kSecretAt - 1] != '-' ||
      token[kChecksumAt - 1] != '-' ||
      token.substr(kChecksumAt) != checksum(token.substr(0, kChecksumAt - 1))) {
    return fail(ErrorCode::kUnauthenticated, "not a key");
  }
  return TokenParts{token.substr(kPrefix.size(), kIdChars), token.substr(kSecretAt, kSecretChars)};
}

template <std::size_t kBytes>
std::string random_hex() {
  std::array<std::uint8_t, kBytes> bytes{};
  secure_random_bytes(bytes);
  return to_hex(bytes);
}

std::string_view as_text(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::unexpected<Error> refused() {
  return fail(ErrorCode::kUnauthenticated,
              "the API key is missing, wrong or revoked",
              "make one with `genesis key create` and send it as `Authorization: Bearer gk-...`");
}

std::unexpected<Error> cannot_check() {
  return fail(ErrorCode::kUnavailable,
              "API keys cannot be checked: the database does not answer",
              "try again; `genesis doctor` tells how the database is");
}

std::string models_json(const std::vector<std::string>& models) {
  JsonWriter w;
  w.begin_array();
  for (const std::string& model : models) {
    w.string(model);
  }
  w.end_array();
  return w.take();
}

Result<std::vector<std::string>> parse_models(std::string_view json) {
  GENESIS_TRY(const boost::json::value document, parse_json(json));
  std::vector<std::string> models;
  const auto* array = document.if_array();
  if (array == nullptr) {
    return fail(ErrorCode::kDataLoss, "a key's list of models is damaged", "genesis ledger verify");
  }
  for (const boost::json::value& model : *array) {
    const auto* text = model.if_string();
    if (text == nullptr) {
      return fail(
          ErrorCode::kDataLoss, "a key's list of models is damaged", "genesis ledger verify");
    }
    models.emplace_back(*text);
  }
  return models;
}

Result<void> validate(const NewKey& wanted) {
  if (wanted.name.empty() || wanted.name.size() > kMaxNameBytes) {
    return fail_param("name", fmt::format("a key needs a name of 1 to {} bytes", kMaxNameBytes));
  }
  if (wanted.tenant.empty() || wanted.tenant.size() > kMaxNameBytes) {
    return fail_param("tenant",
                      fmt::format("a key needs a tenant of 1 to {} bytes", kMaxNameBytes));
  }
  if (wanted.models.size() > kMaxModels) {
    return fail_param("models", fmt::format("a key may name at most {} models", kMaxModels));
  }
  if (wanted.team.size() > kMaxNameBytes) {
    return fail_param("team", fmt::format("a team's name has at most {} bytes", kMaxNameBytes));
  }
  const std::pair<std::string_view, std::int64_t> limits[] = {
      {"rpm", wanted.limits.requests_per_minute},
      {"tpm", wanted.limits.tokens_per_minute},
      {"parallel", wanted.limits.parallel},
      {"expires", wanted.lifetime.count()}};
  for (const auto& [name, value] : limits) {
    if (value < 0 || value > kMaxLimit) {
      return fail_param(std::string(name),
                        fmt::format("'{}' must be from 0 (no limit) to {}", name, kMaxLimit));
    }
  }
  return {};
}

constexpr std::string_view kSelect =
    "SELECT id, name, tenant, admin, models, created_ms, revoked_ms, mac, team,"
    " requests_per_minute, tokens_per_minute, parallel, expires_ms FROM api_keys"
    " ORDER BY created_ms, id";

Result<ApiKey> read_key(const store::Statement& row) {
  ApiKey key{.id = std::string(row.text(0)),
             .name = std::string(row.text(1)),
             .tenant = std::string(row.text(2)),
             .team = std::string(row.text(8)),
             .admin = row.integer(3) == 1,
             .models = {},
             .created_ms = row.integer(5),
             .revoked_ms = row.integer(6),
             .expires_ms = row.integer(12),
             .limits = {.requests_per_minute = row.integer(9),
                        .tokens_per_minute = row.integer(10),
                        .parallel = row.integer(11)}};
  GENESIS_TRY(key.models, parse_models(row.text(4)));
  return key;
}

Result<void> bump_version(store::Transaction& tx) {
  GENESIS_TRY(store::Statement bump,
              tx.prepare("UPDATE ledger_state SET value = value + 1 WHERE name = 'keys_version'"));
  return bump.run();
}

Result<void> insert_key(store::Transaction& tx, const ApiKey& key, const Digest& mac) {
  GENESIS_TRY(store::Statement insert,
              tx.prepare("INSERT INTO api_keys(id, name, tenant, admin, models, mac, created_ms,"
                         " team, requests_per_minute, tokens_per_minute, parallel, expires_ms)"
                         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"));
  insert.bind(1, key.id).bind(2, key.name).bind(3, key.tenant);
  insert.bind(4, std::int64_t{key.admin ? 1 : 0}).bind(5, models_json(key.models));
  insert.bind_blob(6, mac).bind(7, key.created_ms).bind(8, key.team);
  insert.bind(9, key.limits.requests_per_minute).bind(10, key.limits.tokens_per_minute);
  return insert.bind(11, key.limits.parallel).bind(12, key.expires_ms).run();
}

}  // namespace

bool well_formed_key(std::string_view token) {
  return split(token).has_value();
}

// A coroutine until the refresh it waits for is over. It may leave before, and take its executor
// with it: from then on there is no timer, and the thread touches nothing of theirs.
struct KeyStore::Waiter {
  static void tell(const std::shared_ptr<Waiter>& waiter, const Result<void>& how) {
    const std::lock_guard lock(waiter->mutex);
    if (waiter->timer == nullptr) {
      return;
    }
    boost::asio::post(waiter->timer->get_executor(), [waiter, how] {
      const std::lock_guard inner(waiter->mutex);
      waiter->outcome = how;
      if (waiter->timer != nullptr) {
        waiter->timer->cancel();
      }
    });
  }

  void leave() {
    const std::lock_guard lock(mutex);
    timer = nullptr;
  }

  std::mutex mutex;
  boost::asio::steady_timer* timer = nullptr;
  std::optional<Result<void>> outcome;  // written and read on the coroutine's executor
};

KeyStore::KeyStore(store::Database& database, const Clock& clock, std::string pepper)
    : database_(database),
      clock_(clock),
      pepper_(std::move(pepper)),
      snapshot_(std::make_shared<Snapshot>()),
      refreshed_(clock.steady()) {}

KeyStore::~KeyStore() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

Result<std::unique_ptr<KeyStore>> KeyStore::open(store::Database& database,
                                                 const Clock& clock,
                                                 std::string pepper) {
  if (pepper.size() < kMinPepperBytes) {
    return fail(
        ErrorCode::kConfig,
        fmt::format(
            "the key pepper has {} bytes; it needs at least {}", pepper.size(), kMinPepperBytes));
  }
  std::unique_ptr<KeyStore> keys(new KeyStore(database, clock, std::move(pepper)));
  GENESIS_TRY_VOID(keys->refresh());
  // Signals belong to the main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  keys->thread_ = std::thread([store = keys.get()] { store->keep_fresh(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return keys;
}

Digest KeyStore::mac_of(std::string_view id, std::string_view secret) const {
  return hmac_sha256(pepper_, fmt::format("{}:{}", id, secret));
}

Result<CreatedKey> KeyStore::create(const NewKey& wanted) {
  GENESIS_TRY_VOID(validate(wanted));
  const std::string secret = random_hex<kSecretChars / 2>();
  CreatedKey made{.key = {.id = random_hex<kIdChars / 2>(),
                          .name = wanted.name,
                          .tenant = wanted.tenant,
                          .team = wanted.team,
                          .admin = wanted.admin,
                          .models = wanted.models,
                          .created_ms = clock_.unix_ms(),
                          .limits = wanted.limits},
                  .token = {}};
  if (wanted.lifetime.count() > 0) {
    made.key.expires_ms = made.key.created_ms + wanted.lifetime.count() * 1000;
  }
  const Digest mac = mac_of(made.key.id, secret);
  GENESIS_TRY_VOID(database_.write_blocking([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY_VOID(insert_key(tx, made.key, mac));
    for (Budget budget : wanted.budgets) {
      budget.scope = BudgetScope::kKey;
      budget.subject = made.key.id;
      budget.origin = "command";
      GENESIS_TRY_VOID(set_budget(tx, std::move(budget), made.key.created_ms));
    }
    return bump_version(tx);
  }));
  GENESIS_TRY_VOID(refresh());
  made.token = fmt::format("{}{}-{}", kPrefix, made.key.id, secret);
  made.token += "-" + checksum(made.token);
  return made;
}

Result<void> KeyStore::revoke(std::string_view id) {
  const std::int64_t now = clock_.unix_ms();
  GENESIS_TRY_VOID(database_.write_blocking([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement find, tx.prepare("SELECT 1 FROM api_keys WHERE id = ?1"));
    GENESIS_TRY(const bool known, find.bind(1, id).step());
    if (!known) {
      return fail(ErrorCode::kNotFound, fmt::format("there is no key '{}'", id), "genesis key ls");
    }
    GENESIS_TRY(
        store::Statement update,
        tx.prepare("UPDATE api_keys SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL"));
    GENESIS_TRY_VOID(update.bind(1, id).bind(2, now).run());
    return bump_version(tx);
  }));
  return refresh();
}

Result<std::vector<ApiKey>> KeyStore::list() const {
  std::vector<ApiKey> keys;
  GENESIS_TRY_VOID(database_.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(store::Statement select, tx.prepare(kSelect));
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      GENESIS_TRY(ApiKey key, read_key(select));
      keys.push_back(std::move(key));
    }
  }));
  return keys;
}

Result<void> KeyStore::refresh() const {
  const SteadyTime now = clock_.steady();
  std::shared_ptr<const Snapshot> known;
  {
    const std::lock_guard lock(mutex_);
    known = snapshot_;
  }
  auto fresh = std::make_shared<Snapshot>();
  GENESIS_TRY_VOID(database_.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(const auto version, read_state(tx, "keys_version"));
    fresh->version = version.value_or(0);
    if (fresh->version == known->version) {
      return {};
    }
    GENESIS_TRY(store::Statement select, tx.prepare(kSelect));
    while (true) {
      GENESIS_TRY(const bool row, select.step());
      if (!row) {
        return {};
      }
      GENESIS_TRY(ApiKey key, read_key(select));
      Record record{.key = std::make_shared<const ApiKey>(std::move(key))};
      const auto mac = select.blob(7);
      if (mac.size() == record.mac.size()) {
        std::copy(mac.begin(), mac.end(), record.mac.begin());
        fresh->keys.emplace(record.key->id, std::move(record));
      }
    }
  }));
  const std::lock_guard lock(mutex_);
  refreshed_ = std::max(refreshed_, now);
  if (fresh->version > snapshot_->version) {
    snapshot_ = std::move(fresh);
  }
  return {};
}

// The store's own thread: only it waits for a database that is slow, or hangs.
void KeyStore::keep_fresh() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    wake_.wait_for(lock, kRefresh, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) {
      break;
    }
    // Whoever comes from here on may be about a key that this refresh misses.
    const auto waiters = std::exchange(waiting_, {});
    lock.unlock();
    const Result<void> outcome = refresh();
    note(outcome);
    for (const auto& waiter : waiters) {
      Waiter::tell(waiter, outcome);
    }
    lock.lock();
    if (!waiters.empty()) {
      wake_.wait_for(lock, kEarlyPause, [this] { return stop_; });
    }
  }
  for (const auto& waiter : std::exchange(waiting_, {})) {
    Waiter::tell(waiter, cannot_check());
  }
}

// An outage is told once, and its end.
void KeyStore::note(const Result<void>& refreshed) {
  const bool was_away = std::exchange(away_, !refreshed);
  if (!refreshed && !was_away) {
    log(LogLevel::kError,
        "API keys could not be refreshed",
        {{"error", refreshed.error().message},
         {"trusted_s", std::chrono::duration_cast<std::chrono::seconds>(trusted_.load()).count()}});
  }
  if (refreshed && was_away) {
    log(LogLevel::kInfo, "API keys are refreshed again", {});
  }
}

bool KeyStore::knows(std::string_view token) const {
  const auto parts = split(token);
  const std::lock_guard lock(mutex_);
  return !parts || snapshot_->keys.contains(std::string(parts->id));
}

Task<Result<void>> KeyStore::learn() const {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, kPatience);
  const auto waiter = std::make_shared<Waiter>();
  waiter->timer = &timer;
  // Also when the coroutine is destroyed while it waits.
  const std::shared_ptr<void> leave(nullptr, [&waiter](void*) { waiter->leave(); });
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= kMaxWaiting) {
      co_return fail(ErrorCode::kOverloaded, "too many unknown API keys at once", "try again");
    }
    waiting_.push_back(waiter);
  }
  wake_.notify_all();
  co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  if (waiter->outcome && *waiter->outcome) {
    co_return Result<void>{};
  }
  co_return cannot_check();
}

Result<std::shared_ptr<const KeyStore::Snapshot>> KeyStore::current() const {
  const std::lock_guard lock(mutex_);
  if (clock_.steady() - refreshed_ >= trusted_.load()) {
    return cannot_check();
  }
  return snapshot_;
}

Result<std::shared_ptr<const ApiKey>> KeyStore::authenticate(std::string_view token) const {
  const auto parts = split(token);
  if (!parts) {
    return refused();
  }
  GENESIS_TRY(const auto snapshot, current());
  const auto found = snapshot->keys.find(std::string(parts->id));
  // An unknown id costs the same work as a wrong secret.
  const Digest expected = found != snapshot->keys.end() ? found->second.mac : Digest{};
  const Digest given = mac_of(parts->id, parts->secret);
  const bool same = equal_constant_time(as_text(expected), as_text(given));
  if (!same || found == snapshot->keys.end() || found->second.key->revoked_ms != 0) {
    return refused();
  }
  const std::int64_t expires = found->second.key->expires_ms;
  if (expires != 0 && clock_.unix_ms() >= expires) {
    return fail(ErrorCode::kUnauthenticated,
                fmt::format("the API key expired at {}", format_rfc3339(expires)),
                "make a new one with `genesis key create`");
  }
  return found->second.key;
}

}  // namespace genesis::ledger
