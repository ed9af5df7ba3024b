// RuleRouter: the rule policy. A route names endpoints in order; usable ones come first in that
// order, the others stay behind them as a last resort.
#pragma once

#include "api/routing.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::router {

struct RouteRule {
  std::string name;                    // what clients put into `model`
  std::vector<std::string> endpoints;  // in order of preference
  std::vector<std::string> aliases;    // further names for the same rule

  bool answers_to(std::string_view word) const {
    return name == word || std::ranges::find(aliases, word) != aliases.end();
  }
};

// Immutable; safe from any thread. Beside the rules, an endpoint's name and a model's name are
// routes of their own, so that a client can ask for exactly one.
class RuleRouter final : public Router {
 public:
  explicit RuleRouter(std::vector<RouteRule> rules) : rules_(std::move(rules)) {}

  Result<Plan> plan(const RouteFeatures& features,
                    std::span<const EndpointSnapshot> endpoints) const override;

  const std::vector<RouteRule>& rules() const { return rules_; }

 private:
  std::vector<RouteRule> rules_;
};

}  // namespace genesis::router
