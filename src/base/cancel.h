// CancelSource / CancelToken: "the caller is gone" told downwards, from the client's socket to the
// upstream's. Single-threaded: a source, its tokens and its hooks live on the io thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace genesis {

namespace detail {

struct CancelState {
  bool cancelled = false;
  std::uint64_t next_id = 1;
  std::vector<std::pair<std::uint64_t, std::function<void()>>> hooks;
};

}  // namespace detail

// Keeps a hook registered for as long as it lives.
class CancelHook {
 public:
  CancelHook() = default;

  CancelHook(std::weak_ptr<detail::CancelState> state, std::uint64_t id)
      : state_(std::move(state)), id_(id) {}

  CancelHook(CancelHook&& other) noexcept
      : state_(std::move(other.state_)), id_(std::exchange(other.id_, 0)) {}

  CancelHook& operator=(CancelHook&& other) noexcept;
  CancelHook(const CancelHook&) = delete;
  CancelHook& operator=(const CancelHook&) = delete;

  ~CancelHook() { reset(); }

  void reset();

 private:
  std::weak_ptr<detail::CancelState> state_;
  std::uint64_t id_ = 0;
};

// The listening side; copies share one state. A default-made token is never cancelled.
class CancelToken {
 public:
  CancelToken() = default;

  explicit CancelToken(std::shared_ptr<detail::CancelState> state) : state_(std::move(state)) {}

  bool cancelled() const { return state_ && state_->cancelled; }

  // Calls `hook` once when cancelled; at once if that has happened already.
  [[nodiscard]] CancelHook on_cancel(std::function<void()> hook) const;

 private:
  std::shared_ptr<detail::CancelState> state_;
};

// The deciding side. Cancelling twice is the same as once.
class CancelSource {
 public:
  CancelSource() : state_(std::make_shared<detail::CancelState>()) {}

  void cancel();

  bool cancelled() const { return state_->cancelled; }

  CancelToken token() const { return CancelToken(state_); }

 private:
  std::shared_ptr<detail::CancelState> state_;
};

}  // namespace genesis
