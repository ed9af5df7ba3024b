// Savings for machines (JSON, CSV) and for people (text).
#include "base/clock.h"
#include "base/json.h"
#include "ledger/csv.h"
#include "ledger/money.h"
#include "ledger/savings.h"

#include <fmt/format.h>

#include <cstdlib>
#include <set>

namespace genesis::ledger {

namespace {

// 971 -> "97.1", -5 -> "-0.5"
std::string percent(std::int64_t permille_value) {
  return fmt::format("{}{}.{}",
                     permille_value < 0 ? "-" : "",
                     std::abs(permille_value) / 10,
                     std::abs(permille_value) % 10);
}

std::string baseline_names(const Savings& savings) {
  std::set<std::string> names;
  for (const BaselinePin& pin : savings.pins) {
    names.insert(pin.model);
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

void money(JsonWriter& w, std::string_view name, NanoUsd amount) {
  w.field(fmt::format("{}_nano_usd", name), amount);
  w.field(fmt::format("{}_usd", name), format_usd(amount));
}

void usage_json(JsonWriter& w, const Usage& usage) {
  w.key("usage");
  w.begin_object();
  w.field("input", usage.input);
  w.field("cached_input", usage.cached_input);
  w.field("cache_write", usage.cache_write);
  w.field("output", usage.output);
  w.field("reasoning", usage.reasoning);
  w.end_object();
}

void figures_json(JsonWriter& w, const Figures& f, const TokenRatio& tokens) {
  w.field("delivered", f.delivered);
  w.field("attempts", f.attempts);
  w.field("failed", f.failed);
  usage_json(w, f.usage);
  money(w, "spend", f.spend);
  money(w, "failed_attempts", f.failed_spend);
  w.field("retries", f.retries);
  money(w, "retries", f.retry_spend);
  w.field("overhead", f.overhead);
  money(w, "overhead", f.overhead_spend);
  w.field("disputed", f.disputed);
  money(w, "disputed", f.disputed_spend);
  w.field("estimated", f.estimated);
  money(w, "estimated", f.estimated_spend);
  money(w, "machine", f.machine);
  w.field("machine_minutes", f.machine_minutes);
  money(w, "machine_idle", f.idle);
  w.field("machine_idle_minutes", f.idle_minutes);
  w.field("unconfirmed", f.unconfirmed);
  money(w, "unconfirmed", f.unconfirmed_nano);
  w.field("in_flight", f.in_flight);
  money(w, "in_flight", f.in_flight_nano);
  money(w, "total_cost", f.total_cost());
  money(w, "baseline", f.baseline);
  money(w, "saving", f.saving());
  money(w, "saving_low", f.saving_low(tokens));
  money(w, "saving_high", f.saving_high(tokens));
  if (f.baseline > 0) {
    w.field("saving_percent", percent(permille(f.saving(), f.baseline)));
  } else {
    w.field_null("saving_percent");
  }
  w.field("quarantined", f.quarantined);
  w.field("without_baseline", f.without_baseline);
}

void tiers_json(JsonWriter& w, const Savings& savings) {
  w.key("tiers");
  w.begin_array();
  for (const TierSavings& tier : savings.tiers) {
    w.begin_object();
    w.field("tier", tier_name(tier.tier));
    w.field("share_percent", percent(tier.share_permille));
    figures_json(w, tier, savings.query.tokens);
    w.end_object();
  }
  w.end_array();
}

void groups_json(JsonWriter& w, const Savings& savings) {
  w.field("by", group_by_name(savings.query.by));
  w.key("groups");
  w.begin_array();
  for (const Figures& group : savings.groups) {
    w.begin_object();
    w.field("name", group.name);
    figures_json(w, group, savings.query.tokens);
    w.end_object();
  }
  w.end_array();
}

void pins_json(JsonWriter& w, const Savings& savings) {
  w.key("pins");
  w.begin_array();
  for (const BaselinePin& pin : savings.pins) {
    w.begin_object();
    w.field("row", pin.seq);
    w.field("time", format_rfc3339(pin.unix_ms));
    w.field("route", pin.route);
    w.field("model", pin.model);
    w.field("price_id", pin.price_id);
    w.end_object();
  }
  w.end_array();
}

std::string day_of(std::int64_t unix_ms) {
  return unix_ms == INT64_MAX ? "" : format_rfc3339(unix_ms).substr(0, 10);
}

// Amounts in nano-USD per million tokens.
void prices_json(JsonWriter& w, const Savings& savings) {
  w.key("prices");
  w.begin_array();
  for (const TokenPrice& price : savings.prices) {
    w.begin_object();
    w.field("id", price.id);
    w.field("model", price.model);
    w.field("valid_from", day_of(price.valid_from_ms));
    w.field("valid_to", day_of(price.valid_to_ms));
    w.field("input", price.input);
    w.field("cached_input", price.cached_input);
    w.field("cache_write", price.cache_write);
    w.field("output", price.output);
    w.field("reasoning", price.reasoning);
    w.field("source", price.source);
    w.end_object();
  }
  w.end_array();
}

void chain_json(JsonWriter& w, const ChainSpan& chain) {
  w.key("chain");
  w.begin_object();
  w.field("rows", chain.rows);
  w.field("first_row", chain.first_seq);
  w.field("first_hash", chain.first_hash);
  w.field("last_row", chain.last_seq);
  w.field("last_hash", chain.last_hash);
  w.field("through_row", chain.through_seq);
  w.field("through_hash", chain.through_hash);
  w.end_object();
}

std::string row(std::string_view name, std::string_view note, NanoUsd amount) {
  return fmt::format("{:<18}{:<40.40}{:>20}\n", name, note, format_usd(amount));
}

std::string plural(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// Lines that say what part of a line above went where; only those that are not zero.
std::string part_rows(const Savings& s) {
  const auto part =
      [](std::int64_t count, std::string_view name, std::string_view noun, NanoUsd amount) {
        return count == 0 ? std::string() : row(name, plural(count, noun), amount);
      };
  return part(s.failed_spend == 0 ? 0 : s.failed, "  of it failed", "attempt", s.failed_spend) +
         part(s.retries, "  of it retries", "attempt", s.retry_spend) +
         part(s.overhead, "  of it overhead", "judge or shadow call", s.overhead_spend) +
         part(s.disputed, "  of it disputed", "attempt", s.disputed_spend) +
         part(s.estimated, "  of it estimated", "attempt", s.estimated_spend);
}

std::string cost_rows(const Savings& s) {
  std::string text;
  for (const TierSavings& tier : s.tiers) {
    text += row(tier_name(tier.tier),
                fmt::format("{} delivered ({} %), {} failed",
                            tier.delivered,
                            percent(tier.share_permille),
                            tier.failed),
                tier.spend);
  }
  text += part_rows(s);
  text += row("machine time", plural(s.machine_minutes, "started minute"), s.machine);
  if (s.idle_minutes > 0) {
    text += row("  of it idle", plural(s.idle_minutes, "minute"), s.idle);
  }
  text += row("unconfirmed", plural(s.unconfirmed, "attempt"), s.unconfirmed_nano);
  text += row("in flight", plural(s.in_flight, "attempt"), s.in_flight_nano);
  return text;
}

// The interval, where there is one.
std::string interval_rows(const Savings& s) {
  const NanoUsd low = s.saving_low(s.query.tokens);
  const NanoUsd high = s.saving_high(s.query.tokens);
  return low == high ? "" : row("  at least", "see the method", low) + row("  at most", "", high);
}

std::string group_rows(const Savings& s) {
  if (s.query.by == GroupBy::kNothing) {
    return "";
  }
  std::string text = fmt::format("\n{:<28}{:>10}{:>18}{:>18}{:>18}{:>8}\n",
                                 fmt::format("by {}", group_by_name(s.query.by)),
                                 "delivered",
                                 "cost",
                                 "baseline",
                                 "saving",
                                 "%");
  for (const Figures& group : s.groups) {
    text +=
        fmt::format("{:<28.28}{:>10}{:>18}{:>18}{:>18}{:>8}\n",
                    group.name,
                    group.delivered,
                    format_usd(group.total_cost()),
                    format_usd(group.baseline),
                    format_usd(group.saving()),
                    group.baseline > 0 ? percent(permille(group.saving(), group.baseline)) : "-");
  }
  return text;
}

std::string pin_rows(const Savings& s) {
  std::string text = "\nBaseline, pinned before the traffic\n";
  for (const BaselinePin& pin : s.pins) {
    text += fmt::format("  row {} of {}: {} at price {}{}\n",
                        pin.seq,
                        format_rfc3339(pin.unix_ms),
                        pin.model,
                        pin.price_id,
                        pin.route.empty() ? "" : fmt::format(", for route {}", pin.route));
  }
  return s.pins.empty() ? "" : text;
}

void csv_line(CsvWriter& csv, std::string_view name, const Figures& f, const TokenRatio& tokens) {
  csv.text(name);
  for (const std::int64_t count : {f.delivered,
                                   f.attempts,
                                   f.failed,
                                   f.retries,
                                   f.usage.input,
                                   f.usage.cached_input,
                                   f.usage.cache_write,
                                   f.usage.output,
                                   f.usage.reasoning,
                                   f.machine_minutes,
                                   f.idle_minutes,
                                   f.unconfirmed,
                                   f.in_flight,
                                   f.quarantined,
                                   f.disputed,
                                   f.estimated}) {
    csv.integer(count);
  }
  for (const NanoUsd amount : {f.spend,
                               f.failed_spend,
                               f.retry_spend,
                               f.overhead_spend,
                               f.machine,
                               f.idle,
                               f.unconfirmed_nano,
                               f.in_flight_nano,
                               f.total_cost(),
                               f.baseline,
                               f.saving(),
                               f.saving_low(tokens),
                               f.saving_high(tokens)}) {
    csv.plain(format_usd(amount));
  }
  csv.end_line();
}

}  // namespace

std::vector<std::string> savings_method(const Savings& s) {
  std::vector<std::string> lines = {
      "saving = baseline - (posted + machine time + unconfirmed + in flight)",
      fmt::format(
          "baseline: the list price of {} that was pinned in the ledger before the call,"
          " applied to the tokens of each answer that was delivered in full; another model's"
          " thinking (reasoning tokens) earns none",
          baseline_names(s)),
      "posted: every attempt at the price of its endpoint, failed, retried, judging and shadow"
      " attempts included; a disputed count at the larger figure",
      "machine time: started minutes of our own and managed machines at the configured hourly rate,"
      " idle minutes included; a minute is idle when no attempt ran in it",
      "unconfirmed and in flight: attempts whose end is not known, at their upper bound",
      "each kind of token is rounded up to 0.000000001 USD",
      fmt::format(
          "tokens are counted by the model that served; the baseline model's own tokenizer is taken"
          " to give {} tokens for each of them (ledger.baseline_token_ratio)",
          format_token_ratio(s.query.tokens)),
      "at least / at most: that ratio both ways; estimated rows between a quarter and twice their"
      " count; unconfirmed, in flight and disputed rows at all or nothing",
      "quality is not compared here: the same tokens are assumed to be worth the same"};
  if (s.query.by != GroupBy::kNothing && s.machine > 0) {
    lines.push_back(
        "a machine's minutes are divided between groups by the tokens they moved"
        " through its endpoint");
  }
  if (s.quarantined > 0) {
    lines.push_back(
        fmt::format("{} in quarantine: no price is known, so neither cost nor baseline is"
                    " in these figures; add the price to the price file",
                    plural(s.quarantined, "attempt")));
  }
  if (s.without_baseline > 0) {
    lines.push_back(fmt::format("{} had no baseline pinned and count as cost only",
                                plural(s.without_baseline, "delivered answer")));
  }
  return lines;
}

std::string savings_json(const Savings& s) {
  JsonWriter w;
  w.begin_object();
  w.field("since", format_rfc3339(s.query.since_ms));
  w.field("since_ms", s.query.since_ms);
  w.field("until", s.query.until_ms == INT64_MAX ? "" : format_rfc3339(s.query.until_ms));
  w.field("until_ms", s.query.until_ms);
  w.field("currency", "USD");
  w.field("baseline_token_ratio", format_token_ratio(s.query.tokens));
  figures_json(w, s, s.query.tokens);
  tiers_json(w, s);
  groups_json(w, s);
  pins_json(w, s);
  prices_json(w, s);
  chain_json(w, s.chain);
  w.key("method");
  w.begin_array();
  for (const std::string& line : savings_method(s)) {
    w.string(line);
  }
  w.end_array();
  w.end_object();
  return w.take();
}

std::string savings_text(const Savings& s) {
  const std::string since = s.query.since_ms == 0 ? "Everything" : format_rfc3339(s.query.since_ms);
  std::string text =
      fmt::format("{} until {}, in USD\n\n", since, format_rfc3339(s.query.until_ms));
  text += cost_rows(s);
  text += row("total cost",
              fmt::format("{}, {} failed", plural(s.attempts, "attempt"), s.failed),
              s.total_cost());
  text += row("baseline", baseline_names(s), s.baseline);
  if (s.saving() < 0) {
    text += row("EXTRA COST", "more than the baseline", -s.saving());
    text += interval_rows(s);
    text += fmt::format("\nNothing was saved: this traffic cost {} USD more than {} would have.\n",
                        format_usd(-s.saving()),
                        s.pins.empty() ? "the baseline" : baseline_names(s));
  } else {
    text +=
        row("SAVED",
            s.baseline > 0 ? percent(permille(s.saving(), s.baseline)) + " % of the baseline" : "",
            s.saving());
    text += interval_rows(s);
  }
  if (s.quarantined > 0) {
    text += fmt::format("\n{} in quarantine (price unknown), not in these figures.\n",
                        plural(s.quarantined, "attempt"));
  }
  text += group_rows(s);
  text += pin_rows(s);
  text += "\nMethod\n";
  for (const std::string& line : savings_method(s)) {
    text += "  " + line + "\n";
  }
  return text;
}

std::string savings_csv(const Savings& s) {
  CsvWriter csv;
  const std::string_view by = group_by_name(s.query.by);
  csv.text(by.empty() ? "group" : by);
  for (const std::string_view column : {"delivered",
                                        "attempts",
                                        "failed",
                                        "retries",
                                        "input_tokens",
                                        "cached_input_tokens",
                                        "cache_write_tokens",
                                        "output_tokens",
                                        "reasoning_tokens",
                                        "machine_minutes",
                                        "machine_idle_minutes",
                                        "unconfirmed",
                                        "in_flight",
                                        "quarantined",
                                        "disputed",
                                        "estimated",
                                        "spend_usd",
                                        "failed_attempts_usd",
                                        "retries_usd",
                                        "overhead_usd",
                                        "machine_usd",
                                        "machine_idle_usd",
                                        "unconfirmed_usd",
                                        "in_flight_usd",
                                        "total_cost_usd",
                                        "baseline_usd",
                                        "saving_usd",
                                        "saving_low_usd",
                                        "saving_high_usd"}) {
    csv.text(column);
  }
  csv.end_line();
  for (const Figures& group : s.groups) {
    csv_line(csv, group.name, group, s.query.tokens);
  }
  csv_line(csv, "total", s, s.query.tokens);
  return csv.take();
}

}  // namespace genesis::ledger
