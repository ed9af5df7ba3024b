// explain and drill: why a request went where it went, and where it would go in an outage.
#include "app/drill.h"
#include "app/explain.h"
#include "app/ledger_place.h"
#include "app/trace_store.h"
#include "base/log.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "store/database.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

namespace genesis::cli {

namespace {

// A trace is written a moment after its answer, so one that is not there yet may be on its way.
constexpr int kTraceTries = 8;
constexpr std::chrono::milliseconds kTracePause{100};

Result<std::string> explained(const CommonOptions& common, const std::string& id) {
  GENESIS_TRY(const app::Home home, open_home(common));
  GENESIS_TRY(const app::Config config, open_config(common, home));
  GENESIS_TRY_VOID(app::require_ledger(config));
  GENESIS_TRY(auto place, app::ledger_place(config, home, store::OpenMode::kReadOnly));
  place.schemas.push_back(app::trace_schema());
  GENESIS_TRY(const auto database, store::Database::open(std::move(place)));
  auto json = app::explain_json(*database, id);
  for (int i = 0; i < kTraceTries && !json && json.error().code == ErrorCode::kNotFound; ++i) {
    std::this_thread::sleep_for(kTracePause);
    json = app::explain_json(*database, id);
  }
  if (!json) {
    return json;
  }
  return common.json ? *json + "\n" : app::explain_text(*json);
}

int print_report(const CommonOptions& common,
                 const DrillVerbOptions& options,
                 const app::DrillReport& report) {
  const bool passed = report.availability_percent() >= options.require;
  if (common.json) {
    print_out(app::report_json(report) + "\n");
  } else {
    print_out(without_controls(app::report_text(report)));
  }
  if (!passed) {
    print_note(
        fmt::format("the drill failed: {:.3f} % of requests were answered, {} % are required",
                    report.availability_percent(),
                    options.require));
  }
  return passed ? kExitOk : kExitGate;
}

}  // namespace

int drill(const CommonOptions& common, const DrillVerbOptions& options) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto config = open_config(common, *home);
  if (!config) {
    return report(config.error());
  }
  // Failed attempts are the point of the exercise, not news.
  log_configure(LogLevel::kError, config->log_format);
  const auto plan = app::plan_drill(*config,
                                    {.length = std::chrono::seconds(options.seconds),
                                     .rate = options.rate,
                                     .route = options.route});
  if (!plan) {
    return report(plan.error());
  }
  if (options.dry_run) {
    print_out(common.json ? app::plan_json(*plan) + "\n" : app::plan_text(*plan));
    return kExitOk;
  }
  const auto done = app::run_drill(*config, *home, *plan, [](std::string_view phase) {
    print_note(fmt::format("drill: {}", phase));
  });
  return done ? print_report(common, options, *done) : report(done.error());
}

int explain(const CommonOptions& common, const std::string& id) {
  const auto text = explained(common, id);
  if (!text) {
    return report(text.error());
  }
  print_out(common.json ? *text : without_controls(*text));
  return kExitOk;
}

}  // namespace genesis::cli
