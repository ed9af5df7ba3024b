// PriceTable::parse(): the JSON price file, every error naming its entry and field.
#include "base/json.h"
#include "ledger/money.h"
#include "ledger/price_table.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <string>

namespace genesis::ledger {

namespace {

constexpr std::size_t kMaxEntries = 100'000;

// One entry on its way in.
struct Entry {
  const boost::json::object& object;
  std::string prefix;  // "prices[3]."

  Result<std::optional<std::string>> text(std::string_view key) const {
    return get_string(object, key, prefix);
  }

  Result<std::string> required(std::string_view key) const {
    GENESIS_TRY(auto value, text(key));
    if (!value || value->empty()) {
      return fail_param(fmt::format("{}{}", prefix, key),
                        fmt::format("'{}{}' is missing", prefix, key),
                        ErrorCode::kConfig);
    }
    return std::move(*value);
  }

  std::unexpected<Error> wrong(std::string_view key, const Error& why) const {
    return fail_param(fmt::format("{}{}", prefix, key),
                      fmt::format("'{}{}': {}", prefix, key, why.message),
                      ErrorCode::kConfig);
  }

  Result<NanoUsd> amount(std::string_view key, std::optional<NanoUsd> fallback) const {
    GENESIS_TRY(const auto value, text(key));
    if (!value && fallback) {
      return *fallback;
    }
    GENESIS_TRY(const std::string given, required(key));
    auto parsed = parse_usd(given);
    return parsed ? parsed : wrong(key, parsed.error());
  }

  Result<std::int64_t> date(std::string_view key, std::optional<std::int64_t> fallback) const {
    GENESIS_TRY(const auto value, text(key));
    if (!value && fallback) {
      return *fallback;
    }
    GENESIS_TRY(const std::string given, required(key));
    auto parsed = parse_date(given);
    return parsed ? parsed : wrong(key, parsed.error());
  }

  Result<void> only(std::initializer_list<std::string_view> known) const {
    for (const auto& member : object) {
      const std::string_view key = member.key();
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        return fail_param(fmt::format("{}{}", prefix, key),
                          fmt::format("'{}{}' is not a field of a price entry", prefix, key),
                          ErrorCode::kConfig);
      }
    }
    return {};
  }
};

Result<TokenPrice> parse_tokens(const Entry& entry) {
  GENESIS_TRY_VOID(entry.only({"model",
                               "valid_from",
                               "valid_to",
                               "input",
                               "cached_input",
                               "cache_write",
                               "output",
                               "reasoning",
                               "per",
                               "source"}));
  TokenPrice price;
  GENESIS_TRY(price.model, entry.required("model"));
  GENESIS_TRY(price.valid_from_ms, entry.date("valid_from", std::nullopt));
  GENESIS_TRY(price.valid_to_ms, entry.date("valid_to", INT64_MAX));
  GENESIS_TRY(price.input, entry.amount("input", std::nullopt));
  GENESIS_TRY(price.cached_input, entry.amount("cached_input", price.input));
  GENESIS_TRY(price.cache_write, entry.amount("cache_write", price.input));
  GENESIS_TRY(price.output, entry.amount("output", std::nullopt));
  GENESIS_TRY(price.reasoning, entry.amount("reasoning", price.output));
  GENESIS_TRY(const std::string per, entry.required("per"));
  if (per != "1M tokens") {
    return entry.wrong("per", {.message = "must be \"1M tokens\""});
  }
  GENESIS_TRY(auto source, entry.text("source"));
  price.source = source.value_or("");
  return price;
}

Result<void> parse_entry(const Entry& entry, PriceTable& table) {
  if (entry.object.contains("alias_of")) {
    GENESIS_TRY_VOID(entry.only({"model", "alias_of"}));
    GENESIS_TRY(std::string name, entry.required("model"));
    GENESIS_TRY(std::string model, entry.required("alias_of"));
    table.add_alias(std::move(name), std::move(model));
    return {};
  }
  if (entry.object.contains("machine")) {
    GENESIS_TRY_VOID(entry.only({"machine", "per_hour", "source"}));
    GENESIS_TRY(std::string name, entry.required("machine"));
    GENESIS_TRY(const NanoUsd per_hour, entry.amount("per_hour", std::nullopt));
    table.add_machine(std::move(name), per_hour);
    return {};
  }
  GENESIS_TRY(TokenPrice price, parse_tokens(entry));
  table.add(std::move(price));
  return {};
}

}  // namespace

Result<PriceTable> PriceTable::parse(std::string_view json) {
  GENESIS_TRY(const boost::json::value document, parse_json(json));
  const auto* entries = document.if_array();
  if (entries == nullptr || entries->size() > kMaxEntries) {
    return fail_param("prices", "a price file is a JSON array of entries", ErrorCode::kConfig);
  }
  PriceTable table;
  for (std::size_t i = 0; i < entries->size(); ++i) {
    const auto* object = (*entries)[i].if_object();
    if (object == nullptr) {
      return fail_param(fmt::format("prices[{}]", i),
                        fmt::format("'prices[{}]' must be an object", i),
                        ErrorCode::kConfig);
    }
    GENESIS_TRY_VOID(parse_entry({*object, fmt::format("prices[{}].", i)}, table));
  }
  return table;
}

}  // namespace genesis::ledger
