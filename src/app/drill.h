// drill: rehearses outages on the user's own configuration. The gateway's whole graph is built from
// it with a throw-away ledger; only the upstreams are replaced, by simulators on loopback that are
// made to fail tier by tier while a steady load runs. No real provider is asked.
#pragma once

#include "api/ledger.h"
#include "app/config.h"
#include "app/home.h"
#include "app/sim_upstream.h"
#include "base/result.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

struct DrillOptions {
  std::chrono::milliseconds length{60'000};  // of all phases together, waiting for a return aside
  int rate = 20;                             // requests a second
  std::string route;                         // empty: the default route
};

// One endpoint as it is simulated.
struct DrillEndpoint {
  std::string name;
  std::string model;
  Tier tier = Tier::kSelfHosted;
  std::chrono::milliseconds first_token{0};
  std::chrono::milliseconds between{0};
  bool measured = false;  // the times are the ledger's medians, else stand-ins
};

struct DrillPhase {
  std::string name;
  std::vector<Tier> down;
  Outage outage = Outage::kNone;
  std::chrono::milliseconds length{0};
};

struct DrillPlan {
  std::string route;
  int rate = 0;
  std::vector<DrillEndpoint> endpoints;
  std::vector<DrillPhase> phases;
};

// What one phase showed. Times of requests that were answered by a tier that was not down, less
// what that tier's first token takes anyway.
struct PhaseResult {
  DrillPhase phase;
  std::int64_t requests = 0;
  std::int64_t delivered = 0;   // whole, and word for word what the endpoint said
  std::int64_t commercial = 0;  // dispatches to the commercial tier
  std::int64_t failovers = 0;
  std::int64_t failover_p50_ms = -1;
  std::int64_t failover_p99_ms = -1;
  std::int64_t return_ms = -1;  // after the phase, until the tier answered again; -1 = not seen
  NanoUsd cost = 0;
  NanoUsd extra_cost = 0;     // over what the same requests cost when all was well
  std::int64_t unpriced = 0;  // attempts without a known price
  std::string first_error;    // of a request that was not delivered
};

struct DrillReport {
  std::int64_t started_unix_ms = 0;
  DrillPlan plan;
  std::vector<PhaseResult> phases;
  std::int64_t requests = 0;
  std::int64_t delivered = 0;
  std::int64_t commercial = 0;
  NanoUsd extra_cost = 0;
  std::string cap;  // the commercial share cap at the end, empty = none
  bool cap_reached = false;
  std::string evidence;  // the file

  double availability_percent() const {
    return requests == 0 ? 0
                         : 100.0 * static_cast<double>(delivered) / static_cast<double>(requests);
  }
};

// kNotFound: no such route. Reads the ledger, if there is one, for how fast the endpoints were.
Result<DrillPlan> plan_drill(const Config& config, const DrillOptions& options);

// Runs the plan and writes the evidence below the home's data folder.
Result<DrillReport> run_drill(const Config& config,
                              const Home& home,
                              const DrillPlan& plan,
                              const std::function<void(std::string_view)>& on_phase);

std::string plan_json(const DrillPlan& plan);
std::string plan_text(const DrillPlan& plan);
std::string report_json(const DrillReport& report);
std::string report_text(const DrillReport& report);

}  // namespace genesis::app
