// Keys: form, checking, revocation seen by others, and nothing usable in the database.
#include "ledger/keys.h"

#include "base/file.h"
#include "ledger/test_ledger.h"
#include "store/test_store.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <thread>

namespace genesis::ledger {

namespace {

const std::string kPepper(32, 'p');

// Turned by hand while the store's thread reads it.
class SharedClock final : public Clock {
 public:
  SteadyTime steady() const override {
    return SteadyTime(std::chrono::hours(1)) + std::chrono::milliseconds(ms_.load());
  }

  std::int64_t unix_ms() const override { return kNoon + ms_.load(); }

  void advance(std::chrono::milliseconds by) { ms_ += by.count(); }

 private:
  std::atomic<std::int64_t> ms_{0};
};

// True once `what` is, within a time that only a broken program needs.
bool soon(const std::function<bool()>& what) {
  for (int i = 0; i < 1'000; ++i) {
    if (what()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

struct Keys {
  explicit Keys(store::DatabaseOptions options, store::OpenMode mode = store::OpenMode::kOwner) {
    options = ledger_options(std::move(options));
    options.mode = mode;
    database = std::move(store::Database::open(options).value());
    store = std::move(KeyStore::open(*database, clock, kPepper).value());
  }

  Result<std::shared_ptr<const ApiKey>> ask(const std::string& token) const {
    if (!store->knows(token)) {
      GENESIS_TRY_VOID(run_task(store->learn()));
    }
    return store->authenticate(token);
  }

  SharedClock clock;
  std::unique_ptr<store::Database> database;
  std::unique_ptr<KeyStore> store;
};

class KeysTest : public store::EngineTest {};

TEST_P(KeysTest, HaveATeamLimitsBudgetsAndAnEnd) {
  Keys keys(store.options());
  const Budget budget = parse_budget_amount("5.00/day").value();
  const CreatedKey made = keys.store
                              ->create({.name = "ci",
                                        .tenant = "acme",
                                        .team = "qa",
                                        .models = {},
                                        .limits = {.requests_per_minute = 60, .parallel = 8},
                                        .lifetime = std::chrono::hours(24),
                                        .budgets = {budget}})
                              .value();
  const auto who = keys.store->authenticate(made.token);
  ASSERT_TRUE(who);
  EXPECT_EQ((*who)->team, "qa");
  EXPECT_EQ((*who)->limits.requests_per_minute, 60);
  EXPECT_EQ((*who)->limits.tokens_per_minute, 0);
  EXPECT_EQ((*who)->limits.parallel, 8);
  ASSERT_TRUE(keys.database->read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY(const std::vector<Budget> budgets, read_budgets(tx));
    EXPECT_EQ(budgets.size(), 1U);
    EXPECT_EQ(budgets.at(0).id(), "key:" + made.key.id + "/day");
    return {};
  }));
  keys.store->set_trusted(std::chrono::hours(48));
  keys.clock.advance(std::chrono::hours(24));
  const auto late = keys.store->authenticate(made.token);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kUnauthenticated);
  EXPECT_NE(late.error().message.find("expired"), std::string::npos);
  EXPECT_EQ(keys.store
                ->create({.name = "x",
                          .tenant = "acme",
                          .models = {},
                          .limits = {.requests_per_minute = -1},
                          .budgets = {}})
                .error()
                .param,
            "rpm");
}

TEST_P(KeysTest, MakesAndChecksKeys) {
  Keys keys(store.options());
  const CreatedKey made =
      keys.store
          ->create({.name = "ci", .tenant = "acme", .admin = true, .models = {"auto", "gpt-4o"}})
          .value();
  EXPECT_TRUE(well_formed_key(made.token));
  EXPECT_EQ(made.token.substr(0, 3), "gk-");
  EXPECT_EQ(made.token.substr(3, 16), made.key.id);
  const auto who = keys.store->authenticate(made.token);
  ASSERT_TRUE(who) << who.error().message;
  EXPECT_EQ((*who)->tenant, "acme");
  EXPECT_TRUE((*who)->admin);
  EXPECT_EQ((*who)->models, (std::vector<std::string>{"auto", "gpt-4o"}));
  const auto listed = keys.store->list().value();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].name, "ci");
}

