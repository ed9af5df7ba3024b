#include "router/share_cap.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::router {

namespace {

using std::chrono::milliseconds;

// A minute of a day: what a count is off by at most, always on the strict side.
constexpr std::int64_t kSlices = 1440;
constexpr std::int64_t kWhole = 1'000'000;  // parts per million

milliseconds slice_length(milliseconds window) {
  return std::max(milliseconds(1), window / kSlices);
}

std::int64_t share_of(std::int64_t requests, std::int64_t ppm) {
  return requests / kWhole * ppm + requests % kWhole * ppm / kWhole;
}

}  // namespace

std::string ShareCapState::to_string(const ShareCapOptions& options) const {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(options.window).count();
  const std::string window = seconds % 3600 == 0 ? fmt::format("{} h", seconds / 3600)
                             : seconds % 60 == 0 ? fmt::format("{} min", seconds / 60)
                                                 : fmt::format("{} s", seconds);
  return fmt::format("{} of {} allowed, {} request(s) in {}, cap {}.{:02} %",
                     commercial,
                     allowed,
                     requests,
                     window,
                     options.max_share_ppm / 10'000,
                     options.max_share_ppm % 10'000 / 100);
}

ShareCap::ShareCap(ShareCapOptions options)
    : options_(options),
      slice_length_(slice_length(options.window)),
      whole_slices_(options.window / slice_length_),
      touched_slices_((options.window + slice_length_ - milliseconds(1)) / slice_length_),
      slices_(static_cast<std::size_t>(touched_slices_ + 1)) {}

std::int64_t ShareCap::index_of(SteadyTime time) const {
  return std::chrono::floor<milliseconds>(time.time_since_epoch()) / slice_length_;
}

// The slice of that index, emptied if the ring's place belonged to an older one.
ShareCap::Slice& ShareCap::slice(std::int64_t index) const {
  const auto places = static_cast<std::int64_t>(slices_.size());
  Slice& found = slices_[static_cast<std::size_t>((index % places + places) % places)];
  if (found.index != index) {
    found = {.index = index};
  }
  return found;
}

void ShareCap::advance(SteadyTime now) const {
  const std::int64_t index = index_of(now);
  if (index <= newest_) {
    return;
  }
  if (index - newest_ > touched_slices_) {
    std::ranges::fill(slices_, Slice{});
    requests_ = 0;
    commercial_ = 0;
  } else {
    for (std::int64_t next = newest_ + 1; next <= index; ++next) {
      requests_ -= slice(next - whole_slices_).requests;
      // This place of the ring is about to become the next slice's.
      commercial_ -= slice(next - touched_slices_ - 1).commercial;
      slice(next);
    }
  }
  newest_ = index;
}

ShareCapState ShareCap::count(std::int64_t more_requests) const {
  ShareCapState state{.requests = requests_ + more_requests,
                      .commercial = commercial_,
                      .limited = options_.max_share_ppm < kWhole};
  state.allowed = std::max(options_.min_requests, share_of(state.requests, options_.max_share_ppm));
  return state;
}

milliseconds ShareCap::until_room(SteadyTime now) const {
  for (std::int64_t index = newest_ - touched_slices_; index <= newest_; ++index) {
    if (slice(index).commercial > 0) {
      const auto leaves = SteadyTime(slice_length_ * (index + touched_slices_ + 1));
      return std::max(milliseconds(1), std::chrono::ceil<milliseconds>(leaves - now));
    }
  }
  return options_.window;
}

ShareCapState ShareCap::state(SteadyTime now) const {
  const std::scoped_lock lock(mutex_);
  advance(now);
  ShareCapState state = count(1);
  if (state.full()) {
    state.next_room = until_room(now);
  }
  return state;
}

bool ShareCap::take(SteadyTime now) {
  const std::scoped_lock lock(mutex_);
  advance(now);
  if (count(1).full()) {
    return false;
  }
  ++slice(newest_).commercial;
  ++commercial_;
  return true;
}

void ShareCap::count_request(SteadyTime begun) {
  const std::scoped_lock lock(mutex_);
  advance(begun);
  count_at(index_of(begun), 1, 0);
}

void ShareCap::restore(SteadyTime now,
                       milliseconds age,
                       std::int64_t requests,
                       std::int64_t commercial) {
  const std::scoped_lock lock(mutex_);
  advance(now);
  count_at(index_of(now - std::max(age, milliseconds(0))), requests, commercial);
}

void ShareCap::count_at(std::int64_t index, std::int64_t requests, std::int64_t commercial) {
  index = std::min(index, newest_);
  if (index < newest_ - touched_slices_) {
    return;
  }
  slice(index).commercial += commercial;
  commercial_ += commercial;
  // In the one slice that is within the window only in part, requests no longer count.
  if (index > newest_ - whole_slices_) {
    slice(index).requests += requests;
    requests_ += requests;
  }
}

}  // namespace genesis::router
