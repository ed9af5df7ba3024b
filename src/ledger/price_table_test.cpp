// Money arithmetic and the price table, against hand-made figures.
#include "ledger/price_table.h"

#include "ledger/money.h"
#include "ledger/test_ledger.h"

#include <gtest/gtest.h>

namespace genesis::ledger {

namespace {

TEST(Money, ParsesDecimalsExactly) {
  EXPECT_EQ(parse_usd("2.50").value(), 2'500'000'000);
  EXPECT_EQ(parse_usd("0.000000001").value(), 1);
  EXPECT_EQ(parse_usd("0.1").value(), 100'000'000);
  EXPECT_EQ(parse_usd("15").value(), 15'000'000'000);
  EXPECT_EQ(parse_usd("9223372036.854775807").value(), INT64_MAX);
  for (const char* bad : {"",
                          ".",
                          "1.",
                          ".5",
                          "-1",
                          "+1",
                          "1e3",
                          "0.0000000001",
                          "1,5",
                          " 1",
                          "nan",
                          "1.2.3",
                          "9223372036.854775808",
                          "99999999999"}) {
    EXPECT_FALSE(parse_usd(bad)) << bad;
  }
}

TEST(Money, RoundsEachLineUp) {
  EXPECT_EQ(line_cost(1, 1, 1'000'000).value(), 1);
  EXPECT_EQ(line_cost(0, 1, 1'000'000).value(), 0);
  EXPECT_EQ(line_cost(1'000'000, 1, 1'000'000).value(), 1);
  EXPECT_EQ(line_cost(1'000'001, 1, 1'000'000).value(), 2);
  // The product needs more than 64 bits, the quotient does not.
  EXPECT_EQ(line_cost(1'000'000'000'000, 9'000'000'000, 1'000'000).value(), 9'000'000'000'000'000);
  EXPECT_FALSE(line_cost(INT64_MAX, INT64_MAX, 1));
  EXPECT_FALSE(line_cost(-1, 1, 1));
  EXPECT_FALSE(add_money(INT64_MAX, 1));
}

TEST(Money, Dates) {
  EXPECT_EQ(parse_date("1970-01-01").value(), 0);
  EXPECT_EQ(parse_date("2025-11-04").value() + 12 * 3'600'000, kNoon);
  for (const char* bad :
       {"2025-02-30", "2025-13-01", "25-1-1", "2025/11/04", "2025-11-04T00:00", ""}) {
    EXPECT_FALSE(parse_date(bad)) << bad;
  }
}

TEST(Money, Permille) {
  EXPECT_EQ(permille(971, 1000), 971);
  EXPECT_EQ(permille(-1, 2), -500);
  EXPECT_EQ(permille(5, 0), 0);
  EXPECT_EQ(permille(INT64_MAX, INT64_MAX), 1000);
}

TEST(PriceTable, ShipsTheListPricesOf2025) {
  const PriceTable& table = PriceTable::defaults();
  const TokenPrice* gpt4o = table.find("gpt-4o", kNoon);
  ASSERT_NE(gpt4o, nullptr);
  EXPECT_EQ(gpt4o->input, 2'500'000'000);
  EXPECT_EQ(gpt4o->cached_input, 1'250'000'000);
  EXPECT_EQ(gpt4o->output, 10'000'000'000);
  EXPECT_EQ(gpt4o->reasoning, gpt4o->output) << "reasoning defaults to output";
  EXPECT_EQ(gpt4o->cache_write, gpt4o->input) << "cache_write defaults to input";
  EXPECT_EQ(table.find("gpt-4o-2024-08-06", kNoon), gpt4o);
  EXPECT_EQ(table.find("claude-sonnet-4.5", kNoon)->cache_write, 3'750'000'000);
  EXPECT_EQ(table.find("text-embedding-3-large", kNoon)->input, 130'000'000);
  for (const char* model : {"gpt-4o-mini",
                            "gpt-4.1",
                            "gpt-4.1-mini",
                            "gpt-4.1-nano",
                            "o3",
                            "o4-mini",
                            "gpt-5",
                            "gpt-5-mini",
                            "claude-haiku-4.5",
                            "claude-opus-4.1",
                            "gemini-2.5-pro",
                            "gemini-2.5-flash",
                            "text-embedding-3-small"}) {
    EXPECT_NE(table.find(model, kNoon), nullptr) << model;
  }
  EXPECT_EQ(table.machine_per_hour("managed-cpu"), 60'000'000);
  EXPECT_EQ(table.machine_per_hour("managed-t4"), 600'000'000);
  EXPECT_EQ(table.machine_per_hour("managed-a10g"), 1'300'000'000);
  EXPECT_FALSE(table.machine_per_hour("managed-h100"));
}

TEST(PriceTable, NeverGuesses) {
  const PriceTable& table = PriceTable::defaults();
  EXPECT_EQ(table.find("gpt-4o-2024-01-01", kNoon), nullptr) << "another date, another price";
  EXPECT_EQ(table.find("gpt-4o-something", kNoon), nullptr);
  EXPECT_EQ(table.find("gpt-4o", parse_date("2025-11-03").value()), nullptr)
      << "before it was valid";
}

TEST(PriceTable, CostsTypedUsage) {
  const TokenPrice* price = PriceTable::defaults().find("claude-sonnet-4.5", kNoon);
  // 500 uncached x 3 + 400 cached x 0.30 + 100 written x 3.75 + 200 out x 15, all per million.
  const Usage usage{
      .input = 1000, .cached_input = 400, .cache_write = 100, .output = 200, .reasoning = 50};
  EXPECT_EQ(token_cost(*price, usage).value(), 1'500'000 + 120'000 + 375'000 + 3'000'000);
  EXPECT_EQ(token_cost(*price, {}).value(), 0);
  EXPECT_FALSE(token_cost(*price, {.input = -1}));
  EXPECT_FALSE(token_cost(*price, {.input = 1, .cached_input = 2}));
  EXPECT_FALSE(token_cost(*price, {.output = 1, .reasoning = 2}));
  EXPECT_FALSE(token_cost(*price, {.input = INT64_MAX}));
}

TEST(PriceTable, LaterEntriesWinWhereTheyAreValid) {
  auto table = PriceTable::parse(R"([
    {"model":"m","valid_from":"2025-01-01","input":"1","output":"2","per":"1M tokens"},
    {"model":"m","valid_from":"2025-06-01","valid_to":"2025-07-01",
     "input":"3","output":"4","per":"1M tokens"},
    {"model":"m-2025","alias_of":"m"}])");
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table->find("m", parse_date("2025-05-31").value())->input, 1'000'000'000);
  EXPECT_EQ(table->find("m-2025", parse_date("2025-06-01").value())->input, 3'000'000'000);
  EXPECT_EQ(table->find("m", parse_date("2025-07-01").value())->input, 1'000'000'000);
  EXPECT_NE(table->find("m", parse_date("2025-05-31").value())->id,
            table->find("m", parse_date("2025-06-01").value())->id);
}

TEST(PriceTable, EndpointsMayHaveTheirOwn) {
  PriceTable table = PriceTable::defaults();
  EXPECT_EQ(table.find_for("local", "smollm2", kNoon), nullptr) << "unknown is not free";
  EXPECT_FALSE(table.endpoint_per_hour("local"));
  table.set_endpoint_hourly("local", 50'000'000);
  EXPECT_EQ(table.find_for("local", "smollm2", kNoon)->output, 0);
  EXPECT_EQ(table.endpoint_per_hour("local"), 50'000'000);
  table.set_endpoint_tokens("openai", {.input = 7, .output = 9});
  EXPECT_EQ(table.find_for("openai", "gpt-4o", kNoon)->output, 9);
  EXPECT_EQ(table.find_for("azure", "gpt-4o", kNoon)->output, 10'000'000'000);
}

TEST(PriceTable, FileErrorsNameTheirField) {
  const std::pair<const char*, const char*> cases[] = {
      {"{}", "prices"},
      {"[1]", "prices[0]"},
      {R"([{"model":"m"}])", "prices[0].valid_from"},
      {R"([{"model":"m","valid_from":"soon","input":"1","output":"1","per":"1M tokens"}])",
       "prices[0].valid_from"},
      {R"([{"model":"m","valid_from":"2025-01-01","input":2.5,"output":"1","per":"1M tokens"}])",
       "prices[0].input"},
      {R"([{"model":"m","valid_from":"2025-01-01","input":"2,5","output":"1","per":"1M tokens"}])",
       "prices[0].input"},
      {R"([{"model":"m","valid_from":"2025-01-01","input":"1","output":"1","per":"1K tokens"}])",
       "prices[0].per"},
      {R"([{"model":"m","valid_from":"2025-01-01","input":"1","outptu":"1","per":"1M tokens"}])",
       "prices[0].outptu"},
      {R"([{"machine":"m"}])", "prices[0].per_hour"}};
  for (const auto& [json, field] : cases) {
    const auto table = PriceTable::parse(json);
    ASSERT_FALSE(table) << json;
    EXPECT_EQ(table.error().param, field) << table.error().message;
  }
  EXPECT_FALSE(PriceTable::parse("[{"));
}

}  // namespace

}  // namespace genesis::ledger
