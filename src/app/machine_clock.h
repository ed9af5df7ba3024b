// MachineClock: books machine time for every endpoint that has a price per hour.
#pragma once

#include "app/endpoint_chain.h"
#include "app/generation.h"
#include "base/cancel.h"
#include "base/task.h"
#include "ledger/sql_ledger.h"

#include <memory>
#include <vector>

namespace genesis::app {

// Lives on the io thread. `ledger` and `clock` outlive it; await stop() before its end.
class MachineClock {
 public:
  MachineClock(Executor executor, ledger::SqlLedger& ledger, const Clock& clock)
      : executor_(std::move(executor)), ledger_(ledger), clock_(clock) {}

  // Pays for the endpoints of this generation from now on. An endpoint that it no longer has is
  // paid for until release(): its machine works on for the requests in flight.
  void follow(const Generation& generation);
  void release(const EndpointChain& chain);
  Task<void> stop();

 private:
  struct Payer {
    std::shared_ptr<EndpointChain> chain;
    NanoUsd per_hour = 0;
    CancelSource stop;
  };

  Task<void> pay_for(std::shared_ptr<EndpointChain> chain, NanoUsd per_hour, CancelToken stop);

  Executor executor_;
  ledger::SqlLedger& ledger_;
  const Clock& clock_;
  std::vector<Payer> payers_;
  int running_ = 0;
};

}  // namespace genesis::app
