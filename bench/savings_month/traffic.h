// The fleet's traffic: who asks, for what kind of task, how many tokens, and when. Everything that
// is assumed stands in traffic.cpp with its reason, and is printed with the results.
#pragma once

#include "base/random.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::bench {

struct Ask {
  std::string_view agent;
  std::string_view task;
  std::int64_t input = 0;  // tokens
  std::int64_t output = 0;
  std::int64_t at_ms = 0;  // since the month began
};

// What the same traffic costs at 2.50 and 10.00 USD per million tokens, on average: USD per
// request.
double mean_cost_usd();

// Requests of `hours` hours, in order of time, so many that the mean costs `usd_per_month` at that
// price in 720 hours.
std::vector<Ask> make_traffic(Random& random, std::int64_t hours, double usd_per_month);

std::vector<std::string> traffic_assumptions(double usd_per_month);

}  // namespace genesis::bench
