// serve and engine, the verbs that stay in the foreground, and reload, which speaks to the first.
#include "app/engine_app.h"
#include "app/running.h"
#include "app/serve.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/model_store.h"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace genesis::cli {

namespace {

// Reading a configuration takes milliseconds; a busy gateway may take its time.
constexpr std::chrono::seconds kReloadLimit{30};
constexpr std::chrono::milliseconds kReloadPoll{10};

struct ModelFile {
  std::filesystem::path path;
  std::string name;
};

// A path as it is, else a pulled model.
Result<ModelFile> find_model(const CommonOptions& common, const std::string& model) {
  std::error_code ignored;
  if (std::filesystem::exists(model, ignored)) {
    return ModelFile{.path = model,
                     .name = hub::make_model_name(std::filesystem::path(model).stem().string())};
  }
  GENESIS_TRY(const app::Home home, open_home(common));
  const hub::ModelStore store(home.models);
  GENESIS_TRY(const hub::InstalledModel installed, store.find(model));
  GENESIS_TRY(std::filesystem::path weights, store.weights_path(installed));
  return ModelFile{.path = std::move(weights), .name = installed.name};
}

Result<app::EngineAppOptions> engine_options(const CommonOptions& common,
                                             const EngineOptions& options) {
  GENESIS_TRY(const ModelFile file, find_model(common, options.model));
  ModelFile draft;
  if (!options.draft.empty()) {
    GENESIS_TRY(draft, find_model(common, options.draft));
  }
  GENESIS_TRY(const net::Address listen, net::parse_address(options.listen));
  const auto home = open_home(common);  // an engine alone needs none; without it nothing is kept
  const char* key =
      std::getenv("GENESIS_API_KEY");  // NOLINT(concurrency-mt-unsafe): before any thread
  return app::EngineAppOptions{
      .model_path = file.path,
      .model_name = options.name.empty() ? file.name : options.name,
      .draft_path = draft.path,
      .listen = listen,
      .load = {.precision = options.precision == "fp32" ? model::Precision::kFp32
                                                        : model::Precision::kQuantized,
               .threads = options.threads,
               .kv_bytes = std::int64_t{options.kv_mib} * 1024 * 1024,
               .kv_format = options.kv == "fp16" ? model::KvFormat::kHalf : model::KvFormat::kInt8,
               .max_context = options.max_context,
               .isa = options.isa,
               .cache_folder = options.weights_cache && home ? home->cache / "weights"
                                                             : std::filesystem::path(),
               .force = options.force},
      .engine = {.max_batch = options.max_batch,
                 .max_queue = options.max_queue,
                 .step_target = std::chrono::milliseconds(options.step_target_ms),
                 .prefix_cache = options.prefix_cache,
                 .speculation = options.speculation},
      .adapters = options.adapters,
      .api_key = key == nullptr || options.supervised ? "" : key,
      .version = GENESIS_VERSION,
      .announce = !options.supervised,
      .supervised = options.supervised};
}

}  // namespace

int serve(const CommonOptions& common, const ServeOptions& options) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const app::ConfigSource source = [&]() -> Result<app::Config> {
    GENESIS_TRY(app::Config config, app::load_config(*home, common.overrides));
    if (!options.model.empty()) {
      app::serve_only(config, options.model);
    }
    return config;
  };
  ProgressPrinter progress;
  const auto code =
      app::serve(source, *home, [&](std::string_view phase, std::int64_t done, std::int64_t total) {
        progress.update(phase, done, total);
        if (total > 0 && done == total) {
          progress.finish();
        }
      });
  return code ? *code : report(code.error());
}

// SIGHUP, then what the gateway says about it in its state file.
int reload(const CommonOptions& common) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto before = app::read_running(*home);
  if (!before) {
    return report(fail(ErrorCode::kNotFound, "no gateway runs here", "genesis serve").error());
  }
  if (::kill(before->pid, SIGHUP) != 0) {
    return report(
        fail(ErrorCode::kIo, fmt::format("cannot signal process {}", before->pid)).error());
  }
  const auto until = std::chrono::steady_clock::now() + kReloadLimit;
  auto after = app::read_running(*home);
  while (after && after->pid == before->pid && after->reloads == before->reloads) {
    if (std::chrono::steady_clock::now() > until) {
      return report(fail(ErrorCode::kTimeout, "the gateway did not answer the signal").error());
    }
    std::this_thread::sleep_for(kReloadPoll);
    after = app::read_running(*home);
  }
  if (!after || after->pid != before->pid) {
    return report(fail(ErrorCode::kUnavailable, "the gateway ended meanwhile").error());
  }
  if (!after->reload_error.empty()) {
    return report(fail(ErrorCode::kConfig,
                       after->reload_error,
                       fmt::format("generation {} stays in force", after->generation))
                      .error());
  }
  print_out(common.json ? fmt::format("{{\"generation\":{}}}\n", after->generation)
                        : fmt::format("generation {} is in force\n", after->generation));
  return kExitOk;
}

int engine(const CommonOptions& common, const EngineOptions& options) {
  const char* level =
      std::getenv("GENESIS_LOG");  // NOLINT(concurrency-mt-unsafe): before any thread
  log_configure(log_level_from_name(level == nullptr ? "" : level).value_or(LogLevel::kInfo),
                "text");
  const auto app_options = engine_options(common, options);
  if (!app_options) {
    return report(app_options.error());
  }
  const auto done = app::run_engine(*app_options);
  return done ? kExitOk : report(done.error());
}

}  // namespace genesis::cli
