// The rows of a period as the savings report needs them: summed in the database by what tells them
// apart. Private to the room.
#pragma once

#include "ledger/savings.h"

namespace genesis::ledger {

enum class RowKind : std::uint8_t { kPost, kVoid, kQuarantine, kUnconfirmed, kInFlight };

// Attempts that are alike in everything the report distinguishes.
struct AttemptRows {
  RowKind kind = RowKind::kPost;
  Tier tier = Tier::kSelfHosted;
  std::string endpoint;
  std::string group;
  bool delivered = false;
  bool retry = false;
  bool estimated = false;
  bool disputed = false;
  bool overhead = false;    // noted "purpose=...": made for no client
  bool same_model = false;  // served at the price it is compared with
  std::int64_t count = 0;
  std::int64_t without_baseline = 0;
  NanoUsd amount = 0;
  NanoUsd baseline = 0;
  Usage usage;
};

struct MachineRows {
  Tier tier = Tier::kSelfHosted;
  std::string endpoint;
  std::string group;  // for day, tier and endpoint; else machines are shared out
  bool idle = false;
  std::int64_t minutes = 0;
  NanoUsd amount = 0;
};

struct LedgerRows {
  std::vector<AttemptRows> attempts;
  std::vector<MachineRows> machines;
};

// One snapshot. Fills in the pins, prices and chain of `savings` too, and its query's ends where
// they were left open.
Result<LedgerRows> read_ledger_rows(const store::Database& database,
                                    const SavingsQuery& query,
                                    Savings& savings);

}  // namespace genesis::ledger