TEST_P(KeysTest, RefusesEverythingElse) {
  Keys keys(store.options());
  const std::string token = keys.store->create({.name = "a", .tenant = "t"}).value().token;
  const std::string other = keys.store->create({.name = "b", .tenant = "t"}).value().token;
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string wrong = token;
    wrong[i] = wrong[i] == '0' ? '1' : '0';
    EXPECT_FALSE(well_formed_key(wrong)) << "a typo is found without the database";
    const auto refused = keys.store->authenticate(wrong);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnauthenticated);
    EXPECT_EQ(refused.error().message.find(wrong), std::string::npos) << "no token in an error";
  }
  // The id of one with the secret of the other, and an unknown id, both with right checksums.
  for (const std::string& id : {other.substr(3, 16), std::string(16, 'a')}) {
    std::string mixed = "gk-" + id + token.substr(19, 65);
    mixed += "-" + to_hex(sha256(mixed)).substr(0, 8);
    EXPECT_TRUE(well_formed_key(mixed));
    EXPECT_FALSE(keys.store->authenticate(mixed));
  }
  EXPECT_FALSE(keys.store->authenticate(""));
  EXPECT_FALSE(keys.store->authenticate(std::string(1 << 20, 'g')));
  EXPECT_EQ(keys.store->create({.name = "", .tenant = "t"}).error().param, "name");
  EXPECT_EQ(keys.store->create({.name = "n", .tenant = ""}).error().param, "tenant");
}

TEST_P(KeysTest, AKeyMadeByAnotherProcessIsValidAtOnce) {
  Keys gateway(store.options());
  Keys command(store.options(), store::OpenMode::kGuest);
  const CreatedKey made = command.store->create({.name = "a", .tenant = "t"}).value();
  EXPECT_FALSE(gateway.store->knows(made.token));
  EXPECT_FALSE(gateway.store->authenticate(made.token)) << "not without a look at the database";
  EXPECT_TRUE(gateway.ask(made.token));
}

TEST_P(KeysTest, RevocationByAnotherProcessIsSeenWithinASecond) {
  Keys gateway(store.options());
  Keys command(store.options(), store::OpenMode::kGuest);
  const CreatedKey made = command.store->create({.name = "a", .tenant = "t"}).value();
  EXPECT_TRUE(gateway.ask(made.token));
  ASSERT_TRUE(command.store->revoke(made.key.id));
  ASSERT_TRUE(command.store->revoke(made.key.id));
  const auto revoked = std::chrono::steady_clock::now();
  EXPECT_TRUE(soon([&] { return !gateway.store->authenticate(made.token); }));
  // Two periods of a refresh, and the slowness of a machine with other work.
  EXPECT_LT(std::chrono::steady_clock::now() - revoked, 4 * KeyStore::kRefresh);
  EXPECT_TRUE(gateway.store->knows(made.token)) << "a revoked key needs no look at the database";
  EXPECT_FALSE(command.store->authenticate(made.token)) << "at once where it was revoked";
  EXPECT_EQ(command.store->revoke("0000").error().code, ErrorCode::kNotFound);
  EXPECT_NE(gateway.store->list().value()[0].revoked_ms, 0);
}

// Holds back everybody who reads keys, as a server that hangs does.
class Stall {
 public:
  explicit Stall(store::Database& database) {
    database.submit(
        [this](store::Transaction& tx) -> Result<void> {
          GENESIS_TRY(store::Statement lock,
                      tx.prepare("LOCK TABLE ledger_state IN ACCESS EXCLUSIVE MODE"));
          GENESIS_TRY_VOID(lock.run());
          held_.count_down();
          end_.wait();
          return {};
        },
        [this](const Result<void>& outcome) {
          EXPECT_TRUE(outcome) << outcome.error().message;
          over_.count_down();
        });
    held_.wait();
  }

  ~Stall() { stop(); }

  void stop() {
    if (!end_.try_wait()) {
      end_.count_down();
      over_.wait();
    }
  }

 private:
  std::latch held_{1};
  std::latch end_{1};
  std::latch over_{1};
};

class StalledKeysTest : public KeysTest {};

