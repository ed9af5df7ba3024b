#include "traffic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace genesis::bench {

namespace {

constexpr double kHoursPerMonth = 720;
// gpt-4o's list price of 2025-11-04.
constexpr double kInputUsd = 2.50e-6;
constexpr double kOutputUsd = 10.00e-6;
// Spread of token counts around their median, of the logarithm. 0.6 puts the 95th percentile at 2.7
// times the median.
constexpr double kSpread = 0.6;

// Medians of tokens. Routing and classification read a request and say a word; validation reads
// what was produced and says what is wrong; the other three are turns of agents with their context.
struct Kind {
  std::string_view task;
  double input;
  double output;
};

constexpr std::array kKinds = {Kind{"routing", 1'200, 40},
                               Kind{"classification", 1'500, 30},
                               Kind{"validation", 3'200, 120},
                               Kind{"general", 1'800, 550},
                               Kind{"tools", 2'600, 350},
                               Kind{"reasoning", 2'400, 700}};

// Fifteen agents by their share of all calls and what they do when they do not classify or
// validate. With the shares below half of all calls are routing, classification or validation: the
// mission's figure.
struct Agent {
  std::string_view name;
  double weight;
  std::string_view own_task;
};

constexpr std::array kAgents = {Agent{"router", 12, "routing"},
                                Agent{"analyst", 5.3, "reasoning"},
                                Agent{"builder", 5.3, "reasoning"},
                                Agent{"qa", 5.3, "reasoning"},
                                Agent{"reviewer", 5.3, "reasoning"},
                                Agent{"security", 5.3, "reasoning"},
                                Agent{"data", 7.6, "tools"},
                                Agent{"deployment", 7.6, "tools"},
                                Agent{"researcher", 7.6, "tools"},
                                Agent{"support", 9.4, "general"},
                                Agent{"documentation", 5.8, "general"},
                                Agent{"planner", 5.8, "general"},
                                Agent{"marketing", 5.8, "general"},
                                Agent{"onboarding", 5.8, "general"},
                                Agent{"finance", 5.8, "general"}};

constexpr double kClassification = 0.16;  // of an agent's calls, the router's apart
constexpr double kValidation = 0.27;

// Work is done by day: weight of an hour of a weekday and of a weekend day.
double hour_weight(std::int64_t hour) {
  const std::int64_t of_day = hour % 24;
  const bool weekend = (hour / 24) % 7 >= 5;
  const double weight = of_day >= 9 && of_day < 18 ? 1.0 : of_day >= 6 && of_day < 22 ? 0.3 : 0.05;
  return weekend ? weight * 0.2 : weight;
}

double mean_hour_weight() {
  double sum = 0;
  for (std::int64_t hour = 0; hour < 168; ++hour) {
    sum += hour_weight(hour);
  }
  return sum / 168;
}

const Kind& kind(std::string_view task) {
  return *std::ranges::find(kKinds, task, &Kind::task);
}

double total_weight() {
  double sum = 0;
  for (const Agent& agent : kAgents) {
    sum += agent.weight;
  }
  return sum;
}

// The mean of a log-normal distribution with this median.
double mean_of(double median) {
  return median * std::exp(kSpread * kSpread / 2);
}

double mean_cost(const Kind& of) {
  return mean_of(of.input) * kInputUsd + mean_of(of.output) * kOutputUsd;
}

double normal(Random& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(2 * std::numbers::pi * random.uniform());
}

std::int64_t tokens(Random& random, double median) {
  const double drawn = median * std::exp(kSpread * normal(random));
  return std::clamp<std::int64_t>(std::llround(drawn), 4, 100'000);
}

const Agent& draw_agent(Random& random) {
  double at = random.uniform() * total_weight();
  for (const Agent& agent : kAgents) {
    at -= agent.weight;
    if (at < 0) {
      return agent;
    }
  }
  return kAgents.back();
}

std::string_view draw_task(Random& random, const Agent& agent) {
  const double at = random.uniform();
  if (agent.own_task == "routing" || at >= kClassification + kValidation) {
    return agent.own_task;
  }
  return at < kClassification ? "classification" : "validation";
}

Ask draw_ask(Random& random, std::int64_t at_ms) {
  const Agent& agent = draw_agent(random);
  const std::string_view task = draw_task(random, agent);
  return {.agent = agent.name,
          .task = task,
          .input = tokens(random, kind(task).input),
          .output = tokens(random, kind(task).output),
          .at_ms = at_ms};
}

}  // namespace

double mean_cost_usd() {
  double sum = 0;
  for (const Agent& agent : kAgents) {
    const double own = agent.own_task == "routing" ? 1 : 1 - kClassification - kValidation;
    sum += agent.weight *
           (own * mean_cost(kind(agent.own_task)) +
            (agent.own_task == "routing" ? 0
                                         : kClassification * mean_cost(kind("classification")) +
                                               kValidation * mean_cost(kind("validation"))));
  }
  return sum / total_weight();
}

std::vector<Ask> make_traffic(Random& random, std::int64_t hours, double usd_per_month) {
  const double per_hour = usd_per_month / mean_cost_usd() / kHoursPerMonth / mean_hour_weight();
  std::vector<Ask> asks;
  constexpr double kHourMs = 3'600'000;
  for (std::int64_t hour = 0; hour < hours; ++hour) {
    const double rate = per_hour * hour_weight(hour) / kHourMs;
    double at = static_cast<double>(hour) * kHourMs;
    const double end = at + kHourMs;
    // Independent arrivals: exponential gaps.
    while ((at += -std::log(1 - random.uniform()) / rate) < end) {
      asks.push_back(draw_ask(random, static_cast<std::int64_t>(at)));
    }
  }
  return asks;
}

std::vector<std::string> traffic_assumptions(double usd_per_month) {
  std::vector<std::string> lines = {fmt::format(
      "{:.0f} requests a month, so that all of them at gpt-4o's list price cost {:.0f} USD",
      usd_per_month / mean_cost_usd(),
      usd_per_month)};
  lines.push_back(
      "15 agents; 43 % of the calls of each classify or validate and the router only"
      " routes, so half of all calls are cheap tasks (the plan's figure)");
  std::string kinds;
  for (const Kind& each : kKinds) {
    kinds += fmt::format(
        "{}{} {:.0f}/{:.0f}", kinds.empty() ? "" : ", ", each.task, each.input, each.output);
  }
  lines.push_back("median tokens in/out, log-normal with sigma 0.6: " + kinds);
  lines.push_back("weekdays 9-18 h full load, 6-22 h 30 %, nights 5 %; weekends a fifth of that");
  return lines;
}

}  // namespace genesis::bench
