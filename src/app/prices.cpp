#include "app/prices.h"

#include "base/file.h"
#include "ledger/money.h"

#include <fmt/format.h>

namespace genesis::app {

namespace {

constexpr std::size_t kMaxPriceFile = 16 * 1024 * 1024;

Result<void> add_price_file(ledger::PriceTable& table, const std::string& path) {
  auto text = read_file(path, kMaxPriceFile);
  auto parsed = text ? ledger::PriceTable::parse(*text) : std::unexpected(text.error());
  if (!parsed) {
    return fail_param("ledger.price_file",
                      fmt::format("ledger.price_file {}: {}", path, parsed.error().message),
                      ErrorCode::kConfig);
  }
  table.add_all(*parsed);
  return {};
}

Result<void> add_endpoint_prices(ledger::PriceTable& table,
                                 const EndpointConfig& endpoint,
                                 const std::string& local_rate) {
  if (!endpoint.price_input.empty()) {
    ledger::TokenPrice price{.model = endpoint.name, .source = "genesis.toml"};
    GENESIS_TRY(price.input, ledger::parse_usd(endpoint.price_input));
    GENESIS_TRY(price.output, ledger::parse_usd(endpoint.price_output));
    GENESIS_TRY(
        price.cached_input,
        ledger::parse_usd(endpoint.price_cached_input.empty() ? endpoint.price_input
                                                              : endpoint.price_cached_input));
    price.cache_write = price.input;
    price.reasoning = price.output;
    table.set_endpoint_tokens(endpoint.name, std::move(price));
  } else if (!endpoint.adapter_of.empty()) {
    // The hours of the machine are booked by the endpoint that has the engine.
    table.set_endpoint_tokens(
        endpoint.name, {.model = endpoint.name, .source = "hours of " + endpoint.adapter_of});
  }
  const bool local = endpoint.kind == EndpointKind::kLocal && endpoint.adapter_of.empty();
  const std::string per_hour =
      endpoint.price_per_hour.empty() && local ? local_rate : endpoint.price_per_hour;
  if (!per_hour.empty()) {
    GENESIS_TRY(const NanoUsd rate, ledger::parse_usd(per_hour));
    table.set_endpoint_hourly(endpoint.name, rate);
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const ledger::PriceTable>> load_prices(const Config& config) {
  auto table = std::make_shared<ledger::PriceTable>(ledger::PriceTable::defaults());
  if (!config.price_file.empty()) {
    GENESIS_TRY_VOID(add_price_file(*table, config.price_file));
  }
  for (const EndpointConfig& endpoint : config.endpoints) {
    GENESIS_TRY_VOID(add_endpoint_prices(*table, endpoint, config.machine_usd_per_hour));
  }
  return table;
}

}  // namespace genesis::app
