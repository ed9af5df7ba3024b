// Savings for machines (JSON) and for people (text).
#include "base/clock.h"
#include "base/json.h"
#include "ledger/money.h"
#include "ledger/savings.h"

#include <fmt/format.h>

#include <cstdlib>

namespace genesis::ledger {

namespace {

// 971 -> "97.1", -5 -> "-0.5"
std::string percent(std::int64_t permille_value) {
  return fmt::format("{}{}.{}",
                     permille_value < 0 ? "-" : "",
                     std::abs(permille_value) / 10,
                     std::abs(permille_value) % 10);
}

std::string joined(const std::vector<std::string>& names) {
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

void money(JsonWriter& w, std::string_view name, NanoUsd amount) {
  w.field(fmt::format("{}_nano_usd", name), amount);
  w.field(fmt::format("{}_usd", name), format_usd(amount));
}

void tiers_json(JsonWriter& w, const Savings& savings) {
  w.key("tiers");
  w.begin_array();
  for (const TierSavings& tier : savings.tiers) {
    w.begin_object();
    w.field("tier", tier_name(tier.tier));
    w.field("delivered", tier.delivered);
    w.field("share_percent", percent(tier.share_permille));
    w.field("attempts", tier.attempts);
    w.field("failed", tier.failed);
    money(w, "spend", tier.spend);
    w.end_object();
  }
  w.end_array();
}

std::string row(std::string_view name, std::string_view note, NanoUsd amount) {
  return fmt::format("{:<18}{:<40}{:>20}\n", name, note, format_usd(amount));
}

std::string plural(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
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
  text += row("machine time",
              fmt::format("{:.32}", plural(s.machine_minutes, "started minute")),
              s.machine);
  text += row("unconfirmed", plural(s.unconfirmed, "attempt"), s.unconfirmed_nano);
  text += row("in flight", plural(s.in_flight, "attempt"), s.in_flight_nano);
  return text;
}

}  // namespace

std::vector<std::string> savings_method(const Savings& s) {
  std::vector<std::string> lines = {
      "saving = baseline - (posted + machine time + unconfirmed + in flight)",
      fmt::format(
          "baseline: the list price of {} on the day of the call, applied to the same token"
          " counts (uncached, cached, cache write, output, reasoning) of each delivered answer",
          s.baseline_models.empty() ? "the baseline model" : joined(s.baseline_models)),
      "posted: every attempt at its price of that day, retries and cut answers included; only a"
      " delivered answer earns a baseline",
      "machine time: started minutes of own and managed machines at the configured hourly rate,"
      " idle minutes included",
      "unconfirmed and in flight: attempts whose end is not known, at their upper bound",
      "each kind of token is rounded up to 0.000000001 USD; token counts are the serving model's"
      " own",
      "quality is not compared here: the same tokens are assumed to be worth the same"};
  if (s.quarantined > 0) {
    lines.push_back(
        fmt::format("{} in quarantine: no price is known, so neither cost nor baseline is"
                    " in these figures; add the price to the price file",
                    plural(s.quarantined, "attempt")));
  }
  if (s.without_baseline > 0) {
    lines.push_back(fmt::format("{} had no baseline model configured and count as cost only",
                                plural(s.without_baseline, "delivered answer")));
  }
  return lines;
}

std::string savings_json(const Savings& s) {
  JsonWriter w;
  w.begin_object();
  w.field("since", format_rfc3339(s.since_ms));
  w.field("until", format_rfc3339(s.until_ms));
  w.field("currency", "USD");
  w.field("delivered", s.delivered);
  w.field("attempts", s.attempts);
  w.field("failed", s.failed);
  tiers_json(w, s);
  money(w, "spend", s.spend);
  money(w, "machine", s.machine);
  w.field("machine_minutes", s.machine_minutes);
  w.field("unconfirmed", s.unconfirmed);
  money(w, "unconfirmed", s.unconfirmed_nano);
  w.field("in_flight", s.in_flight);
  money(w, "in_flight", s.in_flight_nano);
  money(w, "total_cost", s.total_cost());
  w.key("baseline_models");
  w.begin_array();
  for (const std::string& model : s.baseline_models) {
    w.string(model);
  }
  w.end_array();
  money(w, "baseline", s.baseline);
  money(w, "saving", s.saving());
  if (s.baseline > 0) {
    w.field("saving_percent", percent(permille(s.saving(), s.baseline)));
  } else {
    w.field_null("saving_percent");
  }
  w.field("quarantined", s.quarantined);
  w.field("without_baseline", s.without_baseline);
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
  const std::string since = s.since_ms == 0 ? "Everything" : format_rfc3339(s.since_ms);
  std::string text = fmt::format("{} until {}, in USD\n\n", since, format_rfc3339(s.until_ms));
  text += cost_rows(s);
  text += row("total cost",
              fmt::format("{}, {} failed", plural(s.attempts, "attempt"), s.failed),
              s.total_cost());
  text += row("baseline", fmt::format("{:.38}", joined(s.baseline_models)), s.baseline);
  if (s.saving() < 0) {
    text += row("EXTRA COST", "more than the baseline", -s.saving());
    text += fmt::format("\nNothing was saved: this traffic cost {} USD more than {} would have.\n",
                        format_usd(-s.saving()),
                        s.baseline_models.empty() ? "the baseline" : joined(s.baseline_models));
  } else {
    text +=
        row("SAVED",
            s.baseline > 0 ? percent(permille(s.saving(), s.baseline)) + " % of the baseline" : "",
            s.saving());
  }
  if (s.quarantined > 0) {
    text += fmt::format("\n{} in quarantine (price unknown), not in these figures.\n",
                        plural(s.quarantined, "attempt"));
  }
  text += "\nMethod\n";
  for (const std::string& line : savings_method(s)) {
    text += "  " + line + "\n";
  }
  return text;
}

}  // namespace genesis::ledger
