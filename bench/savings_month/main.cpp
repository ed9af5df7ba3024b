// savings_month: the plan's cost table from a simulated month of fleet traffic.
//   savings_month [--check] [--hours N] [--seed N] [--usd N] [--stage NAME] [--configs DIR]
//                 [--folder DIR]
// --check: exit 1 when a stage's cut is more than ten points from what the plan says.
// Prints assumptions, the table, and where the simulation does not give what the plan says. With
// fewer than 720 hours the figures are scaled to a month, machine hours as well.
#include "base/log.h"
#include "ledger/money.h"
#include "stage.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace genesis;
using namespace genesis::bench;

struct Arguments {
  StageRun run;
  bool check = false;
  std::int64_t usd = 500;  // the plan's business
  std::string stage;       // empty: all
};

const std::vector<Stage>& stages() {
  static const std::vector<Stage> all = {{.name = "before",
                                          .plan_cut = "0",
                                          .least_permille = 0,
                                          .most_permille = 0,
                                          .plan_cost = "500"},
                                         {.name = "week_1",
                                          .plan_cut = "40",
                                          .least_permille = 400,
                                          .most_permille = 400,
                                          .plan_cost = "300"},
                                         {.name = "weeks_2_4",
                                          .plan_cut = "70",
                                          .least_permille = 700,
                                          .most_permille = 700,
                                          .plan_cost = "150"},
                                         {.name = "weeks_5_6",
                                          .plan_cut = "80-90",
                                          .least_permille = 800,
                                          .most_permille = 900,
                                          .plan_cost = "50-100"},
                                         {.name = "with_caching",
                                          .plan_cut = "94-97",
                                          .least_permille = 940,
                                          .most_permille = 970,
                                          .plan_cost = "30-50",
                                          .idle_stop_minutes = 10,
                                          .cached_permille = 600,
                                          .case_bank_permille = 200},
                                         {.name = "full_stack",
                                          .plan_cut = "56-68",
                                          .least_permille = 560,
                                          .most_permille = 680,
                                          .plan_cost = "160-220",
                                          .idle_stop_minutes = 10}};
  return all;
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = end.ec == std::errc() && end.ptr == text.data() + text.size() && value > 0;
  return good ? std::optional(value) : std::nullopt;
}

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  if (argc > 1 && std::string_view(argv[1]) == "--check") {
    arguments.check = true;
    --argc;
    ++argv;
  }
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    const std::string_view value = argv[i + 1];
    const auto count = number(value);
    if (flag == "--hours" && count && *count <= 8'760) {
      arguments.run.hours = *count;
    } else if (flag == "--seed" && count) {
      arguments.run.seed = static_cast<std::uint64_t>(*count);
    } else if (flag == "--usd" && count && *count <= 1'000'000) {
      arguments.usd = *count;
    } else if (flag == "--stage") {
      arguments.stage = value;
    } else if (flag == "--configs") {
      arguments.run.configs = value;
    } else if (flag == "--folder") {
      arguments.run.scratch = value;
    } else {
      return std::nullopt;
    }
  }
  return argc % 2 == 1 ? std::optional(arguments) : std::nullopt;
}

// An amount of the simulated hours as one of a month, in cents.
std::int64_t cents_a_month(NanoUsd amount, std::int64_t hours) {
  return ledger::scale_money(amount, 720, hours * (kNanoPerUsd / 100), ledger::Rounding::kUp);
}

std::string usd(std::int64_t cents) {
  return fmt::format("{}.{:02}", cents / 100, cents % 100);
}

std::string percent(std::int64_t permille_value) {
  return fmt::format("{:.1f}", static_cast<double>(permille_value) / 10);
}

void print_assumptions(const Arguments& arguments) {
  fmt::print("seed {}, {} hours{}\n\nAssumptions\n",
             arguments.run.seed,
             arguments.run.hours,
             arguments.run.hours == 720 ? "" : ", scaled to 720");
  for (const auto& lines :
       {traffic_assumptions(static_cast<double>(arguments.usd)), endpoint_assumptions()}) {
    for (const std::string& line : lines) {
      fmt::print("  {}\n", line);
    }
  }
  fmt::print(
      "  with_caching: 60 % of the input cached at a tenth of its price, 20 % of the cheap"
      " tasks answered by a case bank without a call; neither share is the plan's\n\n");
}

