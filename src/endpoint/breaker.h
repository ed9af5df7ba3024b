// Breaker: when to leave an endpoint alone. Consecutive failures eject it for a growing, jittered
// time; a Retry-After cools it down for as long as it asked; after that one probe at a time
// decides.
#pragma once

#include "base/clock.h"
#include "base/random.h"

#include <chrono>
#include <optional>
#include <string>

namespace genesis::endpoint {

struct BreakerOptions {
  // With two or three endpoints percentages mean nothing, so failures in a row count
  // (Envoy's default is 5; a paid first token lost five times is too dear, so 3).
  int failures_to_eject = 3;
  std::chrono::milliseconds first_ejection{1'000};
  std::chrono::milliseconds max_ejection{30'000};
};

// Pure state, no timers: the caller tells what happened and asks. Single-threaded.
class Breaker {
 public:
  Breaker(BreakerOptions options, std::uint64_t seed) : options_(options), random_(seed) {}

  // Nullopt when a request may go now, else why not. An ejection that is over lets one probe pass.
  std::optional<std::string> blocked(SteadyTime now) const;
  // The request is going: remembers the probe while half open.
  void on_dispatch(SteadyTime now);
  void on_success();
  void on_failure(SteadyTime now);
  // The endpoint asked for silence (429/503 with Retry-After).
  void on_retry_after(SteadyTime now, std::chrono::milliseconds wait);
  // The attempt ended without saying anything about the endpoint (client gone, client's own error).
  void on_neutral();

 private:
  BreakerOptions options_;
  Random random_;
  int failures_ = 0;
  int ejections_ = 0;  // in a row, without a success between them
  bool probing_ = false;
  std::optional<SteadyTime> blocked_until_;
  std::string reason_;
};

}  // namespace genesis::endpoint
