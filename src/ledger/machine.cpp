// Paying minute by minute.
#include "ledger/machine.h"

#include "base/log.h"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <memory>

namespace genesis::ledger {

namespace {

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kDayMs = 24 * 60 * kMinuteMs;
constexpr std::chrono::milliseconds kRetry{1000};

std::int64_t minute_of(std::int64_t unix_ms) {
  return unix_ms - unix_ms % kMinuteMs;
}

}  // namespace

Task<Result<void>> MachineMeter::pay() {
  const std::int64_t now = clock_.unix_ms();
  const bool usable = paid_until_ms_ > now - kDayMs && paid_until_ms_ <= now + 2 * kMinuteMs;
  std::int64_t minute = usable ? paid_until_ms_ : minute_of(now);
  while (minute <= now + options_.ahead.count()) {
    GENESIS_CO_TRY_VOID(co_await ledger_.charge_machine({.endpoint = options_.endpoint,
                                                         .tier = options_.tier,
                                                         .start_ms = minute,
                                                         .per_hour = options_.per_hour}));
    minute += kMinuteMs;
    paid_until_ms_ = minute;
  }
  co_return Result<void>{};
}

Task<void> MachineMeter::run(CancelToken cancel) {
  auto timer =
      std::make_shared<boost::asio::steady_timer>(co_await boost::asio::this_coro::executor);
  const CancelHook hook = cancel.on_cancel([timer] { timer->cancel(); });
  while (!cancel.cancelled()) {
    const auto paid = co_await pay();
    std::chrono::milliseconds wait = kRetry;
    if (paid) {
      const std::int64_t left = paid_until_ms_ - options_.ahead.count() - clock_.unix_ms();
      wait = std::chrono::milliseconds(std::clamp<std::int64_t>(left, 10, kMinuteMs));
    } else {
      log(LogLevel::kError,
          "machine time could not be booked",
          {{"endpoint", options_.endpoint}, {"error", paid.error().message}});
    }
    if (cancel.cancelled()) {
      break;
    }
    timer->expires_after(wait);
    try {
      co_await timer->async_wait(boost::asio::use_awaitable);
    } catch (const boost::system::system_error&) {  // NOLINT(bugprone-empty-catch)
      // Cancelled: the loop's condition tells.
    }
  }
}

}  // namespace genesis::ledger
