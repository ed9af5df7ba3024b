// Signed reports: what is signed cannot be changed, and what is told can be computed again.
#include "ledger/evidence.h"

#include "base/json.h"
#include "ledger/test_ledger.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

namespace genesis::ledger {

namespace {

class EvidenceTest : public ::testing::Test {
 protected:
  EvidenceTest() : ledger_(folder_ / "l.db"), key_(*SigningKey::open(folder_ / "key.pem")) {}

  void answer(const std::string& request, std::int64_t tokens) {
    Reservation r = reservation(request, 1, "smollm2");
    r.endpoint = "local";
    r.tier = Tier::kSelfHosted;
    r.tenant = "caf\u00e9 \"quoted\"";
    ASSERT_TRUE(ledger_.reserve(r));
    ASSERT_TRUE(ledger_.post(r.id, delivered({.input = tokens, .output = 10})));
  }

  std::string evidence() {
    const auto savings = compute_savings(
        *ledger_.database, {.until_ms = kNoon + 1, .by = GroupBy::kTenant, .tokens = {900, 1100}});
    EXPECT_TRUE(savings);
    const auto file =
        make_evidence(*savings, key_, {.tool = "genesis test", .made_ms = kNoon + 5000});
    EXPECT_TRUE(file);
    return file.value_or("");
  }

  const TestFolder folder_;
  TestLedger ledger_;
  SigningKey key_;
};

TEST_F(EvidenceTest, IsReadBackAndComputedAgainAlsoAfterMoreTraffic) {
  answer("a", 1000);
  answer("b", 2000);
  const std::string file = evidence();
  const auto read = read_evidence(file);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->signer, key_.public_key());
  EXPECT_EQ(read->tool, "genesis test");
  EXPECT_EQ(read->made, "2025-11-04T12:00:05.000Z");
  EXPECT_EQ(read->query.by, GroupBy::kTenant);
  answer("c", 4000);
  const auto again = recompute_evidence(*read, *ledger_.database);
  EXPECT_TRUE(again) << again.error().message;
}

TEST_F(EvidenceTest, AnyChangedDigitIsFound) {
  answer("a", 1000);
  const std::string file = evidence();
  const std::size_t end = file.find("\"signature\"");
  int tried = 0;
  for (std::size_t i = 0; i < end; ++i) {
    if (file[i] >= '0' && file[i] <= '8') {
      std::string forged = file;
      ++forged[i];
      const auto read = read_evidence(forged);
      EXPECT_FALSE(read) << "byte " << i;
      ++tried;
    }
  }
  EXPECT_GT(tried, 300);
}

// Signed by the owner of the key, and still wrong: the ledger says so.
TEST_F(EvidenceTest, AReportThatTheLedgerDoesNotBearOutIsNamed) {
  answer("a", 1000);
  auto savings = compute_savings(*ledger_.database, {.until_ms = kNoon + 1});
  ASSERT_TRUE(savings);
  savings->baseline += 1'000'000'000;
  const auto file = make_evidence(*savings, key_, {.tool = "genesis test", .made_ms = kNoon});
  ASSERT_TRUE(file);
  const auto read = read_evidence(*file);
  ASSERT_TRUE(read);
  const auto again = recompute_evidence(*read, *ledger_.database);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kDataLoss);
  EXPECT_EQ(again.error().param, "baseline_nano_usd");
}

TEST_F(EvidenceTest, OtherFilesAreRefused) {
  answer("a", 1000);
  for (const char* text : {"",
                           "[]",
                           "{}",
                           "{\"payload\":1,\"signature\":{}}",
                           "{\"payload\":{},\"signature\":{\"public_key\":\"ed25519:AAAA\"}}",
                           "{\"payload\":{\"x\":1.5},\"signature\":{}}"}) {
    const auto read = read_evidence(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument) << text;
  }
}

TEST(CanonicalJson, SortsMembersAndKeepsNothingElse) {
  const auto value = parse_json(R"( {"b": [1, -2, {"z":null,"a":true}], "a" : "\u00e9\n/"} )");
  ASSERT_TRUE(value);
  EXPECT_EQ(canonical_json(*value).value(),
            "{\"a\":\"\u00e9\\n/\",\"b\":[1,-2,{\"a\":true,\"z\":null}]}");
  EXPECT_FALSE(canonical_json(parse_json("[0.5]").value()));
}

}  // namespace

}  // namespace genesis::ledger
