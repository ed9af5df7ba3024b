// Breaker: when to leave an endpoint alone, and how to come back to it. Failures in a row, or too
// many among the last ones, eject it for a growing, jittered time; a Retry-After cools it down for
// as long as it asked; after that one probe at a time decides. After an ejection it is given its
// share of the work back bit by bit.
#pragma once

#include "base/clock.h"
#include "base/random.h"

#include <chrono>
#include <optional>
#include <string>

namespace genesis::endpoint {

struct BreakerOptions {
  // Failures in a row count, without a success between them for as long as `lasting`: at a thousand
  // requests a second an endpoint that loses one of twenty has three in a row every few seconds,
  // and is still worth its price. (Envoy's default is 5; a paid first token lost five times is too
  // dear, so 3.)
  int failures_to_eject = 3;
  std::chrono::milliseconds lasting{500};
  // So many in a row are no chance at any rate: half of an endpoint's answers lost is 15 in a row
  // once in 30,000.
  int failures_at_once = 15;
  // Of the moving average, once enough attempts were seen: finds the endpoint that fails every
  // other time.
  int failure_percent_to_eject = 60;
  int attempts_to_judge = 50;
  std::chrono::milliseconds first_ejection{1'000};
  // At most this long after an outage ends nobody knows of it, but for the time to the next request
  // (failoverbench S15: one each 4 s, 16 s seen).
  std::chrono::milliseconds max_ejection{15'000};
  // From a tenth of the work to all of it, after an ejection.
  std::chrono::milliseconds ramp{10'000};
  // A failure so long after the last recovery is a new one: ejections start short again.
  std::chrono::milliseconds calm{60'000};

  bool operator==(const BreakerOptions&) const = default;
};

// Pure state, no timers: the caller tells what happened and asks. Single-threaded.
class Breaker {
 public:
  Breaker(BreakerOptions options, std::uint64_t seed) : options_(options), random_(seed) {}

  // Nullopt when a request may go now, else why not. An ejection that is over lets one probe pass.
  std::optional<std::string> blocked(SteadyTime now) const;
  // The request is going: remembers the probe while half open.
  void on_dispatch(SteadyTime now);
  void on_success(SteadyTime now);
  void on_failure(SteadyTime now);
  // The endpoint asked for silence (429/503 with Retry-After).
  void on_retry_after(SteadyTime now, std::chrono::milliseconds wait);
  // The attempt ended without saying anything about the endpoint (client gone, client's own error).
  void on_neutral();

  // Moving average of failed attempts, [0, 1].
  double failure_rate() const { return failure_rate_; }

  // Share of new requests it should get, (0, 1].
  double ramp(SteadyTime now) const;

 private:
  void count(bool failed, SteadyTime now);
  void average(bool failed);
  void eject(SteadyTime now, std::string reason);

  BreakerOptions options_;
  Random random_;
  int failures_ = 0;  // in a row
  SteadyTime failing_since_{};
  int attempts_ = 0;  // since the last ejection
  int seen_ = 0;      // attempts behind the average, as far as they matter
  double failure_rate_ = 0;
  int ejections_ = 0;  // without calm between them
  bool probing_ = false;
  bool ejected_ = false;  // blocked for its failures, not because it asked
  std::optional<SteadyTime> blocked_until_;
  std::optional<SteadyTime> recovered_;
  std::string reason_;
};

}  // namespace genesis::endpoint
