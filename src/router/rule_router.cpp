#include "router/rule_router.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace genesis::router {

namespace {

const RouteRule* find_rule(const std::vector<RouteRule>& rules, const std::string& name) {
  for (const RouteRule& rule : rules) {
    if (rule.answers_to(name)) {
      return &rule;
    }
  }
  return nullptr;
}

const EndpointSnapshot* find_endpoint(std::span<const EndpointSnapshot> endpoints,
                                      const std::string& name) {
  const auto at = std::ranges::find(endpoints, name, &EndpointSnapshot::name);
  return at == endpoints.end() ? nullptr : &*at;
}

// The endpoints a name stands for, in order of preference; empty for an unknown name.
std::vector<const EndpointSnapshot*> candidates(const std::vector<RouteRule>& rules,
                                                const std::string& name,
                                                std::span<const EndpointSnapshot> endpoints) {
  std::vector<const EndpointSnapshot*> found;
  if (const RouteRule* rule = find_rule(rules, name)) {
    for (const std::string& wanted : rule->endpoints) {
      if (const EndpointSnapshot* endpoint = find_endpoint(endpoints, wanted)) {
        found.push_back(endpoint);
      }
    }
    return found;
  }
  if (const EndpointSnapshot* endpoint = find_endpoint(endpoints, name)) {
    return {endpoint};
  }
  for (const Tier tier : {Tier::kSelfHosted, Tier::kManaged, Tier::kCommercial}) {
    for (const EndpointSnapshot& endpoint : endpoints) {
      if (endpoint.tier == tier && endpoint.model == name) {
        found.push_back(&endpoint);
      }
    }
  }
  return found;
}

std::unexpected<Error> unknown_name(const std::vector<RouteRule>& rules,
                                    const std::string& name,
                                    std::span<const EndpointSnapshot> endpoints) {
  std::vector<std::string> names;
  for (const RouteRule& rule : rules) {
    names.push_back(rule.name);
  }
  for (const EndpointSnapshot& endpoint : endpoints) {
    names.push_back(endpoint.name);
    names.push_back(endpoint.model);
  }
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  names.resize(std::min<std::size_t>(names.size(), 8));
  auto error = fail_param(
      "model", fmt::format("the model '{}' does not exist here", name), ErrorCode::kNotFound);
  error.error().hint = fmt::format("known names: {}", fmt::join(names, ", "));
  return error;
}

}  // namespace

Result<Plan> RuleRouter::plan(const RouteFeatures& features,
                              std::span<const EndpointSnapshot> endpoints) const {
  const auto found = candidates(rules_, features.route, endpoints);
  if (found.empty()) {
    return unknown_name(rules_, features.route, endpoints);
  }
  Plan plan{.route = features.route, .policy = "rule", .steps = {}};
  for (const EndpointSnapshot* endpoint : found) {
    if (endpoint->usable) {
      plan.steps.push_back(
          {endpoint->name, fmt::format("{} tier, in order", tier_name(endpoint->tier))});
    }
  }
  for (const EndpointSnapshot* endpoint : found) {
    if (!endpoint->usable) {
      plan.steps.push_back({endpoint->name, fmt::format("last resort: {}", endpoint->why_not)});
    }
  }
  return plan;
}

}  // namespace genesis::router
