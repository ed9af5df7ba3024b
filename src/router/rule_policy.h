// RulePolicy: what the configuration says: the route's order, weights or load within a group, and
// staying where the cache is warm as long as moving costs more than it gains.
#pragma once

#include "router/policy.h"
#include "router/sticky_table.h"

#include <memory>
#include <string_view>
#include <vector>

namespace genesis::router {

// Thread-safe; all it learns is in the table, which may be shared.
class RulePolicy final : public Policy {
 public:
  explicit RulePolicy(std::shared_ptr<StickyTable> pins) : pins_(std::move(pins)) {}

  std::string_view name() const override { return "rule"; }

  PolicyNeeds needs() const override {
    return {.session = true, .prefix = true, .token_counts = true};
  }

  void order(const RouteRule& rule,
             const RouteFeatures& features,
             std::vector<Candidate>& candidates) const override;
  // Pins a conversation's first turn at once, so that turns sent side by side stay together.
  void on_dispatch(const RouteRule& rule,
                   const RouteFeatures& features,
                   const EndpointSnapshot& endpoint) override;
  void on_finished(const RouteRule& rule, const RequestTrace& trace) override;

 private:
  void stay_or_move(const RouteRule& rule,
                    const RouteFeatures& features,
                    std::vector<Candidate>& candidates) const;

  std::shared_ptr<StickyTable> pins_;
};

// Whether a conversation with `cached` tokens at `home` should stay there although `other` of the
// same group is first in line; `reason` says why.
struct StayDecision {
  bool stay = true;
  std::string reason;
};

StayDecision weigh_switch(const Candidate& home,
                          const Candidate& other,
                          const RouteFeatures& features,
                          std::int64_t cached);

}  // namespace genesis::router
