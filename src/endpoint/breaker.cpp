#include "endpoint/breaker.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::endpoint {

namespace {

// The average is about the last fifty attempts; of fewer it is the plain one.
constexpr int kMostSeen = 50;
constexpr double kFirstShare = 0.1;

}  // namespace

std::optional<std::string> Breaker::blocked(SteadyTime now) const {
  if (!blocked_until_) {
    return std::nullopt;
  }
  if (now < *blocked_until_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*blocked_until_ - now);
    return fmt::format("{}, {} ms left", reason_, left.count());
  }
  if (probing_) {
    return fmt::format("{}, a probe is under way", reason_);
  }
  return std::nullopt;
}

void Breaker::on_dispatch(SteadyTime now) {
  if (blocked_until_ && now >= *blocked_until_) {
    probing_ = true;
  }
}

void Breaker::count(bool failed, SteadyTime now) {
  ++attempts_;
  if (failed && failures_ == 0) {
    failing_since_ = now;
  }
  failures_ = failed ? failures_ + 1 : 0;
  average(failed);
}

void Breaker::average(bool failed) {
  seen_ = std::min(seen_ + 1, kMostSeen);
  failure_rate_ += ((failed ? 1.0 : 0.0) - failure_rate_) / seen_;
}

void Breaker::on_success(SteadyTime now) {
  count(false, now);
  probing_ = false;
  blocked_until_.reset();
  if (std::exchange(ejected_, false)) {
    recovered_ = now;
  }
}

void Breaker::on_failure(SteadyTime now) {
  count(true, now);
  if (ejected_ && blocked_until_ && now < *blocked_until_) {
    return;  // an attempt from before the ejection: it tells nothing new
  }
  const bool failed_probe = probing_ && ejected_;
  probing_ = false;
  const bool too_often = attempts_ >= options_.attempts_to_judge &&
                         failure_rate_ * 100 > options_.failure_percent_to_eject;
  const bool lasting =
      failures_ >= options_.failures_to_eject &&
      (now - failing_since_ >= options_.lasting || options_.failures_to_eject == 1);
  if (lasting || failures_ >= options_.failures_at_once || failed_probe) {
    eject(now, fmt::format("ejected after {} failures in a row", failures_));
  } else if (too_often) {
    eject(now, fmt::format("ejected after {:.0f} % failures", failure_rate_ * 100));
  }
}

void Breaker::eject(SteadyTime now, std::string reason) {
  if (recovered_ && now - *recovered_ > options_.calm) {
    ejections_ = 0;
  }
  recovered_.reset();
  attempts_ = 0;
  const int doublings = std::min(ejections_++, 16);
  const auto grown = std::chrono::milliseconds(options_.first_ejection.count() << doublings);
  const auto base = std::min(options_.max_ejection, grown);
  // Jitter over the upper half, so that several gateways do not probe in step.
  const double factor = 0.5 + 0.5 * random_.uniform();
  const auto wait = std::chrono::milliseconds(
      static_cast<std::int64_t>(static_cast<double>(base.count()) * factor));
  blocked_until_ = now + wait;
  ejected_ = true;
  reason_ = std::move(reason);
}

void Breaker::on_retry_after(SteadyTime now, std::chrono::milliseconds wait) {
  // It is well and says so; an average of its refusals still helps to choose.
  average(true);
  probing_ = false;
  const auto until = now + std::min(wait, std::chrono::milliseconds(120'000));
  blocked_until_ = blocked_until_ ? std::max(*blocked_until_, until) : until;
  reason_ = fmt::format("cooling down for {} ms as the endpoint asked", wait.count());
}

void Breaker::on_neutral() {
  probing_ = false;
}

double Breaker::ramp(SteadyTime now) const {
  if (!recovered_ || options_.ramp.count() == 0) {
    return 1;
  }
  const double passed = std::chrono::duration<double>(now - *recovered_) / options_.ramp;
  return std::clamp(kFirstShare + (1 - kFirstShare) * passed, kFirstShare, 1.0);
}

}  // namespace genesis::endpoint
