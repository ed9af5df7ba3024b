#include "server/rate_limit.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::server {

namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMinuteMs = 60'000;
// Idle keys are forgotten beyond so many; a full bucket is all there was to know of them.
constexpr std::size_t kMaxKeys = 10'000;

// Holds `per_minute` at most and fills at that rate. Counts in units of 1/60,000: what comes in a
// millisecond is then a whole number.
class Bucket {
 public:
  void refill(std::int64_t per_minute, SteadyTime now) {
    if (per_minute != per_minute_) {
      per_minute_ = per_minute;
      level_ = capacity();
      filled_ = now;
    }
    // Two minutes fill any bucket, also one overdrawn by a minute's worth.
    const std::int64_t passed = std::chrono::duration_cast<milliseconds>(now - filled_).count();
    filled_ += milliseconds(passed);
    level_ = std::min(capacity(), level_ + std::min(passed, 2 * kMinuteMs) * per_minute_);
  }

  bool holds(std::int64_t count) const { return level_ >= units(count); }

  void take(std::int64_t count) { level_ = std::max(level_ - units(count), -capacity()); }

  void give_back(std::int64_t count) { level_ = std::min(capacity(), level_ + units(count)); }

  std::int64_t left() const { return std::max<std::int64_t>(0, level_ / kMinuteMs); }

  milliseconds until(std::int64_t count) const { return wait(units(count) - level_); }

  milliseconds until_full() const { return wait(capacity() - level_); }

  bool full() const { return level_ == capacity(); }

 private:
  std::int64_t capacity() const { return per_minute_ * kMinuteMs; }

  std::int64_t units(std::int64_t count) const { return std::min(count, per_minute_) * kMinuteMs; }

  milliseconds wait(std::int64_t missing) const {
    return milliseconds(
        missing <= 0 || per_minute_ == 0 ? 0 : (missing + per_minute_ - 1) / per_minute_);
  }

  std::int64_t per_minute_ = 0;
  std::int64_t level_ = 0;
  SteadyTime filled_{};
};

// "6m0.5s", "120ms": Go's way, which OpenAI's headers use.
std::string duration_text(milliseconds wait) {
  const std::int64_t ms = wait.count();
  if (ms < 1000) {
    return fmt::format("{}ms", ms);
  }
  const std::string minutes = ms >= kMinuteMs ? fmt::format("{}m", ms / kMinuteMs) : "";
  const std::int64_t rest = ms % kMinuteMs;
  return rest % 1000 == 0 ? fmt::format("{}{}s", minutes, rest / 1000)
                          : fmt::format("{}{}.{:03}s", minutes, rest / 1000, rest % 1000);
}

std::unexpected<Error> limited(std::string_view what, std::int64_t limit, milliseconds wait) {
  Error error;
  error.code = ErrorCode::kRateLimited;
  error.param = what;
  error.message = what == "parallel"
                      ? fmt::format("this key has its {} requests in flight", limit)
                      : fmt::format("this key has used its {} {} a minute", limit, what);
  error.hint = "wait for Retry-After, or ask for a key with a higher limit";
  error.retry_after = std::max(wait, milliseconds(1));
  return std::unexpected(std::move(error));
}

}  // namespace

struct RateState {
  Bucket requests;
  Bucket tokens;
  std::int64_t in_flight = 0;
};

RateTicket::RateTicket(std::shared_ptr<RateState> state, std::int64_t tokens)
    : state_(std::move(state)), tokens_(tokens) {}

RateTicket& RateTicket::operator=(RateTicket&& other) noexcept {
  if (this != &other) {
    leave();
    state_ = std::move(other.state_);
    tokens_ = other.tokens_;
  }
  return *this;
}

RateTicket::~RateTicket() {
  leave();
}

void RateTicket::leave() {
  if (state_) {
    --state_->in_flight;
    state_.reset();
  }
}

void RateTicket::settle(std::int64_t tokens) {
  if (state_ && tokens > tokens_) {
    state_->tokens.take(tokens - tokens_);
  } else if (state_) {
    state_->tokens.give_back(tokens_ - tokens);
  }
  tokens_ = tokens;
}

RateState& RateLimiter::state_of(std::string_view key_id, const RateLimits& limits) {
  const SteadyTime now = clock_.steady();
  if (keys_.size() > kMaxKeys) {
    std::erase_if(keys_, [](const auto& entry) {
      return entry.second->in_flight == 0 && entry.second->requests.full() &&
             entry.second->tokens.full();
    });
  }
  auto& state = keys_[std::string(key_id)];
  if (!state) {
    state = std::make_shared<RateState>();
  }
  state->requests.refill(limits.requests_per_minute, now);
  state->tokens.refill(limits.tokens_per_minute, now);
  return *state;
}

Result<RateTicket> RateLimiter::admit(std::string_view key_id,
                                      const RateLimits& limits,
                                      std::int64_t tokens) {
  if (!limits.any()) {
    return RateTicket();
  }
  RateState& state = state_of(key_id, limits);
  if (limits.parallel > 0 && state.in_flight >= limits.parallel) {
    return limited("parallel", limits.parallel, milliseconds(1000));
  }
  if (limits.requests_per_minute > 0 && !state.requests.holds(1)) {
    return limited("requests", limits.requests_per_minute, state.requests.until(1));
  }
  if (limits.tokens_per_minute > 0 && !state.tokens.holds(tokens)) {
    return limited("tokens", limits.tokens_per_minute, state.tokens.until(tokens));
  }
  state.requests.take(1);
  state.tokens.take(tokens);
  ++state.in_flight;
  return RateTicket(keys_.at(std::string(key_id)), tokens);
}

void RateLimiter::add_headers(std::string_view key_id,
                              const RateLimits& limits,
                              net::Headers& headers) {
  if (!limits.any()) {
    return;
  }
  const RateState& state = state_of(key_id, limits);
  const auto add = [&](std::string_view what, std::int64_t limit, const Bucket& bucket) {
    if (limit > 0) {
      headers.add(fmt::format("x-ratelimit-limit-{}", what), fmt::format("{}", limit));
      headers.add(fmt::format("x-ratelimit-remaining-{}", what), fmt::format("{}", bucket.left()));
      headers.add(fmt::format("x-ratelimit-reset-{}", what), duration_text(bucket.until_full()));
    }
  };
  add("requests", limits.requests_per_minute, state.requests);
  add("tokens", limits.tokens_per_minute, state.tokens);
}

}  // namespace genesis::server
