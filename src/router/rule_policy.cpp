#include "router/rule_policy.h"

#include "router/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <span>

namespace genesis::router {

namespace {

using Group = std::span<Candidate>;

// A model of 7 to 14 billion parameters on one GPU reads some 5,000 tokens of prompt a second
// (the order of magnitude in vLLM's and SGLang's own benchmarks); only used to compare endpoints
// that cost the same money.
constexpr double kPrefillMsPerToken = 0.2;
// In-flight requests that an endpoint of unknown size takes without making each other wait.
constexpr double kUnknownWidth = 8;

bool is_warm(const Candidate& candidate) {
  return candidate.endpoint->phase == EndpointPhase::kWarm;
}

void move_to_front(Group group, std::size_t index) {
  std::rotate(group.begin(),
              group.begin() + static_cast<std::ptrdiff_t>(index),
              group.begin() + static_cast<std::ptrdiff_t>(index) + 1);
}

// Those that satisfy `test` come first, both parts in their order; returns how many they are.
// Groups are a handful of endpoints, and libstdc++ 12's stable algorithms call what C++17
// deprecated.
template <typename Test>
std::size_t keep_first(Group group, Test test) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (test(group[i])) {
      move_to_front(group.subspan(kept, i - kept + 1), i - kept);
      ++kept;
    }
  }
  return kept;
}

template <typename Key>
void sort_in_place(Group group, Key key) {
  for (std::size_t i = 1; i < group.size(); ++i) {
    const Group sorted = group.first(i);
    const auto at = std::ranges::upper_bound(sorted, key(group[i]), {}, key);
    std::rotate(at, sorted.end(), sorted.end() + 1);
  }
}

// Endpoints without weight are asked when all others have failed.
std::size_t weighted(Group group) {
  return keep_first(group, [](const Candidate& candidate) { return candidate.weight > 0; });
}

void draw_by_weight(Group group, double draw) {
  const std::size_t count = weighted(group);
  const Group drawn = group.first(count);
  const std::int64_t total =
      std::accumulate(drawn.begin(), drawn.end(), std::int64_t{0}, [](auto sum, const auto& each) {
        return sum + each.weight;
      });
  auto ticket = static_cast<std::int64_t>(draw * static_cast<double>(total));
  for (std::size_t i = 0; i < count; ++i) {
    ticket -= drawn[i].weight;
    if (ticket < 0) {
      drawn[i].reason += fmt::format(", weight {} of {}", drawn[i].weight, total);
      move_to_front(group, i);
      return;
    }
  }
}

// Requests it works on, each counted as long as its first token takes, per unit of weight.
double load_of(const Candidate& candidate, double unmeasured_ms) {
  const EndpointSnapshot& endpoint = *candidate.endpoint;
  const double first_token_ms =
      endpoint.first_token_ms > 0 ? endpoint.first_token_ms : unmeasured_ms;
  return (endpoint.in_flight + 1) * first_token_ms / std::max(candidate.weight, 1);
}

// The quickest one measured stands for those not measured yet, so that they get their chance.
double quickest_ms(Group group) {
  double quickest = 0;
  for (const Candidate& each : group) {
    const double ms = each.endpoint->first_token_ms;
    if (ms > 0 && (quickest == 0 || ms < quickest)) {
      quickest = ms;
    }
  }
  return quickest > 0 ? quickest : 1;
}

// Power of two choices: comparing two drawn ones spreads load almost as well as comparing all, and
// does not send a herd to the one that looked best a moment ago.
void draw_by_load(Group group, double draw) {
  const std::size_t count = weighted(group);
  if (count < 2) {
    return;
  }
  const double unmeasured_ms = quickest_ms(group);
  sort_in_place(group.first(count),
                [&](const Candidate& each) { return load_of(each, unmeasured_ms); });
  const auto below = [](double uniform, std::size_t bound) {
    return std::min(static_cast<std::size_t>(uniform * static_cast<double>(bound)), bound - 1);
  };
  const std::size_t one = below(draw, count);
  std::size_t other = below(draw_again(draw, "second choice"), count - 1);
  other += other >= one ? 1 : 0;
  const std::size_t best = std::min(one, other);  // sorted by load
  const EndpointSnapshot& chosen = *group[best].endpoint;
  group[best].reason += fmt::format(", less loaded of two: {} in flight, first token {:.0f} ms",
                                    chosen.in_flight,
                                    chosen.first_token_ms);
  move_to_front(group, best);
}

void arrange(Group group, Balance balance, double draw) {
  const Group warm = group.first(keep_first(group, is_warm));
  for (Candidate& each : group.subspan(warm.size())) {
    each.reason += fmt::format(", not warm: ready in about {:.0f} ms", each.endpoint->warm_up_ms);
  }
  switch (balance) {
    case Balance::kOrder:
      break;
    case Balance::kWeighted:
      draw_by_weight(warm, draw);
      break;
    case Balance::kLeastLoad:
      draw_by_load(warm, draw);
      break;
  }
}

