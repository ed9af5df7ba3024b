// The policy seam: a policy puts the usable endpoints of a route into the order in which they are
// asked. One file for each policy, its tests beside it. Everything that holds for every policy
// (names, the share cap, unusable and recovering endpoints) is RuleRouter's.
#pragma once

#include "api/routing.h"
#include "router/route_rules.h"

#include <string>
#include <string_view>
#include <vector>

namespace genesis::router {

// A usable endpoint of the route, and what asking it would probably cost.
struct Candidate {
  const EndpointSnapshot* endpoint = nullptr;
  // Ascending along the route's list; candidates of one group are of one tier and may trade places
  // for load. A policy that knows better may cross groups.
  int group = 0;
  int weight = 1;
  std::string reason;  // why there; the router's words, to which a policy adds its own
  NanoUsd predicted_cost = -1;
  double predicted_first_token_ms = 0;
};

// Features a policy cannot do without: whoever makes RouteFeatures need not compute the others.
struct PolicyNeeds {
  bool session = false;
  bool prefix = false;
  bool token_counts = false;
};

class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::string_view name() const = 0;
  virtual PolicyNeeds needs() const = 0;
  // `candidates` come in ascending groups, within a group in the route's order. Never adds nor
  // removes one. As pure as Router::plan().
  virtual void order(const RouteRule& rule,
                     const RouteFeatures& features,
                     std::vector<Candidate>& candidates) const = 0;

  // As RequestObserver's.
  virtual void on_dispatch(const RouteRule& /*rule*/,
                           const RouteFeatures& /*features*/,
                           const EndpointSnapshot& /*endpoint*/) {}

  virtual void on_finished(const RouteRule& /*rule*/, const RequestTrace& /*trace*/) {}
};

}  // namespace genesis::router
