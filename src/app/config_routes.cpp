// Reads what the configuration says about routing: routes, agents, cheap tasks, the cap on the
// commercial tier, and how long traces are kept.
#include "api/catalog.h"
#include "app/config_read.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace genesis::app {

namespace {

constexpr std::array kTiers = {Tier::kSelfHosted, Tier::kManaged, Tier::kCommercial};

std::string meant(const std::string& word,
                  const std::vector<std::string>& known,
                  std::string otherwise) {
  const std::string near = nearest(word, known);
  return near.empty() ? std::move(otherwise) : fmt::format("did you mean '{}'?", near);
}

// The endpoints of a tier, in the order of the file. An adapter is a voice of its own, not one more
// that could answer for its model: who wants it names it.
std::vector<std::string> endpoints_of(const Config& config, Tier tier) {
  std::vector<std::string> names;
  for (const EndpointConfig& endpoint : config.endpoints) {
    if (endpoint.tier == tier && endpoint.adapter_of.empty()) {
      names.push_back(endpoint.name);
    }
  }
  return names;
}

Result<std::vector<Tier>> read_tiers(const OptionMap& map, const std::string& prefix) {
  std::vector<Tier> tiers;
  for (const std::string& name : list_of(map, prefix + "tiers")) {
    const auto tier = tier_from_name(name);
    if (!tier) {
      return config_error(
          prefix + "tiers",
          fmt::format("{}: there is no tier '{}'", line_of(map, prefix, "tiers"), name),
          meant(name,
                {"self_hosted", "managed", "commercial"},
                "tiers are self_hosted, managed and commercial"));
    }
    tiers.push_back(*tier);
  }
  return tiers;
}

Result<void> check_endpoints(const OptionMap& map,
                             const std::string& prefix,
                             const router::RouteRule& rule,
                             const Config& config) {
  std::vector<std::string> known;
  for (const EndpointConfig& endpoint : config.endpoints) {
    known.push_back(endpoint.name);
  }
  for (const std::string& name : rule.endpoints) {
    if (std::ranges::find(known, name) == known.end()) {
      return config_error(prefix + "endpoints",
                          fmt::format("{}: route '{}' names the unknown endpoint '{}'",
                                      find(map, prefix)->origin,
                                      rule.name,
                                      name),
                          meant(name, known, "add an [[endpoint]] of that name"));
    }
  }
  return {};
}

// `tiers` picks and orders: of the named endpoints, or of all.
Result<void> apply_tiers(const OptionMap& map,
                         const std::string& prefix,
                         const Config& config,
                         router::RouteRule& rule) {
  GENESIS_TRY(const std::vector<Tier> tiers, read_tiers(map, prefix));
  if (tiers.empty()) {
    return {};
  }
  const std::vector<std::string> named = std::move(rule.endpoints);
  rule.endpoints.clear();
  for (const Tier tier : tiers) {
    const std::vector<std::string> of_tier = endpoints_of(config, tier);
    for (const std::string& name : named.empty() ? of_tier : named) {
      if (std::ranges::find(of_tier, name) != of_tier.end()) {
        rule.endpoints.push_back(name);
      }
    }
  }
  if (rule.endpoints.empty()) {
    return config_error(prefix + "tiers",
                        fmt::format("{}: route '{}' has no endpoint in these tiers",
                                    line_of(map, prefix, "tiers"),
                                    rule.name),
                        "add an [[endpoint]] of one of them");
  }
  return {};
}

Result<void> read_balance(const OptionMap& map,
                          const std::string& prefix,
                          router::RouteRule& rule) {
  const std::string table = prefix + "weights.";
  for (auto at = map.lower_bound(table); at != map.end() && at->first.starts_with(table); ++at) {
    const std::string name = at->first.substr(table.size());
    if (std::ranges::find(rule.endpoints, name) == rule.endpoints.end()) {
      return config_error(
          at->first,
          fmt::format("{}: route '{}' has no endpoint '{}'", at->second.origin, rule.name, name),
          meant(name, rule.endpoints, "weights are for endpoints of the same route"));
    }
    rule.weights[name] = static_cast<int>(integer_of(map, at->first));
  }
  const std::string balance = text_of(map, prefix + "balance");
  if (balance == "order" && !rule.weights.empty()) {
    return config_error(prefix + "balance",
                        fmt::format("{}: balance = \"order\" has no use for weights",
                                    line_of(map, prefix, "balance")),
                        "weights go with \"weighted\" or \"least_load\"");
  }
  if (balance == "least_load") {
    rule.balance = router::Balance::kLeastLoad;
  } else if (balance == "weighted" || !rule.weights.empty()) {
    rule.balance = router::Balance::kWeighted;
  }
  return {};
}

Result<router::RouteRule> read_route(const OptionMap& map,
                                     const std::string& prefix,
                                     const Config& config) {
  router::RouteRule rule{.name = text_of(map, prefix + "name"),
                         .endpoints = list_of(map, prefix + "endpoints"),
                         .aliases = list_of(map, prefix + "aliases")};
  if (!is_name(rule.name) || (rule.endpoints.empty() && list_of(map, prefix + "tiers").empty())) {
    return config_error(
        prefix + "name",
        fmt::format("{}: a [[route]] needs a 'name' and a list of 'endpoints' or 'tiers'",
                    find(map, prefix)->origin));
  }
  GENESIS_TRY_VOID(check_endpoints(map, prefix, rule, config));
  GENESIS_TRY_VOID(apply_tiers(map, prefix, config, rule));
  GENESIS_TRY_VOID(read_balance(map, prefix, rule));
  const std::string sticky = text_of(map, prefix + "sticky");
  rule.sticky = sticky == "session"  ? router::Sticky::kSession
                : sticky == "prefix" ? router::Sticky::kPrefix
                                     : router::Sticky::kOff;
  rule.hedge_after = std::chrono::milliseconds(integer_of(map, prefix + "hedge_ms"));
  const std::string rescue = text_of(map, prefix + "rescue");
  rule.rescue = rescue != "off";
  rule.hold = rescue == "hold";
  return rule;
}

// A name must lead to one place: nothing that was read before may have it.
Result<void> check_name(const std::string& name,
                        const Config& config,
                        const std::string& where,
                        const std::string& key) {
  const auto is_route = [&](const router::RouteRule& rule) { return rule.answers_to(name); };
  if (std::ranges::any_of(config.routes, is_route) ||
      std::ranges::count(config.agents, name, &router::AgentRule::name) > 0 ||
      std::ranges::count(config.endpoints, name, &EndpointConfig::name) > 0) {
    return config_error(
        key,
        fmt::format("{}: '{}' is already the name of an endpoint, a route, an alias or an agent",
                    where,
                    name),
        "give it another name");
  }
  return {};
}

Result<void> check_names(const router::RouteRule& rule,
                         const Config& config,
                         const std::string& where) {
  std::vector<std::string> names = rule.aliases;
  names.push_back(rule.name);
  for (const std::string& name : names) {
    GENESIS_TRY_VOID(check_name(name, config, where, "route.name"));
    if (std::ranges::count(names, name) > 1) {
      return config_error(
          "route.name",
          fmt::format("{}: route '{}' has the name '{}' twice", where, rule.name, name),
          "give the alias another name");
    }
  }
  return {};
}

// An own baseline holds for every name of the route.
void read_baseline(const OptionMap& map, const std::string& prefix, Config& config) {
  const std::string model = text_of(map, prefix + "baseline");
  if (model.empty()) {
    return;
  }
  const router::RouteRule& rule = config.routes.back();
  config.baselines.routes[rule.name] = model;
  for (const std::string& alias : rule.aliases) {
    config.baselines.routes[alias] = model;
  }
}

Result<void> read_routes(const OptionMap& map, Config& config) {
  for (int i = 0; map.contains(fmt::format("route[{}].", i)); ++i) {
    const std::string prefix = fmt::format("route[{}].", i);
    GENESIS_TRY(router::RouteRule rule, read_route(map, prefix, config));
    GENESIS_TRY_VOID(check_names(rule, config, find(map, prefix)->origin));
    config.routes.push_back(std::move(rule));
    read_baseline(map, prefix, config);
  }
  const auto is_default = [&](const router::RouteRule& rule) {
    return rule.name == config.default_route;
  };
  if (std::ranges::any_of(config.routes, is_default)) {
    return {};
  }
  if (!config.routes.empty() && config.default_route != "auto") {
    return config_error("routing.default_route",
                        fmt::format("no [[route]] is called '{}'", config.default_route));
  }
  // Without a rule of its own the default route takes the endpoints tier by tier.
  router::RouteRule rule{.name = config.default_route, .endpoints = {}, .aliases = {}};
  for (const Tier tier : kTiers) {
    const auto names = endpoints_of(config, tier);
    rule.endpoints.insert(rule.endpoints.end(), names.begin(), names.end());
  }
  config.routes.push_back(std::move(rule));
  return {};
}

// What an agent or a cheap task may lead to.
std::vector<std::string> destinations(const Config& config) {
  std::vector<std::string> names;
  for (const router::RouteRule& rule : config.routes) {
    names.push_back(rule.name);
    names.insert(names.end(), rule.aliases.begin(), rule.aliases.end());
  }
  for (const EndpointConfig& endpoint : config.endpoints) {
    names.push_back(endpoint.name);
    names.push_back(endpoint.model);
  }
  return names;
}

Result<void> check_destination(const std::string& name,
                               const Config& config,
                               const std::string& where,
                               const std::string& key) {
  const auto known = destinations(config);
  if (std::ranges::find(known, name) == known.end()) {
    return config_error(
        key,
        fmt::format("{}: '{}' is no route, endpoint or endpoint's model", where, name),
        meant(name, known, "add an [[endpoint]] that serves it"));
  }
  return {};
}

// The short form of a [[budget]] of that agent; those in long form are read later.
Result<void> read_agent_budget(const OptionMap& map,
                               const std::string& prefix,
                               const std::string& agent,
                               Config& config) {
  const std::string text = text_of(map, prefix + "budget");
  if (text.empty()) {
    return {};
  }
  auto budget = ledger::parse_budget_amount(text);
  if (!budget) {
    return config_error(
        prefix + "budget",
        fmt::format("{}: 'budget': {}", line_of(map, prefix, "budget"), budget.error().message),
        "budget = \"30.00/month\"");
  }
  budget->scope = ledger::BudgetScope::kAgent;
  budget->subject = agent;
  budget->origin = "file";
  config.spend_limits.push_back(std::move(*budget));
  return {};
}

Result<void> read_agents(const OptionMap& map, Config& config) {
  for (int i = 0; map.contains(fmt::format("agent[{}].", i)); ++i) {
    const std::string prefix = fmt::format("agent[{}].", i);
    const std::string where = find(map, prefix)->origin;
    router::AgentRule agent{.name = text_of(map, prefix + "name"),
                            .model = text_of(map, prefix + "model"),
                            .task = text_of(map, prefix + "task")};
    if (!is_name(agent.name) || agent.model.empty()) {
      return config_error(prefix + "name",
                          fmt::format("{}: an [[agent]] needs a 'name' and a 'model'", where),
                          "model names a route, an endpoint or an endpoint's model");
    }
    GENESIS_TRY_VOID(check_name(agent.name, config, where, prefix + "name"));
    GENESIS_TRY_VOID(
        check_destination(agent.model, config, line_of(map, prefix, "model"), prefix + "model"));
    if (const auto own = config.baselines.routes.find(agent.model);
        own != config.baselines.routes.end()) {
      config.baselines.routes[agent.name] = own->second;
    }
    GENESIS_TRY_VOID(read_agent_budget(map, prefix, agent.name, config));
    config.agents.push_back(std::move(agent));
  }
  return {};
}

Result<void> read_cheap_models(const OptionMap& map, Config& config) {
  const std::string table = "cheap_model_mapping.";
  for (auto at = map.lower_bound(table); at != map.end() && at->first.starts_with(table); ++at) {
    const std::string& model = at->second.text;
    GENESIS_TRY_VOID(check_destination(model, config, at->second.origin, at->first));
    config.cheap_models[at->first.substr(table.size())] = model;
  }
  return {};
}

// "1%", "0.25%" -> parts per million.
Result<std::int64_t> read_share(const OptionValue& value) {
  std::string_view text = value.text;
  const auto wrong = [&] {
    return config_error(
        "commercial.max_share",
        fmt::format("{}: 'commercial.max_share' must be a percentage between 0% and 100%",
                    value.origin),
        "max_share = \"1%\"");
  };
  if (!text.ends_with('%')) {
    return wrong();
  }
  text.remove_suffix(1);
  const std::size_t dot = std::min(text.find('.'), text.size());
  // One percent is 10,000 parts per million, so four decimals are exact.
  std::string digits(text.substr(0, dot));
  std::string decimals(text.substr(std::min(dot + 1, text.size())));
  if (digits.empty() || digits.size() > 3 || decimals.size() > 4 ||
      (dot < text.size() && decimals.empty())) {
    return wrong();
  }
  decimals.resize(4, '0');
  digits += decimals;
  std::int64_t ppm = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), ppm);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size() || ppm < 0 ||
      ppm > 1'000'000) {
    return wrong();
  }
  return ppm;
}

