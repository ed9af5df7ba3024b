// Savings: what the traffic of a period cost, what the same answers would have cost at the pinned
// baseline, and the difference, which may be negative. Computed from ledger rows only, so that
// anybody with the ledger can compute it again.
#pragma once

#include "api/chat.h"
#include "api/ledger.h"
#include "base/result.h"
#include "ledger/pins.h"
#include "ledger/price_table.h"
#include "ledger/token_ratio.h"
#include "store/database.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::ledger {

enum class GroupBy : std::uint8_t {
  kNothing,
  kTenant,
  kTeam,
  kAgent,
  kRoute,
  kKey,
  kTier,
  kEndpoint,
  kModel,
  kDay,
};

// "tenant", "day" ...; nullopt for other words.
std::optional<GroupBy> group_by_from_name(std::string_view name);
std::string_view group_by_name(GroupBy by);

struct SavingsQuery {
  std::int64_t since_ms = 0;
  std::int64_t until_ms = INT64_MAX;     // not included
  std::int64_t through_seq = INT64_MAX;  // rows after this one are not looked at
  GroupBy by = GroupBy::kNothing;
  TokenRatio tokens;
};

// Sums over some of the rows. Amounts in nano-USD.
struct Figures {
  std::string name;            // of the group
  std::int64_t delivered = 0;  // requests answered in full
  std::int64_t attempts = 0;   // dispatched and ended
  std::int64_t failed = 0;     // of these, not delivered
  std::int64_t retries = 0;    // of these, second and later attempts of their request
  Usage usage;                 // of all attempts
  NanoUsd spend = 0;           // posted, failed attempts included
  NanoUsd failed_spend = 0;    // part of spend, as the next four
  NanoUsd retry_spend = 0;
  NanoUsd overhead_spend = 0;  // judge, shadow and other calls made for no client
  NanoUsd disputed_spend = 0;  // the upstream's count and ours differ; booked at the larger
  NanoUsd estimated_spend = 0;
  std::int64_t overhead = 0;  // rows, as the next two
  std::int64_t disputed = 0;
  std::int64_t estimated = 0;
  std::int64_t machine_minutes = 0;
  std::int64_t idle_minutes = 0;  // of these, minutes in which no attempt ran
  NanoUsd machine = 0;
  NanoUsd idle = 0;
  std::int64_t unconfirmed = 0;  // attempts whose end nobody saw, and their upper bound
  NanoUsd unconfirmed_nano = 0;
  std::int64_t in_flight = 0;  // reserved and not ended, and their upper bound
  NanoUsd in_flight_nano = 0;
  std::int64_t quarantined = 0;       // price unknown: neither cost nor baseline is known
  std::int64_t without_baseline = 0;  // delivered and priced, but nothing was pinned
  NanoUsd baseline = 0;
  NanoUsd baseline_same = 0;       // part of it: the baseline model itself answered
  NanoUsd baseline_estimated = 0;  // part of it: token counts were estimated

  NanoUsd total_cost() const { return spend + machine + unconfirmed_nano + in_flight_nano; }

  NanoUsd saving() const { return baseline - total_cost(); }

  // What is certain of the cost and what it can be at most, the same for the baseline; see
  // savings_method().
  NanoUsd cost_low() const;
  NanoUsd cost_high() const;
  NanoUsd baseline_low(const TokenRatio& tokens) const;
  NanoUsd baseline_high(const TokenRatio& tokens) const;

  NanoUsd saving_low(const TokenRatio& tokens) const { return baseline_low(tokens) - cost_high(); }

  NanoUsd saving_high(const TokenRatio& tokens) const { return baseline_high(tokens) - cost_low(); }
};

struct TierSavings : Figures {
  Tier tier = Tier::kSelfHosted;
  std::int64_t share_permille = 0;  // of all delivered requests
};

// The part of the chain that was looked at.
struct ChainSpan {
  std::int64_t rows = 0;  // in the period
  std::int64_t first_seq = 0;
  std::int64_t last_seq = 0;
  std::string first_hash;  // hexadecimal
  std::string last_hash;
  std::int64_t through_seq = 0;  // the newest row there was
  std::string through_hash;
};

struct Savings : Figures {
  SavingsQuery query;
  std::vector<TierSavings> tiers;  // all three, in order
  std::vector<Figures> groups;     // by query.by, dearest baseline first; empty for kNothing
  std::vector<BaselinePin> pins;   // that apply to rows of the period
  std::vector<TokenPrice> prices;  // that amounts and baselines of the period were made with
  ChainSpan chain;
};

// Rows with since_ms <= time < until_ms and seq <= through_seq.
Result<Savings> compute_savings(const store::Database& database, const SavingsQuery& query);

// How the numbers come about, a sentence each.
std::vector<std::string> savings_method(const Savings& savings);

std::string savings_json(const Savings& savings);
std::string savings_text(const Savings& savings);
// A line for each group, the total last.
std::string savings_csv(const Savings& savings);

}  // namespace genesis::ledger
