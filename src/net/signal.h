// One waiting coroutine, woken by notify() or by the clock: the only way this room waits with a
// limit.
#pragma once

#include "base/clock.h"
#include "base/task.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace genesis::net {

// Lives on the io thread. A wake-up may be early, so the waiter checks its condition in a loop; a
// notify() while nobody waits is not remembered.
class Signal {
 public:
  explicit Signal(const Executor& executor) : timer_(executor) {}

  void notify() { timer_.cancel(); }

  Task<void> wait_until(SteadyTime time) {
    timer_.expires_at(time);
    co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }

 private:
  boost::asio::steady_timer timer_;
};

}  // namespace genesis::net
