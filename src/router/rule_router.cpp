#include "router/rule_router.h"

#include "router/predict.h"
#include "router/rule_policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace genesis::router {

namespace {

using Endpoints = std::span<const EndpointSnapshot>;

// An endpoint that a name stands for, before anybody asked how it is.
struct Slot {
  const EndpointSnapshot* endpoint = nullptr;
  int group = 0;
  std::string why;
};

std::vector<const EndpointSnapshot*> endpoints_of(const RouterRules& rules,
                                                  const std::string& name,
                                                  Endpoints endpoints) {
  std::vector<const EndpointSnapshot*> found;
  const auto add_named = [&](const std::string& wanted) {
    const auto at = std::ranges::find(endpoints, wanted, &EndpointSnapshot::name);
    if (at != endpoints.end()) {
      found.push_back(&*at);
    }
  };
  if (const RouteRule* rule = rules.route(name)) {
    std::ranges::for_each(rule->endpoints, add_named);
    return found;
  }
  add_named(name);
  if (!found.empty()) {
    return found;
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

// Appends what is not there yet; neighbours of one tier share a group.
void append(std::vector<Slot>& slots,
            const std::vector<const EndpointSnapshot*>& found,
            const std::string& why) {
  int group = slots.empty() ? 0 : slots.back().group + 1;
  const EndpointSnapshot* previous = nullptr;
  for (const EndpointSnapshot* endpoint : found) {
    if (std::ranges::find(slots, endpoint, &Slot::endpoint) != slots.end()) {
      continue;
    }
    group += previous != nullptr && previous->tier != endpoint->tier ? 1 : 0;
    slots.push_back({.endpoint = endpoint, .group = group, .why = why});
    previous = endpoint;
  }
}

std::string task_of(const RouterRules& rules, const RouteFeatures& features) {
  if (!features.caller.task.empty()) {
    return features.caller.task;
  }
  const AgentRule* agent = rules.agent(features.route);
  if (agent == nullptr) {
    agent = rules.agent(features.caller.agent);
  }
  return agent == nullptr ? "" : agent->task;
}

// A cheap task moves what a route or an agent would ask; who names one endpoint or model gets it.
std::vector<Slot> resolve(const RouterRules& rules,
                          const RouteFeatures& features,
                          Endpoints endpoints) {
  const AgentRule* agent = rules.agent(features.route);
  const std::string& asked = agent == nullptr ? features.route : agent->model;
  const auto found = endpoints_of(rules, asked, endpoints);
  std::vector<Slot> slots;
  if (found.empty()) {
    return slots;
  }
  if (agent != nullptr || rules.route(features.route) != nullptr) {
    const std::string task = task_of(rules, features);
    const auto cheap = task.empty() ? rules.cheap_models.end() : rules.cheap_models.find(task);
    if (cheap != rules.cheap_models.end()) {
      append(slots,
             endpoints_of(rules, cheap->second, endpoints),
             fmt::format("task '{}' goes to {} first, ", task, cheap->second));
    }
  }
  append(slots, found, agent == nullptr ? "" : fmt::format("agent '{}', ", agent->name));
  return slots;
}

std::unexpected<Error> unknown_name(const RouterRules& rules,
                                    const std::string& name,
                                    Endpoints endpoints) {
  std::vector<std::string> names;
  for (const RouteRule& rule : rules.routes) {
    names.push_back(rule.name);
  }
  for (const AgentRule& agent : rules.agents) {
    names.push_back(agent.name);
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

std::unexpected<Error> share_cap_error(const std::string& route,
                                       const ShareCap& cap,
                                       const ShareCapState& state) {
  Error error;
  error.code = ErrorCode::kUnavailable;
  error.type = "commercial_share_cap";
  error.message =
      fmt::format("only commercial endpoints are left for '{}' and their share is used up ({})",
                  route,
                  state.to_string(cap.options()));
  error.hint = "try later, raise commercial.max_share, or add an endpoint of another tier";
  error.retry_after = state.next_room;
  return std::unexpected(std::move(error));
}

// The route's endpoints by what may be done with them now.
struct Sorted {
  std::vector<Candidate> usable;  // the policy orders these
  std::vector<Candidate> behind;  // full, or recovering and not drawn
  std::vector<Candidate> last;    // cannot take work, as far as is known
  std::vector<Candidate> ruled_out;
};

Candidate make_candidate(const Slot& slot, const RouteRule& rule, const RouteFeatures& features) {
  const EndpointSnapshot& endpoint = *slot.endpoint;
  const bool hourly = endpoint.price.per_hour && endpoint.price.input.value_or(0) == 0;
  return {
      .endpoint = &endpoint,
      .group = slot.group,
      .weight = rule.weight_of(endpoint.name),
      .reason = fmt::format(
          "{}{} tier{}", slot.why, tier_name(endpoint.tier), hourly ? ", paid by the hour" : ""),
      .predicted_cost = predict_cost(endpoint.price, features, 0),
      .predicted_first_token_ms = predict_first_token_ms(endpoint)};
}

void sort_in(Candidate candidate,
             const RouteFeatures& features,
             const ShareCap* cap,
             Sorted& sorted) {
  const EndpointSnapshot& endpoint = *candidate.endpoint;
  if (endpoint.tier == Tier::kCommercial && cap != nullptr) {
    const ShareCapState state = cap->state(features.now);
    if (state.full()) {
      candidate.reason = "ruled out, commercial share used up: " + state.to_string(cap->options());
      sorted.ruled_out.push_back(std::move(candidate));
      return;
    }
    if (state.limited) {
      candidate.reason += ", share " + state.to_string(cap->options());
    }
  }
  if (!endpoint.usable || endpoint.phase == EndpointPhase::kDraining) {
    candidate.reason =
        fmt::format("last resort: {}", endpoint.usable ? "draining" : endpoint.why_not);
    sorted.last.push_back(std::move(candidate));
  } else if (endpoint.max_in_flight > 0 && endpoint.in_flight >= endpoint.max_in_flight) {
    candidate.reason +=
        fmt::format(", full: {} of {} in flight", endpoint.in_flight, endpoint.max_in_flight);
    sorted.behind.push_back(std::move(candidate));
  } else if (endpoint.ramp < 1 && draw_again(features.draw, endpoint.name) >= endpoint.ramp) {
    candidate.reason += fmt::format(", coming back: gets {:.0f} % for now", 100 * endpoint.ramp);
    sorted.behind.push_back(std::move(candidate));
  } else {
    sorted.usable.push_back(std::move(candidate));
  }
}

void write_steps(const std::vector<Candidate>& candidates, bool chosen, Plan& plan) {
  for (const Candidate& each : candidates) {
    if (chosen) {
      plan.steps.push_back({.endpoint = each.endpoint->name,
                            .reason = each.reason,
                            .predicted_cost = each.predicted_cost});
    }
    plan.alternatives.push_back({.endpoint = each.endpoint->name,
                                 .model = each.endpoint->model,
                                 .tier = each.endpoint->tier,
                                 .chosen = chosen,
                                 .reason = each.reason,
                                 .predicted_cost = each.predicted_cost,
                                 .predicted_first_token_ms = each.predicted_first_token_ms});
  }
}

}  // namespace

RuleRouter::RuleRouter(RouterRules rules, RouterState state)
    : rules_(std::move(rules)), state_(std::move(state)) {
  add_policy(std::make_unique<RulePolicy>(state_.pins));
}

void RuleRouter::add_policy(std::unique_ptr<Policy> policy) {
  std::string name(policy->name());
  policies_[std::move(name)] = std::move(policy);
}

const RouteRule& RuleRouter::rule_of(const std::string& asked) const {
  const AgentRule* agent = rules_.agent(asked);
  const RouteRule* rule = rules_.route(agent == nullptr ? asked : agent->model);
  return rule == nullptr ? plain_ : *rule;
}

// The configuration was checked, so a rule's policy is there; a name asked for directly has the
// plain rule.
Policy& RuleRouter::policy_of(const RouteRule& rule) const {
  const auto at = policies_.find(rule.policy);
  return at == policies_.end() ? *policies_.find("rule")->second : *at->second;
}

Result<Plan> RuleRouter::plan(const RouteFeatures& features, Endpoints endpoints) const {
  const std::vector<Slot> slots = resolve(rules_, features, endpoints);
  if (slots.empty()) {
    return unknown_name(rules_, features.route, endpoints);
  }
  const RouteRule& rule = rule_of(features.route);
  Sorted sorted;
  for (const Slot& slot : slots) {
    sort_in(make_candidate(slot, rule, features), features, state_.cap.get(), sorted);
  }
  if (sorted.ruled_out.size() == slots.size()) {
    return share_cap_error(features.route, *state_.cap, state_.cap->state(features.now));
  }
  const Policy& policy = policy_of(rule);
  policy.order(rule, features, sorted.usable);
  Plan plan{.route = features.route,
            .policy = std::string(policy.name()),
            .steps = {},
            .alternatives = {},
            .hedge_after = rule.hedge_after,
            .rescue = rule.rescue,
            .hold = rule.hold};
  write_steps(sorted.usable, true, plan);
  write_steps(sorted.behind, true, plan);
  write_steps(sorted.last, true, plan);
  write_steps(sorted.ruled_out, false, plan);
  return plan;
}

void RuleRouter::on_dispatch(const RouteFeatures& features, const EndpointSnapshot& endpoint) {
  const RouteRule& rule = rule_of(features.route);
  policy_of(rule).on_dispatch(rule, features, endpoint);
}

void RuleRouter::on_finished(const RequestTrace& trace) {
  if (state_.cap && !trace.attempts.empty()) {
    state_.cap->count_request(trace.features.now);
  }
  const RouteRule& rule = rule_of(trace.features.route);
  policy_of(rule).on_finished(rule, trace);
}

}  // namespace genesis::router
