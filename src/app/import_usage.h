// A provider's usage export (CSV of OpenAI or Anthropic) valued at list prices, and what the same
// tokens would have cost on the configured endpoints: "you would have saved". A projection, with
// its assumptions printed; nothing of it enters the ledger.
#pragma once

#include "api/ledger.h"
#include "base/result.h"
#include "ledger/price_table.h"
#include "ledger/token_ratio.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

inline constexpr std::size_t kMaxUsageBytes = 256 * 1024 * 1024;

// One model's share of the export.
struct UsageLine {
  std::string model;      // as the provider calls it
  std::string valued_as;  // the price table's name; empty = unknown, so not in any sum
  std::int64_t requests = 0;
  Usage usage;
  std::int64_t cache_write_1h = 0;  // part of usage.cache_write
  NanoUsd cost = 0;                 // at list price
};

struct UsageExport {
  std::string provider;  // "openai" or "anthropic"
  std::int64_t rows = 0;
  std::int64_t first_ms = 0;  // the days it covers
  std::int64_t last_ms = 0;
  std::vector<UsageLine> lines;  // dearest first, unknown ones last
};

struct UsageReading {
  const ledger::PriceTable* prices = nullptr;
  std::map<std::string, std::string, std::less<>> price_as;  // --price-model NAME=KNOWN
  std::int64_t now_ms = 0;                                   // prices of undated rows
};

// kInvalidArgument naming line and column for what is no such export.
Result<UsageExport> read_usage_export(std::string_view csv, const UsageReading& reading);

// What could serve instead, with its price per token.
struct ServingPrice {
  std::string name;
  ledger::TokenPrice price;
};

struct ProjectionOptions {
  std::vector<ServingPrice> cheap;        // for routing, classification, validation
  std::vector<ServingPrice> general;      // for the rest
  NanoUsd machines_per_hour = 0;          // paid all day, every day of the export
  std::int64_t cheap_permille = 500;      // of the traffic that is cheap tasks (mission: half)
  std::int64_t commercial_permille = 10;  // that stays where it is (mission: under 1 %)
  ledger::TokenRatio tokens;              // the serving model's tokens for one of the provider's
  bool assumed_prices = false;            // no endpoint of the configuration had one
};

struct Projection {
  std::string name;
  NanoUsd cost = 0;  // at the dearest of the endpoints
  NanoUsd cost_low = 0;
  NanoUsd cost_high = 0;
};

struct UsageReport {
  UsageExport usage;
  NanoUsd paid = 0;  // of known models
  std::vector<Projection> projections;
  std::vector<std::string> method;
};

Result<UsageReport> project_usage(UsageExport usage, const ProjectionOptions& options);

std::string usage_report_json(const UsageReport& report);
std::string usage_report_text(const UsageReport& report);

}  // namespace genesis::app
