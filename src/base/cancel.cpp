#include "base/cancel.h"

#include <algorithm>

namespace genesis {

CancelHook& CancelHook::operator=(CancelHook&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}

void CancelHook::reset() {
  if (const auto state = state_.lock(); state && id_ != 0) {
    std::erase_if(state->hooks, [this](const auto& hook) { return hook.first == id_; });
  }
  id_ = 0;
}

CancelHook CancelToken::on_cancel(std::function<void()> hook) const {
  if (!state_) {
    return {};
  }
  if (state_->cancelled) {
    hook();
    return {};
  }
  const std::uint64_t id = state_->next_id++;
  state_->hooks.emplace_back(id, std::move(hook));
  return {state_, id};
}

void CancelSource::cancel() {
  if (std::exchange(state_->cancelled, true)) {
    return;
  }
  // A hook may drop other hooks or the source itself, so work on our own reference and a moved
  // list.
  const auto state = state_;
  while (!state->hooks.empty()) {
    auto hook = std::move(state->hooks.front().second);
    state->hooks.erase(state->hooks.begin());
    hook();
  }
}

}  // namespace genesis
