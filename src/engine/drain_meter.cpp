// The moving average behind Retry-After.
#include "engine/drain_meter.h"

#include <algorithm>

namespace genesis::engine {

namespace {

constexpr double kNewShare = 0.125;
constexpr double kFirstGuessSeconds = 1.0;  // before anything was measured

double seconds_between(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

void DrainMeter::left(SteadyTime now) {
  if (last_) {
    const double seconds = seconds_between(*last_, now);
    seconds_each_ =
        seconds_each_ ? *seconds_each_ + kNewShare * (seconds - *seconds_each_) : seconds;
  }
  last_ = now;
}

std::chrono::milliseconds DrainMeter::retry_after(int waiting, SteadyTime now) const {
  double each = seconds_each_.value_or(kFirstGuessSeconds);
  if (last_) {
    // A gap longer than the average is news already before it ends.
    each = std::max(each, kNewShare * seconds_between(*last_, now));
  }
  const double seconds = std::clamp(each * (waiting + 1) / 2.0, 1.0, 60.0);
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000.0));
}

}  // namespace genesis::engine
