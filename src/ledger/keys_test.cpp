// Keys: form, checking, revocation seen by others, and nothing usable in the database.
#include "ledger/keys.h"

#include "base/file.h"
#include "ledger/test_ledger.h"
#include "store/test_store.h"

#include <gtest/gtest.h>

namespace genesis::ledger {

namespace {

const std::string kPepper(32, 'p');

struct Keys {
  explicit Keys(store::DatabaseOptions options, store::OpenMode mode = store::OpenMode::kOwner) {
    options = ledger_options(std::move(options));
    options.mode = mode;
    database = std::move(store::Database::open(options).value());
    store = std::move(KeyStore::open(*database, clock, kPepper).value());
  }

  ManualClock clock{kNoon};
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
  // Made less than kTrusted ago as the steady clock sees it, expired as the calendar does.
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
  EXPECT_TRUE(gateway.store->authenticate(made.token));
}

TEST_P(KeysTest, RevocationByAnotherProcessIsSeenWithinASecond) {
  Keys gateway(store.options());
  Keys command(store.options(), store::OpenMode::kGuest);
  const CreatedKey made = command.store->create({.name = "a", .tenant = "t"}).value();
  EXPECT_TRUE(gateway.store->authenticate(made.token));
  ASSERT_TRUE(command.store->revoke(made.key.id));
  ASSERT_TRUE(command.store->revoke(made.key.id));
  gateway.clock.advance(std::chrono::milliseconds(999));
  EXPECT_FALSE(gateway.store->authenticate(made.token));
  EXPECT_FALSE(command.store->authenticate(made.token)) << "at once where it was revoked";
  EXPECT_EQ(command.store->revoke("0000").error().code, ErrorCode::kNotFound);
  EXPECT_NE(gateway.store->list().value()[0].revoked_ms, 0);
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
INSTANTIATE_TEST_SUITE_P(OnPostgres, KeysTest, testing::Values(store::Engine::kPostgres));

}  // namespace

}  // namespace genesis::ledger
