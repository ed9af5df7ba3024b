// ShareCap: the commercial tier gets at most a share of all requests, counted over a sliding
// window. Hard: dispatches are counted before they leave, so that no number of parallel requests
// passes it.
#pragma once

#include "base/clock.h"

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace genesis::router {

struct ShareCapOptions {
  std::int64_t max_share_ppm = 10'000;  // parts per million; 1,000,000 = no cap
  std::chrono::milliseconds window{std::chrono::hours(24)};
  // So many dispatches a window are allowed whatever their share: 1 % of the first request of a day
  // would be none.
  std::int64_t min_requests = 5;

  bool operator==(const ShareCapOptions&) const = default;
};

// How full the window is.
struct ShareCapState {
  std::int64_t requests = 0;    // that were dispatched anywhere, the one that asks included
  std::int64_t commercial = 0;  // dispatches to the commercial tier, a retry counts again
  std::int64_t allowed = 0;     // of the latter
  bool limited = false;         // false: there is no cap
  std::chrono::milliseconds next_room{0};  // until the oldest counted dispatch leaves the window

  bool full() const { return limited && commercial >= allowed; }

  std::string to_string(const ShareCapOptions& options) const;
};

// The window is kept as counters per slice. A slice that has left it in part no longer counts as
// requests but still counts as commercial, so rounding never allows more. Thread-safe.
class ShareCap {
 public:
  explicit ShareCap(ShareCapOptions options);

  const ShareCapOptions& options() const { return options_; }

  // For a request that is not counted yet.
  ShareCapState state(SteadyTime now) const;
  // Counts one dispatch to the commercial tier if there is room, for a request not counted yet.
  bool take(SteadyTime now);
  // Counts a request once it has ended, whatever served it.
  void count_request(SteadyTime begun);
  // What an earlier process counted, `age` ago.
  void restore(SteadyTime now,
               std::chrono::milliseconds age,
               std::int64_t requests,
               std::int64_t commercial);

 private:
  struct Slice {
    std::int64_t index = -1;
    std::int64_t requests = 0;
    std::int64_t commercial = 0;
  };

  std::int64_t index_of(SteadyTime time) const;
  Slice& slice(std::int64_t index) const;
  void advance(SteadyTime now) const;
  void count_at(std::int64_t index, std::int64_t requests, std::int64_t commercial);
  ShareCapState count(std::int64_t more_requests) const;
  std::chrono::milliseconds until_room(SteadyTime now) const;

  const ShareCapOptions options_;
  const std::chrono::milliseconds slice_length_;
  const std::int64_t whole_slices_;    // that lie within the window wherever in a slice now is
  const std::int64_t touched_slices_;  // before the present one, that may lie within it in part
  mutable std::mutex mutex_;
  // What follows changes when time passes, also for those who only look. The sums are over the
  // whole slices for requests and over the touched ones for commercial.
  mutable std::vector<Slice> slices_;  // a ring, by index
  mutable std::int64_t newest_ = 0;    // time never runs backwards here
  mutable std::int64_t requests_ = 0;
  mutable std::int64_t commercial_ = 0;
};

}  // namespace genesis::router
