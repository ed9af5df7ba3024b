// Figures and their sums; savings_rows.cpp reads them from the ledger.
#include "ledger/savings.h"

#include "ledger/money.h"
#include "ledger/savings_rows.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace genesis::ledger {

namespace {

__extension__ using Wide = __int128;

constexpr std::array<std::pair<GroupBy, std::string_view>, 9> kGroupNames = {{
    {GroupBy::kTenant, "tenant"},
    {GroupBy::kTeam, "team"},
    {GroupBy::kAgent, "agent"},
    {GroupBy::kRoute, "route"},
    {GroupBy::kKey, "key"},
    {GroupBy::kTier, "tier"},
    {GroupBy::kEndpoint, "endpoint"},
    {GroupBy::kModel, "model"},
    {GroupBy::kDay, "day"},
}};

// Estimates count half the ASCII bytes of the input as tokens and one token for four bytes of
// output; real tokenizers give 1 to 8 bytes to a token.
constexpr std::int64_t kEstimateLowQuarters = 1;
constexpr std::int64_t kEstimateHighQuarters = 8;

void add_attempts(Figures& to, const AttemptRows& rows) {
  to.attempts += rows.count;
  to.spend += rows.amount;
  to.usage.input += rows.usage.input;
  to.usage.cached_input += rows.usage.cached_input;
  to.usage.cache_write += rows.usage.cache_write;
  to.usage.output += rows.usage.output;
  to.usage.reasoning += rows.usage.reasoning;
  (rows.delivered ? to.delivered : to.failed) += rows.count;
  if (!rows.delivered && !rows.overhead) {
    to.failed_spend += rows.amount;
  }
  if (rows.retry) {
    to.retries += rows.count;
    to.retry_spend += rows.amount;
  }
  if (rows.overhead) {
    to.overhead += rows.count;
    to.overhead_spend += rows.amount;
  }
  if (rows.disputed) {
    to.disputed += rows.count;
    to.disputed_spend += rows.amount;
  }
  if (rows.estimated) {
    to.estimated += rows.count;
    to.estimated_spend += rows.amount;
  }
  to.baseline += rows.baseline;
  to.baseline_estimated += rows.estimated ? rows.baseline : 0;
  to.baseline_same += rows.same_model && !rows.estimated ? rows.baseline : 0;
  if (rows.kind == RowKind::kQuarantine) {
    to.quarantined += rows.count;
  } else if (rows.kind == RowKind::kPost && rows.delivered) {
    to.without_baseline += rows.without_baseline;
  }
}

void add(Figures& to, const AttemptRows& rows) {
  switch (rows.kind) {
    case RowKind::kInFlight:
      to.in_flight += rows.count;
      to.in_flight_nano += rows.amount;
      return;
    case RowKind::kUnconfirmed:
      to.unconfirmed += rows.count;
      to.unconfirmed_nano += rows.amount;
      // An attempt that failed, at no spend: its upper bound has a line of its own.
      to.attempts += rows.count;
      to.failed += rows.count;
      return;
    case RowKind::kPost:
    case RowKind::kVoid:
    case RowKind::kQuarantine:
      add_attempts(to, rows);
      return;
  }
}

void add(Figures& to, const MachineRows& rows) {
  to.machine_minutes += rows.minutes;
  to.machine += rows.amount;
  to.idle_minutes += rows.idle ? rows.minutes : 0;
  to.idle += rows.idle ? rows.amount : 0;
}

using Groups = std::map<std::string, Figures, std::less<>>;

Figures& group(Groups& groups, const std::string& name) {
  Figures& found = groups[name];
  found.name = name;
  return found;
}

// Tokens that each group moved through an endpoint: its share of the endpoint's machine.
using Shares = std::map<std::string, std::int64_t, std::less<>>;

// Splits what a machine cost by tokens; the last group takes what rounding left, so that the groups
// add up to the total.
void share_out(const MachineRows& rows, const Shares& shares, Groups& groups) {
  Wide tokens = 0;
  for (const auto& [name, count] : shares) {
    tokens += count;
  }
  if (tokens == 0) {
    add(group(groups, "(machines without traffic)"), rows);
    return;
  }
  NanoUsd amount_left = rows.amount;
  std::int64_t minutes_left = rows.minutes;
  Wide tokens_left = tokens;
  for (const auto& [name, count] : shares) {
    MachineRows part = rows;
    part.amount =
        tokens_left == 0 ? 0 : static_cast<NanoUsd>(Wide{amount_left} * count / tokens_left);
    part.minutes =
        tokens_left == 0 ? 0 : static_cast<std::int64_t>(Wide{minutes_left} * count / tokens_left);
    amount_left -= part.amount;
    minutes_left -= part.minutes;
    tokens_left -= count;
    add(group(groups, name), part);
  }
}

std::vector<Figures> make_groups(const LedgerRows& rows, GroupBy by) {
  Groups groups;
  std::map<std::string, Shares, std::less<>> shares;
  for (const AttemptRows& each : rows.attempts) {
    add(group(groups, each.group), each);
    shares[each.endpoint][each.group] += each.usage.input + each.usage.output;
  }
  for (const MachineRows& each : rows.machines) {
    if (by == GroupBy::kDay || by == GroupBy::kTier || by == GroupBy::kEndpoint) {
      add(group(groups, each.group), each);
    } else {
      share_out(each, shares[each.endpoint], groups);
    }
  }
  std::vector<Figures> list;
  for (auto& [name, figures] : groups) {
    list.push_back(std::move(figures));
  }
  if (by != GroupBy::kDay) {
    std::ranges::sort(list, [](const Figures& a, const Figures& b) {
      return a.baseline != b.baseline ? a.baseline > b.baseline : a.name < b.name;
    });
  }
  return list;
}

}  // namespace

