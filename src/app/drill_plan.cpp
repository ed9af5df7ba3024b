// What a drill will do: which endpoints are simulated how, and which outages are rehearsed.
#include "app/drill.h"
#include "app/ledger_place.h"
#include "base/clock.h"
#include "ledger/rows.h"
#include "store/database.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

constexpr std::array kOutages = {Outage::kRefuse,
                                 Outage::kHang,
                                 Outage::kRateLimit,
                                 Outage::kServerError,
                                 Outage::kSlow,
                                 Outage::kCut};

// Shares of the length: all well, one outage, the return after it.
constexpr int kHealthyShare = 4;
constexpr int kOutageShare = 5;
constexpr int kReturnShare = 3;

constexpr milliseconds kLongestFirstToken{2'000};  // a drill has to end
constexpr milliseconds kLongestBetween{50};
constexpr std::int64_t kHistoryMs = 7 * 86'400'000LL;
constexpr std::int64_t kHistoryRows = 20'000;
constexpr std::size_t kEnoughAnswers = 5;

// Stand-ins until there are measurements: an engine nearby, one in a data centre, a public API.
milliseconds usual_first_token(Tier tier) {
  switch (tier) {
    case Tier::kSelfHosted:
      return milliseconds(40);
    case Tier::kManaged:
      return milliseconds(80);
    case Tier::kCommercial:
      return milliseconds(150);
  }
  return milliseconds(80);
}

struct Timings {
  std::vector<std::int64_t> first_ms;
  std::vector<std::int64_t> between_ms;
};

std::int64_t median(std::vector<std::int64_t> values) {
  std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
  return values[values.size() / 2];
}

// By endpoint, from the delivered answers of the last week. No ledger, or one that cannot be read,
// leaves the stand-ins.
std::map<std::string, Timings> read_timings(const Config& config) {
  std::map<std::string, Timings> timings;
  std::error_code ignored;
  if (config.database_url.empty() && !std::filesystem::exists(config.ledger_path, ignored)) {
    return timings;
  }
  auto place = ledger_place(config, Home{}, store::OpenMode::kReadOnly);
  const auto database =
      place ? store::Database::open(std::move(*place)) : std::unexpected(place.error());
  const auto rows = database ? ledger::list_rows(**database,
                                                 {.since_ms = SystemClock().unix_ms() - kHistoryMs,
                                                  .limit = kHistoryRows})
                             : std::unexpected(database.error());
  if (!rows) {
    return timings;
  }
  for (const ledger::LedgerRow& row : *rows) {
    if (row.kind == "post" && row.delivered && row.first_token_ms >= 0 && row.usage.output > 1) {
      Timings& of = timings[row.endpoint];
      of.first_ms.push_back(row.first_token_ms);
      of.between_ms.push_back((row.total_ms - row.first_token_ms) / (row.usage.output - 1));
    }
  }
  return timings;
}

DrillEndpoint simulate(const EndpointConfig& endpoint, const std::map<std::string, Timings>& all) {
  DrillEndpoint out{.name = endpoint.name,
                    .model = endpoint.model,
                    .tier = endpoint.tier,
                    .first_token = usual_first_token(endpoint.tier),
                    .between = milliseconds(5)};
  const auto timings = all.find(endpoint.name);
  if (timings != all.end() && timings->second.first_ms.size() >= kEnoughAnswers) {
    out.measured = true;
    out.first_token = std::clamp(
        milliseconds(median(timings->second.first_ms)), milliseconds(1), kLongestFirstToken);
    out.between = std::clamp(
        milliseconds(median(timings->second.between_ms)), milliseconds(1), kLongestBetween);
  }
  return out;
}

std::string tiers_text(const std::vector<Tier>& tiers) {
  std::string out;
  for (const Tier tier : tiers) {
    out += fmt::format("{}{}", out.empty() ? "" : " and ", tier_name(tier));
  }
  return out;
}

std::vector<DrillPhase> plan_phases(const std::vector<Tier>& tiers, milliseconds length) {
  std::vector<DrillPhase> phases = {{.name = "all well", .down = {}}};
  for (const Outage outage : kOutages) {
    phases.push_back({.name = {}, .down = {tiers.front()}, .outage = outage});
  }
  // Deeper: tier by tier, as long as one is left.
  for (std::size_t depth = 2; depth < tiers.size(); ++depth) {
    phases.push_back({.name = {},
                      .down = {tiers.begin(), tiers.begin() + static_cast<std::ptrdiff_t>(depth)},
                      .outage = Outage::kRefuse});
  }
  const auto outages = static_cast<std::int64_t>(phases.size()) - 1;
  const std::int64_t shares = kHealthyShare + outages * (kOutageShare + kReturnShare);
  for (DrillPhase& phase : phases) {
    const int share = phase.outage == Outage::kNone ? kHealthyShare : kOutageShare;
    phase.length = length * share / shares;
    if (phase.outage != Outage::kNone) {
      phase.name = fmt::format("{}: {}", tiers_text(phase.down), outage_name(phase.outage));
    }
  }
  return phases;
}

}  // namespace

Result<DrillPlan> plan_drill(const Config& config, const DrillOptions& options) {
  const std::string route = options.route.empty() ? config.default_route : options.route;
  const router::RouterRules rules = router_rules(config);
  const router::AgentRule* agent = rules.agent(route);
  const router::RouteRule* rule = rules.route(agent == nullptr ? route : agent->model);
  if (rule == nullptr) {
    return fail_param("route",
                      fmt::format("there is no route or agent's route '{}'", route),
                      ErrorCode::kNotFound);
  }
  DrillPlan plan{.route = route, .rate = options.rate, .endpoints = {}, .phases = {}};
  const auto timings = read_timings(config);
  for (const EndpointConfig& endpoint : config.endpoints) {
    plan.endpoints.push_back(simulate(endpoint, timings));
  }
  std::vector<Tier> tiers;
  for (const std::string& name : rule->endpoints) {
    const auto at = std::ranges::find(config.endpoints, name, &EndpointConfig::name);
    if (at != config.endpoints.end() && std::ranges::count(tiers, at->tier) == 0) {
      tiers.push_back(at->tier);
    }
  }
  plan.phases = plan_phases(tiers, options.length);
  return plan;
}

}  // namespace genesis::app