TEST_P(StalledKeysTest, KnownKeysWorkWithoutAWaitAsLongAsTheSnapshotIsTrusted) {
  Keys gateway(store.options());
  Keys command(store.options("second"));
  const std::string known = gateway.store->create({.name = "a", .tenant = "t"}).value().token;
  const std::string fresh = command.store->create({.name = "b", .tenant = "t"}).value().token;
  gateway.store->set_trusted(std::chrono::seconds(100));
  // Nothing that read before the stall may count as a read within it.
  Stall stall(*command.database);
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(2 * KeyStore::kRefresh);
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(gateway.store->authenticate(known));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2 * KeyStore::kRefresh + KeyStore::kPatience);
  gateway.clock.advance(std::chrono::seconds(99));
  EXPECT_TRUE(gateway.store->authenticate(known));
  if (!gateway.store->knows(fresh)) {
    EXPECT_EQ(gateway.ask(fresh).error().code, ErrorCode::kUnavailable)
        << "nobody can say whether it is a key";
  }
  gateway.clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(gateway.store->authenticate(known).error().code, ErrorCode::kUnavailable);
  stall.stop();
  EXPECT_TRUE(soon([&] { return gateway.store->authenticate(known).has_value(); }));
  EXPECT_TRUE(gateway.ask(fresh));
}

TEST_P(StalledKeysTest, NoMoreThanAFixedNumberWaits) {
  Keys gateway(store.options());
  Keys command(store.options("second"));
  Stall stall(*command.database);
  boost::asio::io_context io;
  // One refresh may take as many along before it hangs, as many wait for the next.
  constexpr std::size_t kSurplus = 200;
  constexpr std::size_t kAll = 2 * KeyStore::kMaxWaiting + kSurplus;
  std::size_t refused = 0;
  std::size_t in_vain = 0;
  for (std::size_t i = 0; i < kAll; ++i) {
    boost::asio::co_spawn(
        io,
        [&]() -> Task<void> {
          const auto outcome = co_await gateway.store->learn();
          const bool full = !outcome && outcome.error().code == ErrorCode::kOverloaded;
          refused += full ? 1 : 0;
          in_vain += !outcome && !full ? 1 : 0;
        },
        boost::asio::detached);
  }
  io.run();
  EXPECT_GE(refused, kSurplus);
  EXPECT_GE(in_vain, KeyStore::kMaxWaiting);
  EXPECT_EQ(refused + in_vain, kAll);
  stall.stop();
  EXPECT_TRUE(soon([&] { return run_task(gateway.store->learn()).has_value(); }))
      << "those who left make room";
}

TEST_P(KeysTest, ManyWhoAskAtOnceShareARefresh) {
  Keys gateway(store.options());
  boost::asio::io_context io;
  int learned = 0;
  for (int i = 0; i < 500; ++i) {
    boost::asio::co_spawn(
        io,
        [&]() -> Task<void> { learned += co_await gateway.store->learn() ? 1 : 0; },
        boost::asio::detached);
  }
  const auto begin = std::chrono::steady_clock::now();
  io.run();
  EXPECT_EQ(learned, 500);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, KeyStore::kPatience);
}

TEST_P(KeysTest, TheDatabaseHoldsNothingUsable) {
  std::string token;
  {
    Keys keys(store.options());
    token = keys.store->create({.name = "a", .tenant = "t"}).value().token;
  }
  if (store.is_sqlite()) {
    const std::string file = read_file(store.path(), 1 << 24).value();
    EXPECT_EQ(file.find(token.substr(20, 16)), std::string::npos);
  }
  Keys again(store.options());
  EXPECT_TRUE(again.store->authenticate(token));
  auto foreign = KeyStore::open(*again.database, again.clock, std::string(32, 'q'));
  ASSERT_TRUE(foreign);
  EXPECT_FALSE((*foreign)->authenticate(token)) << "another pepper, other keys";
  EXPECT_EQ(KeyStore::open(*again.database, again.clock, "short").error().code, ErrorCode::kConfig);
}

INSTANTIATE_TEST_SUITE_P(OnSqlite, KeysTest, testing::Values(store::Engine::kSqlite));
INSTANTIATE_TEST_SUITE_P(OnPostgres, StalledKeysTest, testing::Values(store::Engine::kPostgres));
INSTANTIATE_TEST_SUITE_P(OnPostgres, KeysTest, testing::Values(store::Engine::kPostgres));

}  // namespace

}  // namespace genesis::ledger
