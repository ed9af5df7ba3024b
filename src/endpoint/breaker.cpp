#include "endpoint/breaker.h"

#include <fmt/format.h>

#include <algorithm>

namespace genesis::endpoint {

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

void Breaker::on_success() {
  failures_ = 0;
  ejections_ = 0;
  probing_ = false;
  blocked_until_.reset();
}

void Breaker::on_failure(SteadyTime now) {
  ++failures_;
  const bool failed_probe = probing_;
  probing_ = false;
  if (failures_ < options_.failures_to_eject && !failed_probe) {
    return;
  }
  const int doublings = std::min(ejections_++, 16);
  const auto grown = std::chrono::milliseconds(options_.first_ejection.count() << doublings);
  const auto base = std::min(options_.max_ejection, grown);
  // Full jitter on the upper half, so that several gateways do not probe in step.
  const double factor = 0.5 + 0.5 * random_.uniform();
  const auto wait = std::chrono::milliseconds(
      static_cast<std::int64_t>(static_cast<double>(base.count()) * factor));
  blocked_until_ = now + wait;
  reason_ = fmt::format("ejected after {} failures in a row", failures_);
}

void Breaker::on_retry_after(SteadyTime now, std::chrono::milliseconds wait) {
  probing_ = false;
  const auto until = now + std::min(wait, std::chrono::milliseconds(120'000));
  blocked_until_ = blocked_until_ ? std::max(*blocked_until_, until) : until;
  reason_ = fmt::format("cooling down for {} ms as the endpoint asked", wait.count());
}

void Breaker::on_neutral() {
  probing_ = false;
}

}  // namespace genesis::endpoint
