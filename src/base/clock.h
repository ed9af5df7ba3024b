// The clock seam: everything that waits or stamps asks a Clock, so that tests can turn time by
// hand.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace genesis {

using SteadyTime = std::chrono::steady_clock::time_point;

// Timeouts and rates use steady(); stamps on rows and prices use unix_ms().
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime steady() const = 0;
  virtual std::int64_t unix_ms() const = 0;
};

// The machine's clocks; stateless, safe from any thread.
class SystemClock final : public Clock {
 public:
  SteadyTime steady() const override;
  std::int64_t unix_ms() const override;
};

// Time that moves only when told to. Not thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t unix_ms) : unix_ms_(unix_ms) {}

  SteadyTime steady() const override { return steady_; }

  std::int64_t unix_ms() const override { return unix_ms_; }

  void advance(std::chrono::milliseconds by);

 private:
  SteadyTime steady_{std::chrono::hours(1)};
  std::int64_t unix_ms_;
};

// "2026-11-23T02:01:48.123Z"
std::string format_rfc3339(std::int64_t unix_ms);

}  // namespace genesis