void print_row(const Stage& stage,
               const StageResult& result,
               std::int64_t before,
               std::int64_t hours) {
  const ledger::Savings& s = result.savings;
  const std::int64_t cost = cents_a_month(s.total_cost(), hours);
  fmt::print("{:<14}{:>9}{:>8}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}\n",
             stage.name,
             stage.plan_cost,
             stage.plan_cut,
             usd(cost),
             percent(ledger::permille(before - cost, before)),
             percent(ledger::permille(s.saving(), s.baseline)),
             usd(cents_a_month(s.machine, hours)),
             usd(cents_a_month(s.tiers[2].spend, hours)),
             percent(s.tiers[2].share_permille),
             result.requests,
             result.unanswered);
}

struct Row {
  const Stage* stage;
  std::int64_t cents;
};

// At so many businesses every figure is that many times as large: each has its own endpoints here,
// and no machine is shared.
void print_thousand(const std::vector<Row>& rows) {
  fmt::print(
      "\n1,000 businesses, each for itself, USD a month (plan: 500k, 300k, 150k, 50-100k)\n");
  for (const Row& row : rows) {
    fmt::print("  {:<14}{:>9} k\n", row.stage->name, row.cents / 100);
  }
}

// The plan's figure with ten points of tolerance both ways: the plan's traffic is not known.
bool near_plan(const Stage& stage, std::int64_t cut_permille) {
  constexpr std::int64_t kTolerance = 100;
  return cut_permille >= stage.least_permille - kTolerance &&
         cut_permille <= stage.most_permille + kTolerance;
}

int run(const Arguments& arguments) {
  Random random(arguments.run.seed);
  const std::vector<Ask> traffic =
      make_traffic(random, arguments.run.hours, static_cast<double>(arguments.usd));
  print_assumptions(arguments);
  fmt::print("{:<14}{:>9}{:>8}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}\n",
             "stage",
             "plan USD",
             "plan %",
             "USD",
             "cut %",
             "ledger %",
             "machines",
             "comm.",
             "comm. %",
             "requests",
             "failed");
  std::int64_t before = arguments.usd * 100;
  std::vector<Row> rows;
  std::string off;
  for (const Stage& stage : stages()) {
    if (!arguments.stage.empty() && arguments.stage != stage.name && stage.name != "before") {
      continue;
    }
    const auto result = run_stage(stage, traffic, arguments.run);
    if (!result) {
      fmt::print(stderr, "{}: {}\n", stage.name, result.error().message);
      return 1;
    }
    const std::int64_t cents = cents_a_month(result->savings.total_cost(), arguments.run.hours);
    before = stage.name == "before" ? cents : before;
    print_row(stage, *result, before, arguments.run.hours);
    std::fflush(stdout);
    rows.push_back({&stage, cents});
    const std::int64_t cut = ledger::permille(before - cents, before);
    if (!near_plan(stage, cut)) {
      off += fmt::format(
          "  {}: {} % less, the plan says {} %\n", stage.name, percent(cut), stage.plan_cut);
    }
  }
  print_thousand(rows);
  fmt::print(
      "\ncut %: of the simulated cost before. ledger %: genesis savings' own figure, the"
      " baseline of what was delivered minus all cost, of the baseline.\n");
  fmt::print("{}{}",
             off.empty() ? "Every stage is within ten points of the plan.\n"
                         : "More than ten points from the plan:\n",
             off);
  return arguments.check && !off.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  log_configure(LogLevel::kOff, "text");
  auto arguments = parse(argc, argv);
  if (!arguments) {
    fmt::print(stderr,
               "savings_month [--check] [--hours N] [--seed N] [--usd N] [--stage NAME]"
               " [--configs DIR] [--folder DIR]\n");
    return 2;
  }
  if (arguments->run.configs.empty()) {
    arguments->run.configs = GENESIS_SAVINGS_MONTH_CONFIGS;
  }
  std::string made;
  if (arguments->run.scratch.empty()) {
    made = (std::filesystem::temp_directory_path() / "genesis-month-XXXXXX").string();
    if (::mkdtemp(made.data()) == nullptr) {
      fmt::print(stderr, "no scratch folder\n");
      return 1;
    }
    arguments->run.scratch = made;
  }
  const int code = run(*arguments);
  if (!made.empty()) {
    std::error_code ignored;
    std::filesystem::remove_all(made, ignored);
  }
  return code;
}
