// Three queries over a period's rows.
#include "ledger/savings.h"

#include "ledger/entry.h"
#include "ledger/money.h"

#include <fmt/format.h>

namespace genesis::ledger {

namespace {

// One group of rows of the same kind, tier and delivery.
struct Group {
  std::string kind;
  Tier tier = Tier::kSelfHosted;
  bool delivered = false;
  std::int64_t rows = 0;
  NanoUsd amount = 0;
  NanoUsd baseline = 0;
  std::int64_t without_baseline = 0;
};

void count_attempt(Savings& savings, const Group& group) {
  TierSavings& tier = savings.tiers[static_cast<std::size_t>(group.tier)];
  tier.attempts += group.rows;
  tier.spend += group.amount;
  (group.delivered ? tier.delivered : tier.failed) += group.rows;
  savings.attempts += group.rows;
  savings.spend += group.amount;
  savings.baseline += group.baseline;
  (group.delivered ? savings.delivered : savings.failed) += group.rows;
}

void count(Savings& savings, const Group& group) {
  if (group.kind == kind::kMachine) {
    savings.machine += group.amount;
    savings.machine_minutes += group.rows;
  } else if (group.kind == kind::kUnconfirmed) {
    savings.unconfirmed += group.rows;
    savings.unconfirmed_nano += group.amount;
    // It counts as an attempt that failed, at no spend: its upper bound has a line of its own.
    count_attempt(savings, {.tier = group.tier, .rows = group.rows});
  } else if (group.kind != kind::kReserve) {
    count_attempt(savings, group);
    savings.quarantined += group.kind == kind::kQuarantine ? group.rows : 0;
    savings.without_baseline +=
        group.kind == kind::kPost && group.delivered ? group.without_baseline : 0;
  }
}

Result<void> read_groups(store::Transaction& tx, Savings& savings) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT kind, tier, delivered, count(*), coalesce(sum(amount_nano), 0),"
                         " coalesce(sum(baseline_nano), 0), count(*) - count(baseline_nano)"
                         " FROM entries WHERE unix_ms >= ?1 AND unix_ms < ?2"
                         " GROUP BY kind, tier, delivered"));
  select.bind(1, savings.since_ms).bind(2, savings.until_ms);
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return {};
    }
    const auto tier = tier_from_name(select.text(1));
    if (!tier) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("the ledger names an unknown tier '{}'", select.text(1)),
                  "genesis ledger verify");
    }
    count(savings,
          {.kind = std::string(select.text(0)),
           .tier = *tier,
           .delivered = select.integer(2) != 0,
           .rows = select.integer(3),
           .amount = select.integer(4),
           .baseline = select.integer(5),
           .without_baseline = select.integer(6)});
  }
}

Result<void> read_in_flight(store::Transaction& tx, Savings& savings) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT count(*), coalesce(sum(amount_nano), 0) FROM entries r"
                         " WHERE r.unix_ms >= ?1 AND r.unix_ms < ?2 AND r.kind = 'reserve'"
                         " AND NOT EXISTS (SELECT 1 FROM entries e WHERE"
                         "  e.request_id = r.request_id AND e.attempt = r.attempt"
                         "  AND e.kind <> 'reserve')"));
  select.bind(1, savings.since_ms).bind(2, savings.until_ms);
  GENESIS_TRY(const bool row, select.step());
  if (row) {
    savings.in_flight = select.integer(0);
    savings.in_flight_nano = select.integer(1);
  }
  return {};
}

Result<void> read_baseline_models(store::Transaction& tx, Savings& savings) {
  GENESIS_TRY(store::Statement select,
              tx.prepare("SELECT DISTINCT baseline_model FROM entries WHERE unix_ms >= ?1"
                         " AND unix_ms < ?2 AND baseline_nano IS NOT NULL ORDER BY 1"));
  select.bind(1, savings.since_ms).bind(2, savings.until_ms);
  while (true) {
    GENESIS_TRY(const bool row, select.step());
    if (!row) {
      return {};
    }
    savings.baseline_models.emplace_back(select.text(0));
  }
}

}  // namespace

Result<Savings> compute_savings(const store::Database& database,
                                std::int64_t since_ms,
                                std::int64_t until_ms) {
  Savings savings{.since_ms = since_ms, .until_ms = until_ms};
  for (const Tier tier : {Tier::kSelfHosted, Tier::kManaged, Tier::kCommercial}) {
    savings.tiers.push_back({.tier = tier});
  }
  GENESIS_TRY_VOID(database.read([&](store::Transaction& tx) -> Result<void> {
    GENESIS_TRY_VOID(read_groups(tx, savings));
    GENESIS_TRY_VOID(read_in_flight(tx, savings));
    return read_baseline_models(tx, savings);
  }));
  for (TierSavings& tier : savings.tiers) {
    tier.share_permille = permille(tier.delivered, savings.delivered);
  }
  return savings;
}

}  // namespace genesis::ledger
