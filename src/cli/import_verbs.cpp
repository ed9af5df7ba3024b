// import litellm, import usage: what a team brings along.
#include "app/import_litellm.h"
#include "app/import_usage.h"
#include "app/prices.h"
#include "app/yaml.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "ledger/money.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

namespace genesis::cli {

namespace {

// The shipped cheap_model_mapping: the models of routing, classification and validation.
constexpr std::array<std::string_view, 2> kCheapModels = {"gemma-2-9b-it", "gemma-2-27b-it"};

// Prices of the plan where no endpoint has one: 98 % and 95 % below gpt-4o's 2.50 and 10.00.
ledger::TokenPrice plan_price(NanoUsd input, NanoUsd output) {
  return {.input = input,
          .cached_input = input,
          .cache_write = input,
          .output = output,
          .reasoning = output,
          .source = "plan of 2025-11-04"};
}

constexpr NanoUsd kCent = kNanoPerUsd / 100;

Result<app::ImportedConfig> read_litellm(const ImportOptions& options) {
  GENESIS_TRY(const std::string yaml, read_file(options.file, app::kMaxYamlBytes));
  GENESIS_TRY(app::ImportedConfig imported, app::import_litellm(yaml));
  if (options.output != "-") {
    std::error_code ignored;
    if (std::filesystem::exists(options.output, ignored)) {
      return fail(ErrorCode::kConflict,
                  fmt::format("{} is there already", options.output),
                  "give another name with -o, or move it away");
    }
    GENESIS_TRY_VOID(write_file_atomic(options.output, imported.toml));
  }
  return imported;
}

std::string litellm_json(const app::ImportedConfig& imported) {
  JsonWriter w;
  w.begin_object();
  w.field("endpoints", static_cast<std::int64_t>(imported.endpoints));
  w.field("routes", static_cast<std::int64_t>(imported.routes));
  w.key("not_carried_over");
  w.begin_array();
  for (const app::ImportNote& note : imported.left_out) {
    w.begin_object();
    w.field("line", static_cast<std::int64_t>(note.line));
    w.field("what", note.what);
    w.end_object();
  }
  w.end_array();
  w.field("toml", imported.toml);
  w.end_object();
  return w.take() + "\n";
}

Result<std::map<std::string, std::string, std::less<>>> price_models(
    const std::vector<std::string>& pairs, const ledger::PriceTable& prices) {
  std::map<std::string, std::string, std::less<>> out;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.rfind('=');
    const std::string known = equals == std::string::npos ? "" : pair.substr(equals + 1);
    if (known.empty() || prices.find(known, SystemClock().unix_ms()) == nullptr) {
      return fail_param(
          "--price-model",
          fmt::format("'{}' is not NAME=KNOWN with a model whose price is known", pair));
    }
    out[pair.substr(0, equals)] = known;
  }
  return out;
}

bool is_cheap_model(std::string_view model) {
  const std::string_view base = model.substr(model.rfind('/') + 1);
  return std::ranges::any_of(kCheapModels,
                             [&](std::string_view cheap) { return base.starts_with(cheap); });
}

// The endpoints of our own and the managed ones with their prices; the tokens of one that is paid
// by the hour cost nothing more than its hours, all of which are added. The demonstration model
// that is served without a configuration takes over nobody's fleet.
Result<app::ProjectionOptions> serving_prices(const app::Config& config,
                                              const ledger::PriceTable& prices,
                                              std::int64_t now_ms) {
  app::ProjectionOptions out;
  for (const app::EndpointConfig& endpoint : config.endpoints) {
    if (endpoint.tier == Tier::kCommercial || endpoint.model == app::kDefaultModel) {
      continue;
    }
    const auto per_hour = prices.endpoint_per_hour(endpoint.name);
    GENESIS_TRY(out.machines_per_hour,
                ledger::add_money(out.machines_per_hour, per_hour.value_or(0)));
    const std::string& model = endpoint.price_model.empty() ? endpoint.model : endpoint.price_model;
    const ledger::TokenPrice* price = prices.find_for(endpoint.name, model, now_ms);
    if (price == nullptr) {
      continue;
    }
    auto& list = is_cheap_model(endpoint.model) ? out.cheap : out.general;
    list.push_back({.name = endpoint.name, .price = *price});
  }
  out.assumed_prices = out.cheap.empty() && out.general.empty();
  if (out.assumed_prices) {
    out.cheap = {{"gemma-2-9b-it or gemma-2-27b-it", plan_price(5 * kCent, 20 * kCent)}};
    out.general = {{"Qwen2.5-72B or Llama-3.3-70B", plan_price(125 * kCent / 10, 50 * kCent)}};
  }
  if (out.cheap.empty()) {
    out.cheap = out.general;
  }
  if (out.general.empty()) {
    out.general = out.cheap;
  }
  return out;
}

Result<app::UsageReport> read_usage(const CommonOptions& common, const ImportOptions& options) {
  const std::int64_t now_ms = SystemClock().unix_ms();
  GENESIS_TRY(const app::Home home, open_home(common));
  GENESIS_TRY(const app::Config config, open_config(common, home));
  GENESIS_TRY(const auto prices, app::load_prices(config));
  GENESIS_TRY(const std::string csv, read_file(options.file, app::kMaxUsageBytes));
  app::UsageReading reading{.prices = prices.get(), .price_as = {}, .now_ms = now_ms};
  GENESIS_TRY(reading.price_as, price_models(options.price_models, *prices));
  GENESIS_TRY(app::UsageExport usage, app::read_usage_export(csv, reading));
  GENESIS_TRY(app::ProjectionOptions projection, serving_prices(config, *prices, now_ms));
  projection.cheap_permille = options.cheap_percent * 10;
  projection.commercial_permille = options.commercial_percent * 10;
  projection.tokens = config.baseline_tokens;
  return app::project_usage(std::move(usage), projection);
}

}  // namespace

int import_litellm(const CommonOptions& common, const ImportOptions& options) {
  const auto imported = read_litellm(options);
  if (!imported) {
    return report(imported.error());
  }
  if (common.json) {
    print_out(litellm_json(*imported));
    return kExitOk;
  }
  if (options.output == "-") {
    print_out(imported->toml);
  }
  print_note(fmt::format("carried over: {} endpoints, {} routes{}",
                         imported->endpoints,
                         imported->routes,
                         options.output == "-" ? "" : " to " + options.output));
  for (const app::ImportNote& note : imported->left_out) {
    print_note(
        fmt::format("not carried over: line {}: {}", note.line, without_controls(note.what)));
  }
  return kExitOk;
}

int import_usage(const CommonOptions& common, const ImportOptions& options) {
  const auto usage = read_usage(common, options);
  if (!usage) {
    return report(usage.error());
  }
  print_out(common.json ? app::usage_report_json(*usage) + "\n"
                        : without_controls(app::usage_report_text(*usage)));
  return kExitOk;
}

}  // namespace genesis::cli
