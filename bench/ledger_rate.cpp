// What the ledger costs: attempts (reserve and post) at a fixed rate or flat out, with the time
// each call took and the CPU time of the whole process, its writer thread included.
//   ledger_rate [--tier own|paid|none] [--rate N] [--seconds N] [--parallel N] [--budgets N]
//   [--ring no]
//               [--folder DIR]
#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "ledger/budget.h"
#include "ledger/schema.h"
#include "ledger/sql_ledger.h"
#include "ledger/verify.h"
#include "store/database.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace genesis;
using Steady = std::chrono::steady_clock;

struct Plan {
  bool paid = false;
  bool idle = false;  // --tier none: what the program costs without the ledger
  bool ring = true;
  int rate = 5000;  // attempts a second; 0: as fast as it goes
  int seconds = 5;
  int parallel = 64;
  int budgets = 0;
  std::filesystem::path folder;
};

struct Samples {
  std::vector<std::int64_t> reserve_ns;
  std::vector<std::int64_t> post_ns;
  std::int64_t failed = 0;
};

std::int64_t cpu_us() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) { return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_usec; };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

std::int64_t percentile(std::vector<std::int64_t>& sorted, std::size_t percent) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, sorted.size() * percent / 100)];
}

Task<void> worker(ledger::SqlLedger& ledger, const Plan& plan, int index, Samples& out) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  const auto begin = Steady::now();
  const auto end = begin + std::chrono::seconds(plan.seconds);
  const auto pause = plan.rate == 0
                         ? std::chrono::nanoseconds(0)
                         : std::chrono::nanoseconds(1'000'000'000LL * plan.parallel / plan.rate);
  auto due = begin + pause * index / plan.parallel;
  while (due < end && Steady::now() < end) {
    if (plan.rate != 0) {
      timer.expires_at(due);
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
    due += pause;
    const AttemptId id{new_id("req-"), 1};
    const Reservation reservation{.id = id,
                                  .tenant = "acme",
                                  .key_id = "k1",
                                  .team = "qa",
                                  .agent = "builder",
                                  .route = "auto",
                                  .endpoint = plan.paid ? "openai" : "local",
                                  .tier = plan.paid ? Tier::kCommercial : Tier::kSelfHosted,
                                  .model = plan.paid ? "gpt-4o" : "smollm2-135m-instruct",
                                  .upper_bound = {.input = 1200, .output = 256}};
    if (plan.idle) {
      out.post_ns.push_back(0);
      continue;
    }
    const auto before = Steady::now();
    const auto reserved = co_await ledger.reserve(reservation);
    const auto between = Steady::now();
    const AttemptOutcome outcome{.usage = {.input = 1000, .output = 100},
                                 .delivered = true,
                                 .finish = "stop",
                                 .first_token_ms = 20,
                                 .total_ms = 90};
    const auto posted = co_await ledger.post(id, outcome);
    const auto after = Steady::now();
    out.failed += reserved && posted ? 0 : 1;
    out.reserve_ns.push_back((between - before).count());
    out.post_ns.push_back((after - between).count());
    if (plan.rate == 0) {
      timer.expires_at(after);
      co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    }
  }
}

int fail_with(const Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

int run(const Plan& plan) {
  const SystemClock clock;
  MetricsRegistry metrics;
  const auto path = plan.folder / "ledger.db";
  auto database = store::Database::open({.path = path, .schemas = {ledger::schema()}});
  if (!database) {
    return fail_with(database.error());
  }
  ledger::PriceTable prices = ledger::PriceTable::defaults();
  prices.set_endpoint_hourly("local", 50'000'000);
  ledger::SqlLedgerOptions options{
      .prices = std::make_shared<const ledger::PriceTable>(std::move(prices)),
      .baselines = {.model = "gpt-4o", .routes = {}}};
  if (plan.ring) {
    options.ring = path.string() + ".ring";
  }
  auto ledger = ledger::SqlLedger::open(**database, clock, metrics, std::move(options));
  if (!ledger) {
    return fail_with(ledger.error());
  }
  std::vector<ledger::Budget> budgets;
  for (int i = 0; i < plan.budgets; ++i) {
    budgets.push_back({.scope = ledger::BudgetScope::kTeam,
                       .subject = i == 0 ? "qa" : "team" + std::to_string(i),
                       .limit = 1'000'000 * kNanoPerUsd});
  }
  if (const auto set = (*ledger)->set_file_budgets(budgets); !set) {
    return fail_with(set.error());
  }
  boost::asio::io_context io(1);
  Samples samples;
  const std::int64_t cpu_before = cpu_us();
  const auto begin = Steady::now();
  for (int i = 0; i < plan.parallel; ++i) {
    boost::asio::co_spawn(io, worker(**ledger, plan, i, samples), boost::asio::detached);
  }
  io.run();
  ledger->reset();
  const std::int64_t cpu = cpu_us() - cpu_before;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Steady::now() - begin);
  const auto attempts = std::ssize(samples.post_ns);
  std::ranges::sort(samples.reserve_ns);
  std::ranges::sort(samples.post_ns);
  const auto commits = static_cast<std::int64_t>((*database)->stats().commits);
  std::printf("%s tier, %s: %lld attempts in %lld ms = %lld/s, %lld failed, %lld commits\n",
              plan.paid   ? "paid"
              : plan.idle ? "no"
                          : "own",
              plan.ring ? "ring" : "no ring",
              static_cast<long long>(attempts),
              static_cast<long long>(ms.count()),
              static_cast<long long>(attempts * 1000 / std::max<std::int64_t>(1, ms.count())),
              static_cast<long long>(samples.failed),
              static_cast<long long>(commits));
  std::printf(
      "  CPU per attempt %.1f us; reserve p50 %.3f ms, p99 %.3f ms; post p50 %.3f ms, p99 "
      "%.3f ms\n",
      static_cast<double>(cpu) / static_cast<double>(std::max<std::int64_t>(1, attempts)),
      static_cast<double>(percentile(samples.reserve_ns, 50)) / 1e6,
      static_cast<double>(percentile(samples.reserve_ns, 99)) / 1e6,
      static_cast<double>(percentile(samples.post_ns, 50)) / 1e6,
      static_cast<double>(percentile(samples.post_ns, 99)) / 1e6);
  if (plan.idle) {
    return 0;
  }
  const auto report = ledger::verify_rows(**database);
  if (!report) {
    return fail_with(report.error());
  }
  const bool all = report->rows_by_kind.at("post") == attempts && report->open_attempts == 0;
  std::printf("  verified: %lld rows, %s\n",
              static_cast<long long>(report->rows),
              all ? "every attempt booked" : "ATTEMPTS ARE MISSING");
  return all && samples.failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    flags[argv[i]] = argv[i + 1];
  }
  const auto number = [&](const std::string& name, int otherwise) {
    return flags.contains(name) ? std::atoi(flags[name].c_str()) : otherwise;
  };
  plan.paid = flags["--tier"] == "paid";
  plan.idle = flags["--tier"] == "none";
  plan.ring = flags["--ring"] != "no";
  plan.rate = number("--rate", plan.rate);
  plan.seconds = number("--seconds", plan.seconds);
  plan.parallel = std::max(1, number("--parallel", plan.parallel));
  plan.budgets = number("--budgets", 0);
  std::string pattern = (flags["--folder"].empty() ? std::filesystem::temp_directory_path().string()
                                                   : flags["--folder"]) +
                        "/ledger-rate-XXXXXX";
  const char* made = ::mkdtemp(pattern.data());
  if (made == nullptr) {
    std::fprintf(stderr, "cannot make a folder %s\n", pattern.c_str());
    return 1;
  }
  plan.folder = made;
  const int code = run(plan);
  std::error_code ignored;
  std::filesystem::remove_all(plan.folder, ignored);
  return code;
}
