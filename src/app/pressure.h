// Pressure: one number for how near the process is to the end of what it has, and the ladder of
// what is given up at which height. After Envoy's overload manager (sampled every 250 ms;
// keep-alive goes first, then requests, then connections).
#pragma once

#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"

#include <cstdint>
#include <string_view>

namespace genesis::app {

// One look; every share is of its own limit, 1 = exhausted.
struct PressureSample {
  double memory = 0;
  double ledger_queue = 0;
  double connections = 0;
  double loop_lag = 0;      // age of what waits for the event loop
  double booking_wait = 0;  // age of the oldest request that waits for the ledger

  double highest() const;
};

// What is given up, each beside what stands before it.
enum class PressureStage : std::uint8_t {
  kCalm,
  kTight,   // kept connections, caches, requests of low priority
  kHigh,    // new inference requests
  kSevere,  // new connections
};

// Where the stages begin, as in Envoy's guide for edge proxies (85 to 95 % of the heap).
inline constexpr double kTightAt = 0.85;
inline constexpr double kHighAt = 0.92;
inline constexpr double kSevereAt = 0.95;
// Endpoints of one's own are called without a booking: alone, its wait sheds low priority only.
inline constexpr double kMostByBookingWait = 0.91;
// A stage ends this far below where it began, so that it does not flicker.
inline constexpr double kPressureSlack = 0.03;

// Lives on the io thread; no clock and no system calls of its own.
class Pressure {
 public:
  explicit Pressure(MetricsRegistry& metrics);

  // Takes a look over; returns the stage from now on.
  PressureStage update(const PressureSample& sample);

  PressureStage stage() const { return stage_; }

  // kResourceExhausted with Retry-After when a new request must not begin now.
  Result<void> admits(bool low_priority) const;

 private:
  PressureStage stage_ = PressureStage::kCalm;
  Metric& pressure_;
  Metric& memory_;
  Metric& ledger_queue_;
  Metric& connections_;
  Metric& loop_lag_;
  Metric& booking_wait_;
  Metric& stage_metric_;
  Metric& refused_;
};

// Bytes of memory in use by this process and what they may grow to: `limit_mib` when it is not
// zero, else the limit of the control group, else the machine's memory.
struct MemoryUse {
  std::int64_t used = 0;
  std::int64_t limit = 0;
};

MemoryUse memory_use(std::int64_t limit_mib);

// Gives memory that is only kept for later back to the system.
void give_back_memory();

}  // namespace genesis::app
