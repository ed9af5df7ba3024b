// A drill's plan and report, for programs and for people.
#include "app/drill.h"
#include "base/clock.h"
#include "base/json.h"

#include <fmt/format.h>

namespace genesis::app {

namespace {

void write_endpoints(JsonWriter& w, const DrillPlan& plan) {
  w.key("endpoints");
  w.begin_array();
  for (const DrillEndpoint& each : plan.endpoints) {
    w.begin_object();
    w.field("name", each.name);
    w.field("model", each.model);
    w.field("tier", tier_name(each.tier));
    w.field("first_token_ms", static_cast<std::int64_t>(each.first_token.count()));
    w.field("between_tokens_ms", static_cast<std::int64_t>(each.between.count()));
    w.field_bool("measured", each.measured);
    w.end_object();
  }
  w.end_array();
}

void write_phase(JsonWriter& w, const DrillPhase& phase) {
  w.field("name", phase.name);
  w.field("outage", outage_name(phase.outage));
  w.key("down");
  w.begin_array();
  for (const Tier tier : phase.down) {
    w.string(tier_name(tier));
  }
  w.end_array();
  w.field("length_ms", static_cast<std::int64_t>(phase.length.count()));
}

std::string percent(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? "-"
                    : fmt::format("{:.2f} %",
                                  100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string ms(std::int64_t value) {
  return value < 0 ? "-" : fmt::format("{} ms", value);
}

// Money may be negative here: another tier can be cheaper than the one that is down.
std::string signed_usd(NanoUsd amount) {
  return amount < 0 ? "-" + format_usd(-amount) : format_usd(amount);
}

void write_result(JsonWriter& w, const PhaseResult& result) {
  w.begin_object();
  write_phase(w, result.phase);
  w.field("requests", result.requests);
  w.field("delivered", result.delivered);
  w.field("commercial_dispatches", result.commercial);
  w.field("failovers", result.failovers);
  w.field("failover_p50_ms", result.failover_p50_ms);
  w.field("failover_p99_ms", result.failover_p99_ms);
  w.field("return_ms", result.return_ms);
  w.field("cost_nano", result.cost);
  w.field("extra_cost_nano", result.extra_cost);
  w.field("unpriced_attempts", result.unpriced);
  w.field("first_error", result.first_error);
  w.end_object();
}

}  // namespace

std::string plan_json(const DrillPlan& plan) {
  JsonWriter w;
  w.begin_object();
  w.field("route", plan.route);
  w.field("rate", std::int64_t{plan.rate});
  write_endpoints(w, plan);
  w.key("phases");
  w.begin_array();
  for (const DrillPhase& phase : plan.phases) {
    w.begin_object();
    write_phase(w, phase);
    w.end_object();
  }
  w.end_array();
  w.end_object();
  return w.take();
}

std::string plan_text(const DrillPlan& plan) {
  std::string out = fmt::format(
      "route '{}', {} requests a second; simulated upstreams:\n", plan.route, plan.rate);
  for (const DrillEndpoint& each : plan.endpoints) {
    out += fmt::format("  {:<20} {:<12} first token {} ms, then {} ms a token ({})\n",
                       each.name,
                       tier_name(each.tier),
                       each.first_token.count(),
                       each.between.count(),
                       each.measured ? "medians of the ledger" : "stand-ins: nothing measured yet");
  }
  out += "phases:\n";
  for (const DrillPhase& phase : plan.phases) {
    out += fmt::format("  {:<48} {} ms\n", phase.name, phase.length.count());
  }
  return out;
}

std::string report_json(const DrillReport& report) {
  JsonWriter w;
  w.begin_object();
  w.field("time", format_rfc3339(report.started_unix_ms));
  w.field("version", GENESIS_VERSION);
  w.field("route", report.plan.route);
  w.field("rate", std::int64_t{report.plan.rate});
  write_endpoints(w, report.plan);
  w.field("requests", report.requests);
  w.field("delivered", report.delivered);
  w.field_number("availability_percent", report.availability_percent());
  w.field("commercial_dispatches", report.commercial);
  w.field("commercial_share", report.cap);
  w.field_bool("commercial_cap_reached", report.cap_reached);
  w.field("extra_cost_nano", report.extra_cost);
  w.field("evidence", report.evidence);
  w.key("phases");
  w.begin_array();
  for (const PhaseResult& result : report.phases) {
    write_result(w, result);
  }
  w.end_array();
  w.end_object();
  return w.take();
}

std::string report_text(const DrillReport& report) {
  std::string out = fmt::format("{:<44} {:>8} {:>10} {:>9} {:>9} {:>9} {:>7} {:>14}\n",
                                "PHASE",
                                "REQUESTS",
                                "AVAILABLE",
                                "FAIL p50",
                                "FAIL p99",
                                "RETURN",
                                "PAID",
                                "EXTRA USD");
  for (const PhaseResult& each : report.phases) {
    out += fmt::format("{:<44} {:>8} {:>10} {:>9} {:>9} {:>9} {:>7} {:>14}\n",
                       each.phase.name,
                       each.requests,
                       percent(each.delivered, each.requests),
                       ms(each.failover_p50_ms),
                       ms(each.failover_p99_ms),
                       ms(each.return_ms),
                       each.commercial,
                       signed_usd(each.extra_cost));
  }
  out += fmt::format("\navailability  {:.3f} % ({} of {} requests)\n",
                     report.availability_percent(),
                     report.delivered,
                     report.requests);
  out += fmt::format("extra cost    {} USD\n", signed_usd(report.extra_cost));
  out += fmt::format("commercial    {} dispatches, {} of all requests{}\n",
                     report.commercial,
                     percent(report.commercial, report.requests),
                     report.cap.empty() ? "; no cap" : "; " + report.cap);
  if (report.cap_reached) {
    out +=
        "              the cap was reached: raise commercial.max_share, or add a tier before it\n";
  }
  for (const PhaseResult& each : report.phases) {
    if (!each.first_error.empty()) {
      out += fmt::format("not delivered ({}): {}\n", each.phase.name, each.first_error);
    }
    if (each.unpriced > 0) {
      out += fmt::format("no price known for {} attempt(s) in '{}': the extra cost lacks them\n",
                         each.unpriced,
                         each.phase.name);
    }
  }
  return out + fmt::format("evidence      {}\n", report.evidence);
}

}  // namespace genesis::app