// A cap is a share of what the other tiers do, so a configuration that has no other tier gets one
// only if it asks for it.
Result<void> read_commercial_cap(const OptionMap& map, Config& config) {
  router::ShareCapOptions cap;
  GENESIS_TRY(cap.max_share_ppm, read_share(map.at("commercial.max_share")));
  GENESIS_TRY(cap.window, duration_of(map, "commercial.window"));
  cap.min_requests = integer_of(map, "commercial.min_requests");
  const bool asked_for = map.at("commercial.max_share").origin != "default";
  const bool other_tier = std::ranges::any_of(
      config.endpoints, [](const EndpointConfig& each) { return each.tier != Tier::kCommercial; });
  if (asked_for || other_tier) {
    config.commercial_cap = cap;
  }
  return {};
}

}  // namespace

Result<void> read_routing(const OptionMap& map, Config& config) {
  GENESIS_TRY_VOID(read_routes(map, config));
  GENESIS_TRY_VOID(read_agents(map, config));
  GENESIS_TRY_VOID(read_cheap_models(map, config));
  GENESIS_TRY_VOID(read_commercial_cap(map, config));
  config.traces.max_requests = integer_of(map, "traces.max_requests");
  GENESIS_TRY(config.traces.max_age, duration_of(map, "traces.max_age"));
  return {};
}

bool knows_name(const Config& config, std::string_view name) {
  const auto known = destinations(config);
  return std::ranges::find(known, name) != known.end() ||
         std::ranges::count(config.agents, name, &router::AgentRule::name) > 0;
}

router::RouterRules router_rules(const Config& config) {
  return {.routes = config.routes, .agents = config.agents, .cheap_models = config.cheap_models};
}

}  // namespace genesis::app