std::optional<GroupBy> group_by_from_name(std::string_view name) {
  const auto at =
      std::ranges::find(kGroupNames, name, &std::pair<GroupBy, std::string_view>::second);
  return at == kGroupNames.end() ? std::nullopt : std::optional(at->first);
}

std::string_view group_by_name(GroupBy by) {
  const auto at = std::ranges::find(kGroupNames, by, &std::pair<GroupBy, std::string_view>::first);
  return at == kGroupNames.end() ? "" : at->second;
}

NanoUsd Figures::cost_low() const {
  // A disputed row is booked at the larger count; nothing is taken for certain of it.
  const NanoUsd doubted =
      estimated_spend - scale_money(estimated_spend, kEstimateLowQuarters, 4, Rounding::kDown);
  return spend + machine - doubted - std::min(disputed_spend, spend - doubted);
}

NanoUsd Figures::cost_high() const {
  return total_cost() - estimated_spend +
         scale_money(estimated_spend, kEstimateHighQuarters, 4, Rounding::kUp);
}

NanoUsd Figures::baseline_low(const TokenRatio& tokens) const {
  const NanoUsd counted = baseline - baseline_same - baseline_estimated;
  return baseline_same + scale_money(counted, tokens.low_permille, 1000, Rounding::kDown) +
         scale_money(
             baseline_estimated, tokens.low_permille * kEstimateLowQuarters, 4000, Rounding::kDown);
}

NanoUsd Figures::baseline_high(const TokenRatio& tokens) const {
  const NanoUsd counted = baseline - baseline_same - baseline_estimated;
  return baseline_same + scale_money(counted, tokens.high_permille, 1000, Rounding::kUp) +
         scale_money(
             baseline_estimated, tokens.high_permille * kEstimateHighQuarters, 4000, Rounding::kUp);
}

Result<Savings> compute_savings(const store::Database& database, const SavingsQuery& query) {
  Savings savings;
  savings.query = query;
  for (const Tier tier : {Tier::kSelfHosted, Tier::kManaged, Tier::kCommercial}) {
    TierSavings each;
    each.tier = tier;
    each.name = tier_name(tier);
    savings.tiers.push_back(std::move(each));
  }
  GENESIS_TRY(const LedgerRows rows, read_ledger_rows(database, query, savings));
  for (const AttemptRows& each : rows.attempts) {
    add(savings, each);
    add(savings.tiers[static_cast<std::size_t>(each.tier)], each);
  }
  for (const MachineRows& each : rows.machines) {
    add(savings, each);
    add(savings.tiers[static_cast<std::size_t>(each.tier)], each);
  }
  for (TierSavings& tier : savings.tiers) {
    tier.share_permille = permille(tier.delivered, savings.delivered);
  }
  if (query.by != GroupBy::kNothing) {
    savings.groups = make_groups(rows, query.by);
  }
  return savings;
}

}  // namespace genesis::ledger
