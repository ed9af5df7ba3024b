// MachineMeter: the hours of a machine that serves an endpoint, booked whether or not it is busy.
// Each started minute is paid in advance, as clouds do, so that a kill at any moment leaves no
// minute that ran and was not booked; starting again within a paid minute costs nothing more.
#pragma once

#include "api/chat.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/task.h"
#include "ledger/sql_ledger.h"

#include <chrono>
#include <string>

namespace genesis::ledger {

struct MachineMeterOptions {
  std::string endpoint;
  Tier tier = Tier::kSelfHosted;
  // Zero is a decision that the configuration must state; the rows are written all the same.
  NanoUsd per_hour = 0;
  // The next minute is paid this long before it starts.
  std::chrono::milliseconds ahead{5000};
};

// Lives on the io thread; `ledger` and `clock` outlive it.
class MachineMeter {
 public:
  MachineMeter(SqlLedger& ledger, const Clock& clock, MachineMeterOptions options)
      : ledger_(ledger), clock_(clock), options_(std::move(options)) {}

  // Pays for every started minute from the last paid one (or now) up to now + ahead. Await it once
  // before the machine starts. A gap of more than a day, or a clock set back, starts anew at now.
  Task<Result<void>> pay();

  // pay() again and again until cancelled; an error is logged and tried again a second later.
  Task<void> run(CancelToken cancel);

  // The end of what is paid, in milliseconds since 1970; 0: nothing yet.
  std::int64_t paid_until_ms() const { return paid_until_ms_; }

 private:
  SqlLedger& ledger_;
  const Clock& clock_;
  MachineMeterOptions options_;
  std::int64_t paid_until_ms_ = 0;
};

}  // namespace genesis::ledger
