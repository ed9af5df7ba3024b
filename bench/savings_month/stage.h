// One stage of the migration, run: its genesis.toml is loaded as the gateway loads it, the traffic
// goes through the real dispatcher, router, share cap, metering and ledger against simulated
// endpoints, on a clock turned by hand, and `compute_savings` reads the ledger afterwards.
#pragma once

#include "base/result.h"
#include "ledger/savings.h"
#include "traffic.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace genesis::bench {

struct Stage {
  std::string name;                 // of its file, without .toml
  std::string plan_cut;             // what the plan says, in percent
  std::int64_t least_permille = 0;  // the same as numbers
  std::int64_t most_permille = 0;
  std::string plan_cost;  // and in USD a month
  // A machine without work for so long is stopped; 0: never.
  std::int64_t idle_stop_minutes = 0;
  // Of the input, found in the endpoint's prompt cache; the plan names no share.
  std::int64_t cached_permille = 0;
  // Of the cheap tasks, answered from the case bank without any call; the plan names no share.
  std::int64_t case_bank_permille = 0;
};

struct StageResult {
  ledger::Savings savings;
  std::int64_t requests = 0;
  std::int64_t unanswered = 0;  // every endpoint of the plan failed
  std::int64_t from_case_bank = 0;
};

struct StageRun {
  std::filesystem::path configs;  // where <name>.toml is
  std::filesystem::path scratch;  // an empty folder for the ledger
  std::uint64_t seed = 1;
  std::int64_t hours = 720;
};

Result<StageResult> run_stage(const Stage& stage,
                              const std::vector<Ask>& traffic,
                              const StageRun& run);

// What the simulated endpoints do, for the printout.
std::vector<std::string> endpoint_assumptions();

}  // namespace genesis::bench
