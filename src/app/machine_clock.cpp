#include "app/machine_clock.h"

#include "base/log.h"
#include "ledger/machine.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// How often running engines are looked at; minutes are paid ahead, so this can be slow.
constexpr milliseconds kPeriod{1'000};
constexpr milliseconds kStopPoll{1};

}  // namespace

void MachineClock::follow(const Generation& generation) {
  std::erase_if(payers_, [&](Payer& payer) {
    const auto successor = generation.chain(payer.chain->config().name);
    if (!successor) {
      return false;
    }
    const auto per_hour = generation.prices()->endpoint_per_hour(successor->config().name);
    if (successor == payer.chain && per_hour == payer.per_hour) {
      return false;
    }
    payer.stop.cancel();
    return true;
  });
  for (const auto& chain : generation.chains()) {
    const auto per_hour = generation.prices()->endpoint_per_hour(chain->config().name);
    const auto is_paid = [&](const Payer& payer) { return payer.chain == chain; };
    if (!per_hour || std::ranges::any_of(payers_, is_paid)) {
      continue;
    }
    payers_.push_back({.chain = chain, .per_hour = *per_hour, .stop = {}});
    ++running_;
    boost::asio::co_spawn(
        executor_, pay_for(chain, *per_hour, payers_.back().stop.token()), boost::asio::detached);
  }
}

void MachineClock::release(const EndpointChain& chain) {
  std::erase_if(payers_, [&](Payer& payer) {
    if (payer.chain.get() != &chain) {
      return false;
    }
    payer.stop.cancel();
    return true;
  });
}

// Books machine time while there is a machine: always for a managed endpoint with an hourly price,
// for a local one while its process runs.
Task<void> MachineClock::pay_for(std::shared_ptr<EndpointChain> chain,
                                 NanoUsd per_hour,
                                 CancelToken stop) {
  std::optional<ledger::MachineMeter> meter;
  boost::asio::steady_timer timer(executor_);
  const CancelHook wake = stop.on_cancel([&timer] { timer.cancel(); });
  while (!stop.cancelled()) {
    const bool runs = chain->engine() == nullptr || chain->engine()->pid() != 0;
    if (!runs) {
      meter.reset();  // what was stopped is not paid for; the next start pays anew
    } else {
      if (!meter) {
        meter.emplace(ledger_,
                      clock_,
                      ledger::MachineMeterOptions{.endpoint = chain->config().name,
                                                  .tier = chain->config().tier,
                                                  .per_hour = per_hour});
      }
      const auto paid = co_await meter->pay();
      if (!paid) {
        log(LogLevel::kError,
            "machine time was not booked",
            {{"endpoint", chain->config().name}, {"reason", paid.error().message}});
      }
    }
    timer.expires_after(kPeriod);
    if (!stop.cancelled()) {
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
  }
  --running_;
}

Task<void> MachineClock::stop() {
  for (Payer& payer : payers_) {
    payer.stop.cancel();
  }
  payers_.clear();
  boost::asio::steady_timer timer(executor_);
  while (running_ > 0) {
    timer.expires_after(kStopPoll);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

}  // namespace genesis::app
