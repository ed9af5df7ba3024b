#include "engine/speculation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace genesis::engine {

namespace {

constexpr std::array<std::size_t, 2> kLengths = {3, 2};
constexpr double kWeight = 0.1;  // of each guessed token
// After guesses that did not pay: steps without any, twice as many each time.
constexpr std::int32_t kShortestRest = 16;
constexpr std::int32_t kLongestRest = 256;

}  // namespace

std::span<const std::int32_t> look_up_drafts(std::span<const std::int32_t> tokens,
                                             std::int32_t most) {
  for (const std::size_t length : kLengths) {
    if (tokens.size() <= length || most <= 0) {
      continue;
    }
    const auto last = tokens.last(length);
    const auto before = tokens.first(tokens.size() - 1);
    const auto found = std::ranges::find_end(before, last);
    if (!found.empty()) {
      const auto after = static_cast<std::size_t>(found.end() - before.begin());
      const std::size_t count = std::min(static_cast<std::size_t>(most), tokens.size() - after);
      return tokens.subspan(after, count);
    }
  }
  return {};
}

std::int32_t Speculation::drafts(double cost) {
  if (resting_ > 0) {
    --resting_;
    return 0;
  }
  if (hit_rate_ < cost) {
    rest_ = std::clamp(2 * rest_, kShortestRest, kLongestRest);
    resting_ = rest_;
    hit_rate_ = std::max(hit_rate_, cost);  // the next try is decided by what it finds
    return 0;
  }
  // The i-th guess is right only if all before it are: as many as still pay.
  if (hit_rate_ >= 1.0 || cost <= 0.0) {
    return kMostDrafts;
  }
  const double paying = std::log(std::max(cost, 1e-6)) / std::log(hit_rate_);
  return std::clamp(static_cast<std::int32_t>(paying), 1, kMostDrafts);
}

void Speculation::note(std::int32_t guessed, std::int32_t right) {
  // Guesses behind the first wrong one say nothing.
  for (std::int32_t i = 0; i < std::min(right + 1, guessed); ++i) {
    hit_rate_ += kWeight * ((i < right ? 1.0 : 0.0) - hit_rate_);
  }
  if (right > 0) {
    rest_ = 0;
  }
}

}  // namespace genesis::engine