// Which table entry a request belongs to; nullopt: none.
std::optional<std::uint64_t> sticky_key(const RouteRule& rule, const RouteFeatures& features) {
  const std::hash<std::string_view> hash;
  const std::uint64_t tenant = hash(features.tenant) * 0x9E3779B97F4A7C15ULL;
  switch (rule.sticky) {
    case Sticky::kOff:
      return std::nullopt;
    case Sticky::kSession:
      return features.caller.session.empty()
                 ? std::nullopt
                 : std::optional(tenant ^ hash(features.caller.session) ^ (hash(rule.name) << 1U));
    case Sticky::kPrefix:
      return features.prefix == 0
                 ? std::nullopt
                 : std::optional(tenant ^ features.prefix ^ (hash(rule.name) << 1U));
  }
  return std::nullopt;
}

// How long a request waits behind those in flight.
double wait_ms(const EndpointSnapshot& endpoint) {
  const double width = endpoint.max_in_flight > 0 ? endpoint.max_in_flight : kUnknownWidth;
  return endpoint.first_token_ms * endpoint.in_flight / width;
}

}  // namespace

StayDecision weigh_switch(const Candidate& home,
                          const Candidate& other,
                          const RouteFeatures& features,
                          std::int64_t cached) {
  const NanoUsd stay_cost = predict_cost(home.endpoint->price, features, cached);
  const NanoUsd move_cost = predict_cost(other.endpoint->price, features, 0);
  if (stay_cost >= 0 && move_cost >= 0 && stay_cost != move_cost) {
    const bool stay = stay_cost < move_cost;
    return {.stay = stay,
            .reason = fmt::format("{} USD with {} cached tokens here, {} USD at '{}'",
                                  format_usd(stay_cost),
                                  cached,
                                  format_usd(move_cost),
                                  other.endpoint->name)};
  }
  const double prefill_ms = static_cast<double>(cached) * kPrefillMsPerToken;
  const double gain_ms = wait_ms(*home.endpoint) - wait_ms(*other.endpoint);
  return {.stay = prefill_ms >= gain_ms,
          .reason = fmt::format("reading {} tokens again costs {:.0f} ms, '{}' is {:.0f} ms ahead",
                                cached,
                                prefill_ms,
                                other.endpoint->name,
                                std::max(gain_ms, 0.0))};
}

void RulePolicy::order(const RouteRule& rule,
                       const RouteFeatures& features,
                       std::vector<Candidate>& candidates) const {
  const Group all(candidates);
  for (std::size_t begin = 0; begin < all.size();) {
    std::size_t end = begin;
    while (end < all.size() && all[end].group == all[begin].group) {
      ++end;
    }
    arrange(all.subspan(begin, end - begin), rule.balance, features.draw);
    begin = end;
  }
  stay_or_move(rule, features, candidates);
}

void RulePolicy::stay_or_move(const RouteRule& rule,
                              const RouteFeatures& features,
                              std::vector<Candidate>& candidates) const {
  const auto key = sticky_key(rule, features);
  const auto pin = key ? pins_->find(*key, features.now) : std::nullopt;
  if (!pin || candidates.empty()) {
    return;
  }
  const auto home = std::ranges::find_if(candidates, [&](const Candidate& each) {
    return each.endpoint->name == pin->endpoint && is_warm(each);
  });
  if (home == candidates.end()) {
    return;  // it cannot take work: the conversation moves
  }
  Candidate& first = candidates.front();
  if (home == candidates.begin()) {
    first.reason += ", the conversation's place";
    return;
  }
  if (first.group != home->group) {
    first.reason += fmt::format(", the conversation comes home from '{}'", pin->endpoint);
    return;
  }
  const std::int64_t cached = std::min(pin->tokens, features.input_tokens);
  const StayDecision decision = weigh_switch(*home, first, features, cached);
  if (decision.stay) {
    home->reason += ", stays: " + decision.reason;
    move_to_front(Group(candidates), static_cast<std::size_t>(home - candidates.begin()));
  } else {
    first.reason += ", moves: " + decision.reason;
  }
}

void RulePolicy::on_dispatch(const RouteRule& rule,
                             const RouteFeatures& features,
                             const EndpointSnapshot& endpoint) {
  if (const auto key = sticky_key(rule, features)) {
    pins_->pin_if_free(*key, {.endpoint = endpoint.name}, features.now);
  }
}

void RulePolicy::on_finished(const RouteRule& rule, const RequestTrace& trace) {
  const auto key = sticky_key(rule, trace.features);
  if (key && !trace.served_by.empty()) {
    pins_->pin(*key,
               {.endpoint = trace.served_by, .tokens = trace.features.input_tokens},
               trace.features.now);
  }
}

}  // namespace genesis::router
