// What the same tokens would have cost elsewhere, and the report.
#include "app/import_usage.h"
#include "base/clock.h"
#include "base/json.h"
#include "ledger/money.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

namespace genesis::app {

namespace {

using ledger::Rounding;
using ledger::scale_money;

constexpr std::int64_t kDayMs = 86'400'000;

std::int64_t days_of(const UsageExport& usage) {
  return (usage.last_ms - usage.first_ms) / kDayMs + 1;
}

// The cheapest and the dearest of several prices for the same tokens.
struct Range {
  NanoUsd low = 0;
  NanoUsd high = 0;
};

Result<Range> cost_range(const std::vector<ServingPrice>& prices, const Usage& usage) {
  Range range{.low = INT64_MAX};
  for (const ServingPrice& each : prices) {
    GENESIS_TRY(const NanoUsd cost, ledger::token_cost(each.price, usage));
    range.low = std::min(range.low, cost);
    range.high = std::max(range.high, cost);
  }
  return range;
}

// One step of a migration: which parts of the traffic move, in permille.
struct Step {
  std::string name;
  std::int64_t cheap = 0;
  std::int64_t general = 0;
  bool machines = false;
};

Result<Projection> project(const UsageReport& report,
                           const ProjectionOptions& options,
                           const Step& step) {
  Projection out{.name = step.name};
  const std::int64_t stays = 1000 - step.cheap - step.general;
  const NanoUsd kept = scale_money(report.paid, stays, 1000, Rounding::kUp);
  out.cost = out.cost_low = out.cost_high = kept;
  for (const UsageLine& line : report.usage.lines) {
    if (line.valued_as.empty()) {
      continue;
    }
    GENESIS_TRY(const Range cheap, cost_range(options.cheap, line.usage));
    GENESIS_TRY(const Range general, cost_range(options.general, line.usage));
    for (const auto& [range, share] : {std::pair(cheap, step.cheap), {general, step.general}}) {
      out.cost += scale_money(range.high, share, 1000, Rounding::kUp);
      out.cost_low +=
          scale_money(range.low, share * options.tokens.low_permille, 1'000'000, Rounding::kDown);
      out.cost_high +=
          scale_money(range.high, share * options.tokens.high_permille, 1'000'000, Rounding::kUp);
    }
  }
  if (step.machines) {
    const NanoUsd hours =
        scale_money(options.machines_per_hour, days_of(report.usage) * 24, 1, Rounding::kUp);
    out.cost += hours;
    out.cost_low += hours;
    out.cost_high += hours;
  }
  return out;
}

std::string percent(std::int64_t permille_value) {
  return fmt::format("{}{}.{}",
                     permille_value < 0 ? "-" : "",
                     std::abs(permille_value) / 10,
                     std::abs(permille_value) % 10);
}

std::string names(const std::vector<ServingPrice>& prices) {
  std::vector<std::string> out;
  for (const ServingPrice& each : prices) {
    out.push_back(fmt::format("{} ({} in, {} out)",
                              each.name,
                              format_usd(each.price.input),
                              format_usd(each.price.output)));
  }
  return fmt::format("{}", fmt::join(out, ", "));
}

std::vector<std::string> method_of(const ProjectionOptions& options) {
  std::vector<std::string> lines = {
      "paid: the export's tokens at list prices of the price table, each model's own; usage from"
      " before a price began is valued at that price; batches at half",
      "a model without a known price is in no sum: give --price-model NAME=KNOWN",
      fmt::format("cheap tasks (routing, classification, validation): {} % of the traffic, on {}",
                  percent(options.cheap_permille),
                  names(options.cheap)),
      fmt::format("the rest, on {}; {} % stays commercial",
                  names(options.general),
                  percent(options.commercial_permille)),
      "prices in USD for a million tokens; the figure takes the dearest of several endpoints",
      fmt::format("between: the cheapest endpoint at {} tokens for one of the provider's, and the"
                  " dearest",
                  ledger::format_token_ratio(options.tokens)),
      "this is a projection: retries, failed attempts and the quality of answers are not in it;"
      " genesis savings measures"};
  if (options.machines_per_hour > 0) {
    lines.push_back(fmt::format("machines: {} USD an hour, paid every hour of the period",
                                format_usd(options.machines_per_hour)));
  }
  if (options.assumed_prices) {
    lines.push_back(
        "no configured endpoint names a price: cheap models are taken at 98 % and"
        " general ones at 95 % below gpt-4o, the plan's figures");
  }
  return lines;
}

void money(JsonWriter& w, std::string_view name, NanoUsd amount) {
  w.field(fmt::format("{}_nano_usd", name), amount);
  w.field(fmt::format("{}_usd", name), format_usd(amount));
}

void line_json(JsonWriter& w, const UsageLine& line) {
  w.begin_object();
  w.field("model", line.model);
  if (line.valued_as.empty()) {
    w.field_null("valued_as");
  } else {
    w.field("valued_as", line.valued_as);
  }
  w.field("requests", line.requests);
  w.field("input", line.usage.input);
  w.field("cached_input", line.usage.cached_input);
  w.field("cache_write", line.usage.cache_write);
  w.field("output", line.usage.output);
  if (line.valued_as.empty()) {
    w.field_null("cost_nano_usd");
  } else {
    money(w, "cost", line.cost);
  }
  w.end_object();
}

void projection_json(JsonWriter& w, const Projection& projection, NanoUsd paid) {
  w.begin_object();
  w.field("name", projection.name);
  money(w, "cost", projection.cost);
  money(w, "cost_low", projection.cost_low);
  money(w, "cost_high", projection.cost_high);
  money(w, "saving", paid - projection.cost);
  money(w, "saving_low", paid - projection.cost_high);
  money(w, "saving_high", paid - projection.cost_low);
  w.field("saving_percent", percent(ledger::permille(paid - projection.cost, paid)));
  w.end_object();
}

}  // namespace

Result<UsageReport> project_usage(UsageExport usage, const ProjectionOptions& options) {
  if (options.cheap.empty() || options.general.empty()) {
    return fail(ErrorCode::kConfig, "there is no price to compare with");
  }
  UsageReport report{.usage = std::move(usage)};
  for (const UsageLine& line : report.usage.lines) {
    GENESIS_TRY(report.paid, ledger::add_money(report.paid, line.cost));
  }
  const std::int64_t moves = 1000 - options.commercial_permille;
  const std::int64_t cheap = std::min(options.cheap_permille, moves);
  for (const Step& step :
       {Step{"cheap tasks moved", cheap, 0, false},
        Step{"all but the commercial share moved", cheap, moves - cheap, true}}) {
    GENESIS_TRY(Projection projection, project(report, options, step));
    report.projections.push_back(std::move(projection));
  }
  report.method = method_of(options);
  return report;
}

std::string usage_report_json(const UsageReport& report) {
  JsonWriter w;
  w.begin_object();
  w.field("provider", report.usage.provider);
  w.field("rows", report.usage.rows);
  w.field("first_day", format_rfc3339(report.usage.first_ms).substr(0, 10));
  w.field("last_day", format_rfc3339(report.usage.last_ms).substr(0, 10));
  w.key("models");
  w.begin_array();
  for (const UsageLine& line : report.usage.lines) {
    line_json(w, line);
  }
  w.end_array();
  money(w, "paid", report.paid);
  w.key("projections");
  w.begin_array();
  for (const Projection& projection : report.projections) {
    projection_json(w, projection, report.paid);
  }
  w.end_array();
  w.key("method");
  w.begin_array();
  for (const std::string& line : report.method) {
    w.string(line);
  }
  w.end_array();
  w.end_object();
  return w.take();
}

std::string usage_report_text(const UsageReport& report) {
  std::string text = fmt::format("{} usage, {} to {}, in USD at list prices\n\n",
                                 report.usage.provider,
                                 format_rfc3339(report.usage.first_ms).substr(0, 10),
                                 format_rfc3339(report.usage.last_ms).substr(0, 10));
  std::string unknown;
  for (const UsageLine& line : report.usage.lines) {
    if (line.valued_as.empty()) {
      unknown +=
          fmt::format("  {:.60}: {} in, {} out\n", line.model, line.usage.input, line.usage.output);
    } else {
      text += fmt::format(
          "{:<32.32}{:>10} requests{:>20}\n", line.model, line.requests, format_usd(line.cost));
    }
  }
  text += fmt::format("{:<51}{:>20}\n\n", "you paid", format_usd(report.paid));
  for (const Projection& p : report.projections) {
    const NanoUsd saving = report.paid - p.cost;
    text += fmt::format("{}\n  would have cost {} ({} to {})\n  {} {} USD, {} % ({} to {})\n",
                        p.name,
                        format_usd(p.cost),
                        format_usd(p.cost_low),
                        format_usd(p.cost_high),
                        saving < 0 ? "EXTRA COST" : "you would have saved",
                        format_usd(saving < 0 ? -saving : saving),
                        percent(ledger::permille(saving, report.paid)),
                        format_usd(report.paid - p.cost_high),
                        format_usd(report.paid - p.cost_low));
  }
  if (!unknown.empty()) {
    text += "\nNot in any figure, no price is known (--price-model NAME=KNOWN):\n" + unknown;
  }
  text += "\nMethod\n";
  for (const std::string& line : report.method) {
    text += "  " + line + "\n";
  }
  return text;
}

}  // namespace genesis::app
