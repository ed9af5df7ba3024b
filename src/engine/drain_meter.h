// DrainMeter: how fast sequences leave the engine, to tell a refused client when to come back.
#pragma once

#include "base/clock.h"

#include <chrono>
#include <optional>

namespace genesis::engine {

// Not thread-safe.
class DrainMeter {
 public:
  // A sequence has left at `now`.
  void left(SteadyTime now);

  // The engine ran empty: the time until the next sequence leaves says nothing about its speed.
  void idle() { last_.reset(); }

  // When half of `waiting` sequences will have gone, at the speed seen lately: by then there is
  // room although others come back too. Between 1 and 60 seconds.
  std::chrono::milliseconds retry_after(int waiting, SteadyTime now) const;

 private:
  std::optional<SteadyTime> last_;
  std::optional<double> seconds_each_;  // moving average over about the last eight
};

}  // namespace genesis::engine
