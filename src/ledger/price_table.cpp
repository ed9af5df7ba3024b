// Lookup, cost of usage, and the stamp of a price.
#include "ledger/price_table.h"

#include "base/check.h"
#include "base/sha256.h"
#include "ledger/default_prices.h"
#include "ledger/money.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::ledger {

namespace {

// More than any context times any batch; far enough from 64 bits for every sum in this room.
constexpr std::int64_t kMaxTokens = 1'000'000'000'000;

}  // namespace

std::string TokenPrice::compute_id() const {
  const std::string all = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}",
                                      model,
                                      valid_from_ms,
                                      valid_to_ms,
                                      input,
                                      cached_input,
                                      cache_write,
                                      output,
                                      reasoning,
                                      source);
  return fmt::format("{}@{}", model, to_hex(sha256(all)).substr(0, 16));
}

Result<void> validate_usage(const Usage& u) {
  for (const std::int64_t count : {u.input, u.cached_input, u.cache_write, u.output, u.reasoning}) {
    if (count < 0 || count > kMaxTokens) {
      return fail_param("usage", fmt::format("a token count of {} is impossible", count));
    }
  }
  if (u.cached_input + u.cache_write > u.input || u.reasoning > u.output) {
    return fail_param("usage", "a part of the token counts is larger than its whole");
  }
  return {};
}

Result<NanoUsd> token_cost(const TokenPrice& price, const Usage& usage) {
  GENESIS_TRY_VOID(validate_usage(usage));
  const std::pair<std::int64_t, NanoUsd> lines[] = {
      {usage.input - usage.cached_input - usage.cache_write, price.input},
      {usage.cached_input, price.cached_input},
      {usage.cache_write, price.cache_write},
      {usage.output - usage.reasoning, price.output},
      {usage.reasoning, price.reasoning},
  };
  NanoUsd total = 0;
  for (const auto& [tokens, per_million] : lines) {
    GENESIS_TRY(const NanoUsd cost, line_cost(tokens, per_million, kTokensPerPrice));
    GENESIS_TRY(total, add_money(total, cost));
  }
  return total;
}

const PriceTable& PriceTable::defaults() {
  static const PriceTable table = [] {
    auto parsed = parse(default_prices_json());
    GENESIS_CHECK(parsed.has_value());
    return std::move(*parsed);
  }();
  return table;
}

void PriceTable::add(TokenPrice price) {
  price.id = price.compute_id();
  prices_[price.model].push_back(std::move(price));
}

void PriceTable::add_alias(std::string name, std::string model) {
  aliases_[std::move(name)] = std::move(model);
}

void PriceTable::add_machine(std::string name, NanoUsd per_hour) {
  machines_[std::move(name)] = per_hour;
}

void PriceTable::add_all(const PriceTable& other) {
  for (const auto& [model, prices] : other.prices_) {
    auto& mine = prices_[model];
    mine.insert(mine.end(), prices.begin(), prices.end());
  }
  for (const auto& [name, model] : other.aliases_) {
    aliases_[name] = model;
  }
  for (const auto& [name, per_hour] : other.machines_) {
    machines_[name] = per_hour;
  }
  for (const auto& [name, price] : other.endpoint_tokens_) {
    endpoint_tokens_[name] = price;
  }
  for (const auto& [name, per_hour] : other.endpoint_hours_) {
    endpoint_hours_[name] = per_hour;
  }
}

void PriceTable::set_endpoint_tokens(const std::string& endpoint, TokenPrice price) {
  price.model = "endpoint:" + endpoint;
  price.id = price.compute_id();
  endpoint_tokens_[endpoint] = std::move(price);
}

void PriceTable::set_endpoint_hourly(const std::string& endpoint, NanoUsd per_hour) {
  endpoint_hours_[endpoint] = per_hour;
  if (!endpoint_tokens_.contains(endpoint)) {
    set_endpoint_tokens(endpoint, {.source = "billed by the hour: see the machine rows"});
  }
}

const TokenPrice* PriceTable::find(std::string_view model, std::int64_t unix_ms) const {
  if (const auto alias = aliases_.find(model);
      alias != aliases_.end() && !prices_.contains(model)) {
    model = alias->second;
  }
  const auto found = prices_.find(model);
  if (found == prices_.end()) {
    return nullptr;
  }
  for (auto price = found->second.rbegin(); price != found->second.rend(); ++price) {
    if (price->valid_from_ms <= unix_ms && unix_ms < price->valid_to_ms) {
      return &*price;
    }
  }
  return nullptr;
}

const TokenPrice* PriceTable::find_for(std::string_view endpoint,
                                       std::string_view model,
                                       std::int64_t unix_ms) const {
  const auto own = endpoint_tokens_.find(endpoint);
  return own != endpoint_tokens_.end() ? &own->second : find(model, unix_ms);
}

std::optional<NanoUsd> PriceTable::endpoint_per_hour(std::string_view endpoint) const {
  const auto found = endpoint_hours_.find(endpoint);
  return found != endpoint_hours_.end() ? std::optional(found->second) : std::nullopt;
}

std::optional<NanoUsd> PriceTable::machine_per_hour(std::string_view name) const {
  const auto found = machines_.find(name);
  return found != machines_.end() ? std::optional(found->second) : std::nullopt;
}

}  // namespace genesis::ledger
