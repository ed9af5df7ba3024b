// What a configuration says about names: routes with their rule, agents, and which tasks are cheap.
#pragma once

#include "api/chat.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::router {

// How endpoints of one group (neighbours in the route's list that share a tier) share the work.
enum class Balance : std::uint8_t {
  kOrder,      // the first usable one gets it
  kWeighted,   // by weight
  kLeastLoad,  // the less loaded of two drawn ones
};

// What keeps turns that belong together on one endpoint, whose cache they have warmed.
enum class Sticky : std::uint8_t { kOff, kSession, kPrefix };

struct RouteRule {
  std::string name;                    // what clients put into `model`
  std::vector<std::string> endpoints;  // in order of preference
  std::vector<std::string> aliases;    // further names for the same rule
  std::string policy = "rule";
  std::map<std::string, int, std::less<>> weights = {};  // of endpoints; one not named has 1
  Balance balance = Balance::kOrder;
  Sticky sticky = Sticky::kOff;
  std::chrono::milliseconds hedge_after{0};
  bool rescue = true;
  bool hold = false;  // Plan::hold

  bool answers_to(std::string_view word) const {
    return name == word || std::ranges::find(aliases, word) != aliases.end();
  }

  int weight_of(std::string_view endpoint) const {
    const auto at = weights.find(endpoint);
    return at == weights.end() ? 1 : at->second;
  }
};

// An agent of the fleet as a name that `model` can say.
struct AgentRule {
  std::string name;
  std::string model;  // a route, an endpoint or an endpoint's model
  std::string task;   // looked up in the cheap models when the caller names none
};

struct RouterRules {
  std::vector<RouteRule> routes;
  std::vector<AgentRule> agents = {};
  // task -> a route, an endpoint or an endpoint's model that is asked first.
  std::map<std::string, std::string, std::less<>> cheap_models = {};

  const RouteRule* route(std::string_view word) const {
    const auto at =
        std::ranges::find_if(routes, [&](const RouteRule& rule) { return rule.answers_to(word); });
    return at == routes.end() ? nullptr : &*at;
  }

  const AgentRule* agent(std::string_view word) const {
    const auto at = std::ranges::find(agents, word, &AgentRule::name);
    return at == agents.end() ? nullptr : &*at;
  }
};

}  // namespace genesis::router
