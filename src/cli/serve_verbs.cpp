// serve and engine: the verbs that stay in the foreground.
#include "app/engine_app.h"
#include "app/serve.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/model_store.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

namespace genesis::cli {

namespace {

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
  GENESIS_TRY(const net::Address listen, net::parse_address(options.listen));
  const char* key =
      std::getenv("GENESIS_API_KEY");  // NOLINT(concurrency-mt-unsafe): before any thread
  return app::EngineAppOptions{
      .model_path = file.path,
      .model_name = options.name.empty() ? file.name : options.name,
      .listen = listen,
      .load = {.precision = options.precision == "fp32" ? model::Precision::kFp32
                                                        : model::Precision::kQuantized,
               .threads = options.threads,
               .kv_bytes = std::int64_t{options.kv_mib} * 1024 * 1024,
               .max_context = options.max_context,
               .isa = options.isa},
      .engine = {.max_batch = options.max_batch, .max_queue = options.max_queue},
      .api_key = key == nullptr || options.supervised ? "" : key,
      .version = GENESIS_VERSION,
      .announce = !options.supervised};
}

}  // namespace

int serve(const CommonOptions& common, const ServeOptions& options) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  auto config = open_config(common, *home);
  if (!config) {
    return report(config.error());
  }
  if (!options.model.empty()) {
    app::serve_only(*config, options.model);
  }
  ProgressPrinter progress;
  const auto code = app::serve(
      *config, *home, [&](std::string_view phase, std::int64_t done, std::int64_t total) {
        progress.update(phase, done, total);
        if (total > 0 && done == total) {
          progress.finish();
        }
      });
  return code ? *code : report(code.error());
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
