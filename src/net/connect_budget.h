// ConnectBudget: how long to wait for a connection to one place. Once a few were opened, a
// blackhole need not cost the whole configured time: eight times what it takes on average is waited
// for, never less than a quarter of a second.
#pragma once

#include <algorithm>
#include <chrono>

namespace genesis::net {

// Lives on the client's thread.
class ConnectBudget {
 public:
  explicit ConnectBudget(std::chrono::milliseconds most) : most_(most) {}

  std::chrono::milliseconds current() const {
    if (seen_ < kWarmUp) {
      return most_;
    }
    return std::min(most_,
                    std::max(kLeast, std::chrono::milliseconds(static_cast<int>(8 * average_ms_))));
  }

  void on_connected(std::chrono::duration<double, std::milli> took) {
    average_ms_ = seen_ == 0 ? took.count() : 0.8 * average_ms_ + 0.2 * took.count();
    ++seen_;
  }

  // The way has become longer, or nobody is there: the next tries wait the whole time again.
  void on_timeout() { seen_ = 0; }

 private:
  static constexpr int kWarmUp = 5;
  // Above any healthy way around the world; a lost SYN, repeated after a second, is not waited for.
  static constexpr std::chrono::milliseconds kLeast{250};

  std::chrono::milliseconds most_;
  double average_ms_ = 0;
  int seen_ = 0;
};

}  // namespace genesis::net
