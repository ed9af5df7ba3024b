// RuleRouter: from a name to a plan. Finds the endpoints a name stands for, leaves out what the
// commercial share cap rules out, asks the route's policy for an order, and puts endpoints that
// recover, are full or cannot take work behind the others.
#pragma once

#include "api/routing.h"
#include "router/policy.h"
#include "router/route_rules.h"
#include "router/share_cap.h"
#include "router/sticky_table.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::router {

// What outlives a reload of the configuration.
struct RouterState {
  std::shared_ptr<StickyTable> pins = std::make_shared<StickyTable>();
  std::shared_ptr<ShareCap> cap;  // null: no cap; the dispatches are counted by CappedChat
};

// Beside routes and agents, an endpoint's name and a model's name are routes of their own, so that
// a client can ask for exactly one. Thread-safe; the rules never change.
class RuleRouter final : public Router, public RequestObserver {
 public:
  explicit RuleRouter(RouterRules rules, RouterState state = {});

  // A further policy that routes can name; before the first plan().
  void add_policy(std::unique_ptr<Policy> policy);

  Result<Plan> plan(const RouteFeatures& features,
                    std::span<const EndpointSnapshot> endpoints) const override;

  void on_dispatch(const RouteFeatures& features, const EndpointSnapshot& endpoint) override;
  void on_finished(const RequestTrace& trace) override;

  const RouterRules& rules() const { return rules_; }

 private:
  const RouteRule& rule_of(const std::string& asked) const;
  Policy& policy_of(const RouteRule& rule) const;

  RouterRules rules_;
  RouterState state_;
  RouteRule plain_;  // for endpoints and models asked for by name
  std::map<std::string, std::unique_ptr<Policy>, std::less<>> policies_;
};

}  // namespace genesis::router
