// PriceTable: what a model's tokens and an endpoint's hours cost, and since when. Prices are
// integers of nano-USD per million tokens or per hour; an unknown price is never taken for zero.
//
// File format: a JSON array of three kinds of entries. Amounts are decimal strings in USD.
//   {"model": "gpt-4o", "valid_from": "2025-11-04", "valid_to": "2026-01-01", "input": "2.50",
//    "cached_input": "1.25", "cache_write": "2.50", "output": "10.00", "reasoning": "10.00",
//    "per": "1M tokens", "source": "..."}
//   {"model": "gpt-4o-2024-08-06", "alias_of": "gpt-4o"}
//   {"machine": "managed-t4", "per_hour": "0.60", "source": "..."}
// cached_input and cache_write default to input, reasoning to output, valid_to to never.
#pragma once

#include "api/chat.h"
#include "api/ledger.h"
#include "base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::ledger {

// The unit every token price is given in.
inline constexpr std::int64_t kTokensPerPrice = 1'000'000;

struct TokenPrice {
  std::string model;  // or "endpoint:<name>" for a price that the configuration gave
  std::int64_t valid_from_ms = 0;
  std::int64_t valid_to_ms = INT64_MAX;  // not included
  NanoUsd input = 0;                     // per million tokens, as all of these
  NanoUsd cached_input = 0;
  NanoUsd cache_write = 0;
  NanoUsd output = 0;
  NanoUsd reasoning = 0;
  std::string source;
  std::string id;  // compute_id(), filled in by PriceTable

  // "<model>@<16 hex digits of the SHA-256 of all fields>": stamped on each row it priced.
  std::string compute_id() const;
};

// Each kind of token is a line of its own, rounded up by itself. Refuses impossible usage: negative
// counts, parts larger than their whole, more than 1e12 tokens.
Result<NanoUsd> token_cost(const TokenPrice& price, const Usage& usage);
Result<void> validate_usage(const Usage& usage);

// A value; share it as shared_ptr<const PriceTable> once filled.
class PriceTable {
 public:
  // The snapshot of 2025-11-04 that is compiled in.
  static const PriceTable& defaults();
  static Result<PriceTable> parse(std::string_view json);

  // Entries added later win where validity overlaps.
  void add(TokenPrice price);
  void add_alias(std::string name, std::string model);
  void add_machine(std::string name, NanoUsd per_hour);
  void add_all(const PriceTable& other);

  // A price of this endpoint's own, whatever it serves; wins over the model's list price.
  void set_endpoint_tokens(const std::string& endpoint, TokenPrice price);
  // Serving costs hours and nothing per token: token rows of this endpoint are zero by decision.
  void set_endpoint_hourly(const std::string& endpoint, NanoUsd per_hour);

  // nullptr: unknown at that time.
  const TokenPrice* find(std::string_view model, std::int64_t unix_ms) const;
  const TokenPrice* find_for(std::string_view endpoint,
                             std::string_view model,
                             std::int64_t unix_ms) const;
  // nullopt: not known; zero only when somebody wrote zero.
  std::optional<NanoUsd> endpoint_per_hour(std::string_view endpoint) const;
  std::optional<NanoUsd> machine_per_hour(std::string_view name) const;

 private:
  std::map<std::string, std::vector<TokenPrice>, std::less<>> prices_;
  std::map<std::string, std::string, std::less<>> aliases_;
  std::map<std::string, NanoUsd, std::less<>> machines_;
  std::map<std::string, TokenPrice, std::less<>> endpoint_tokens_;
  std::map<std::string, NanoUsd, std::less<>> endpoint_hours_;
};

}  // namespace genesis::ledger
