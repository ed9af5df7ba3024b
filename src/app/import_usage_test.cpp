// Usage exports valued by hand, and projections from them.
#include "app/import_usage.h"

#include "app/csv_reader.h"
#include "base/json.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

namespace genesis::app {

namespace {

constexpr std::int64_t kNow = 1'764'000'000'000;  // 2025-11-24

UsageReading reading() {
  return {.prices = &ledger::PriceTable::defaults(), .price_as = {}, .now_ms = kNow};
}

constexpr std::string_view kOpenAi =
    "\xEF\xBB\xBFstart_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,"
    "model,batch,input_tokens,output_tokens,input_cached_tokens\r\n"
    "1762214400,1762300800,2025-11-04T00:00:00+00:00,2025-11-05T00:00:00+00:00,proj_a,3.0,"
    "gpt-4o-2024-08-06,false,1000000,100000,400000\r\n"
    "1762300800,1762387200,2025-11-05T00:00:00+00:00,2025-11-06T00:00:00+00:00,,,,,,,\r\n"
    "1762387200,1762473600,2025-11-06T00:00:00+00:00,2025-11-07T00:00:00+00:00,\"proj, b\",2,"
    "gpt-4o-mini,true,2000000,0,0\r\n"
    "1762387200,1762473600,2025-11-06T00:00:00+00:00,2025-11-07T00:00:00+00:00,p,1,"
    "ft:gpt-4o:acme,false,500,5,0\r\n";

TEST(ImportUsage, ValuesAnOpenAiExport) {
  const auto usage = read_usage_export(kOpenAi, reading());
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->provider, "openai");
  EXPECT_EQ(usage->rows, 4);
  ASSERT_EQ(usage->lines.size(), 3U);
  EXPECT_EQ(usage->lines[0].model, "gpt-4o-2024-08-06");
  EXPECT_EQ(usage->lines[0].valued_as, "gpt-4o");
  EXPECT_EQ(usage->lines[0].requests, 3);
  // 600,000 at 2.50, 400,000 cached at 1.25, 100,000 out at 10.00 a million.
  EXPECT_EQ(usage->lines[0].cost, 1'500'000'000LL + 500'000'000 + 1'000'000'000);
  EXPECT_EQ(usage->lines[1].cost, 150'000'000) << "a batch at half of 0.15 a million";
  EXPECT_EQ(usage->lines[2].valued_as, "") << "unknown, never zero";
}

TEST(ImportUsage, ValuesAnAnthropicExportWithItsCacheClasses) {
  const auto usage = read_usage_export(
      "usage_output_tokens,model_version,usage_date_utc,usage_type,usage_input_tokens_no_cache,"
      "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,"
      "usage_input_tokens_cache_read,web_search_count\n"
      "100000,claude-sonnet-4-5-20250929,2025-10-01,standard,1000000,200000,100000,3000000,0\n",
      reading());
  ASSERT_TRUE(usage) << usage.error().message;
  EXPECT_EQ(usage->provider, "anthropic");
  ASSERT_EQ(usage->lines.size(), 1U);
  EXPECT_EQ(usage->lines[0].usage.input, 4'300'000);
  // 3.00 + 0.2 x 3.75 + 0.1 x 6.00 + 3 x 0.30 + 0.1 x 15.00
  EXPECT_EQ(usage->lines[0].cost,
            3'000'000'000LL + 750'000'000 + 600'000'000 + 900'000'000 + 1'500'000'000);
}

TEST(ImportUsage, AnUnknownModelCanBeValuedAsAKnownOne) {
  UsageReading with = reading();
  with.price_as["ft:gpt-4o:acme"] = "gpt-4o";
  const auto usage = read_usage_export(kOpenAi, with);
  ASSERT_TRUE(usage);
  EXPECT_EQ(usage->lines[2].valued_as, "gpt-4o");
  EXPECT_EQ(usage->lines[2].cost, 500 * 2'500 + 5 * 10'000);
}

TEST(ImportUsage, NamesTheLineOfWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "line 1"},
      {"a,b\n1,2\n", "line 1"},
      {"model,input_tokens\ngpt-4o,1\ngpt-4o,-5\n", "line 3"},
      {"model,input_tokens\ngpt-4o,1e9\n", "line 2"},
      {"model,input_tokens,start_time\ngpt-4o,1,yesterday\n", "line 2"},
      {"model,input_tokens\n\"gpt-4o,1\n", "line 2"},
      {"model,input_tokens\n,5\n", "line 2"},
      {"model,input_tokens,input_cached_tokens\ngpt-4o,5,6\n", "line 2"},
      {"model,input_tokens\ngpt-4o,99999999999999999999\n", "line 2"}};
  for (const auto& [text, where] : cases) {
    const auto usage = read_usage_export(text, reading());
    ASSERT_FALSE(usage) << text;
    EXPECT_EQ(usage.error().param, where) << text << usage.error().message;
  }
}

ledger::TokenPrice price(NanoUsd input, NanoUsd output) {
  return {.input = input,
          .cached_input = input,
          .cache_write = input,
          .output = output,
          .reasoning = output};
}

TEST(ImportUsage, ProjectsWithAnInterval) {
  auto usage = read_usage_export(
      "model,input_tokens,output_tokens,date\ngpt-4o,1000000,100000,2025-11-04\n", reading());
  ASSERT_TRUE(usage);
  const ProjectionOptions options{
      .cheap = {{"small", price(50'000'000, 200'000'000)}},
      .general = {{"a", price(100'000'000, 400'000'000)}, {"b", price(200'000'000, 800'000'000)}},
      .machines_per_hour = 10'000'000,
      .tokens = {.low_permille = 900, .high_permille = 1100}};
  const auto report = project_usage(*usage, options);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->paid, 3'500'000'000);
  ASSERT_EQ(report->projections.size(), 2U);
  // Half stays, half at 0.05 + 0.02.
  EXPECT_EQ(report->projections[0].cost, 1'750'000'000LL + 35'000'000);
  EXPECT_EQ(report->projections[0].cost_low, 1'750'000'000LL + 31'500'000);
  // 1 % stays, 50 % at 0.07, 49 % at 0.28 (dearest), and a day of machines.
  EXPECT_EQ(report->projections[1].cost, 35'000'000 + 35'000'000 + 137'200'000 + 240'000'000);
  EXPECT_EQ(report->projections[1].cost_low, 35'000'000 + 31'500'000 + 61'740'000 + 240'000'000);
  const auto json = parse_json(usage_report_json(*report));
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->at("projections").at(0).at("saving_percent").as_string(), "49.0");
  EXPECT_NE(usage_report_text(*report).find("you would have saved"), std::string::npos);
}

TEST(CsvReader, ReadsQuotesSeparatorsAndLineEnds) {
  CsvReader reader("a;\"b\"\"c\";\"d\ne\"\r\n\r\nf;;g\n");
  std::vector<std::string> cells;
  ASSERT_TRUE(reader.next(cells).value());
  EXPECT_EQ(cells, (std::vector<std::string>{"a", "b\"c", "d\ne"}));
  ASSERT_TRUE(reader.next(cells).value());
  EXPECT_EQ(cells, (std::vector<std::string>{"f", "", "g"}));
  EXPECT_EQ(reader.line(), 4U);
  EXPECT_FALSE(reader.next(cells).value());
  EXPECT_FALSE(CsvReader("\"a\"b\n").next(cells));
  EXPECT_FALSE(CsvReader(std::string(100'000, 'x')).next(cells));
}

}  // namespace

}  // namespace genesis::app
