// Savings: what the traffic of a period cost, what the same tokens would have cost at the baseline
// model's list price, and the difference, which may be negative. Computed from ledger rows only.
#pragma once

#include "api/chat.h"
#include "api/ledger.h"
#include "base/result.h"
#include "store/database.h"

#include <cstdint>
#include <string>
#include <vector>

namespace genesis::ledger {

struct TierSavings {
  Tier tier = Tier::kSelfHosted;
  std::int64_t delivered = 0;       // requests answered in full by this tier
  std::int64_t share_permille = 0;  // of all delivered requests
  std::int64_t attempts = 0;        // dispatched and ended
  std::int64_t failed = 0;          // of these, not delivered
  NanoUsd spend = 0;                // posted, failed attempts included
};

struct Savings {
  std::int64_t since_ms = 0;
  std::int64_t until_ms = 0;       // not included
  std::vector<TierSavings> tiers;  // all three, in order
  std::int64_t delivered = 0;
  std::int64_t attempts = 0;
  std::int64_t failed = 0;
  NanoUsd spend = 0;
  NanoUsd machine = 0;
  std::int64_t machine_minutes = 0;
  std::int64_t unconfirmed = 0;  // attempts, and their upper bound
  NanoUsd unconfirmed_nano = 0;
  std::int64_t in_flight = 0;  // reserved and not ended, and their upper bound
  NanoUsd in_flight_nano = 0;
  std::int64_t quarantined = 0;       // attempts whose price is unknown: cost and baseline left out
  std::int64_t without_baseline = 0;  // delivered and priced, but no baseline was configured
  std::vector<std::string> baseline_models;
  NanoUsd baseline = 0;

  NanoUsd total_cost() const { return spend + machine + unconfirmed_nano + in_flight_nano; }

  NanoUsd saving() const { return baseline - total_cost(); }
};

// Rows with since_ms <= time < until_ms.
Result<Savings> compute_savings(const store::Database& database,
                                std::int64_t since_ms,
                                std::int64_t until_ms);

// How the numbers come about, a sentence each.
std::vector<std::string> savings_method(const Savings& savings);

std::string savings_json(const Savings& savings);
std::string savings_text(const Savings& savings);

}  // namespace genesis::ledger
