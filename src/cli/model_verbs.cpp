// pull, ls, show, rm, ps: verbs about models on this machine.
#include "app/models.h"
#include "app/running.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/source.h"

#include <fmt/format.h>

#include <filesystem>

namespace genesis::cli {

namespace {

void write_model(JsonWriter& writer, const hub::InstalledModel& model) {
  writer.begin_object();
  writer.field("name", model.name);
  writer.field("source", model.source);
  writer.field("revision", model.revision);
  writer.field("format", model.format);
  writer.field("bytes", model.bytes());
  writer.field("created", format_rfc3339(model.created_unix_ms));
  writer.key("files");
  writer.begin_array();
  for (const hub::StoredFile& file : model.files) {
    writer.begin_object();
    writer.field("name", file.name);
    writer.field("sha256", file.sha256);
    writer.field("bytes", file.bytes);
    writer.field("path", file.path.string());
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
}

std::string model_json(const hub::InstalledModel& model) {
  JsonWriter writer;
  write_model(writer, model);
  return writer.take() + "\n";
}

std::string model_text(const hub::InstalledModel& model) {
  std::string text =
      fmt::format("name      {}\nsource    {}\nrevision  {}\nformat    {}\nsize      {}\n",
                  model.name,
                  model.source,
                  model.revision,
                  model.format,
                  format_bytes(model.bytes()));
  for (const hub::StoredFile& file : model.files) {
    text += fmt::format(
        "file      {}  sha256 {}\n          {}\n", file.name, file.sha256, file.path.string());
  }
  return text;
}

// "folder/model.gguf" could be a repository of the Hub, too: what is there on this machine wins.
std::string named_source(const std::string& text) {
  std::error_code ignored;
  const bool plain = text.contains('/') && !text.starts_with("hf:") && !text.starts_with("pypi:") &&
                     !text.starts_with('/') && !text.starts_with('.');
  return plain && std::filesystem::exists(text, ignored) ? "./" + text : text;
}

int dry_run(const PullOptions& options) {
  const auto parsed = hub::parse_reference(named_source(options.source));
  if (!parsed) {
    return report(parsed.error());
  }
  for (const hub::ModelSource& source : parsed->sources) {
    print_out(fmt::format("would fetch {}\n", source.to_string()));
  }
  return kExitOk;
}

}  // namespace

int pull(const CommonOptions& common, const PullOptions& options) {
  if (options.dry_run) {
    return dry_run(options);
  }
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  hub::ModelStore store(home->models);
  ProgressPrinter progress;
  const auto model =
      app::pull_model(store,
                      named_source(options.source),
                      options.name,
                      [&](std::string_view phase, std::int64_t done, std::int64_t total) {
                        progress.update(phase, done, total);
                      });
  progress.finish();
  if (!model) {
    return report(model.error());
  }
  print_out(common.json ? model_json(*model)
                        : fmt::format("{}  {}  sha256 {}\n",
                                      model->name,
                                      format_bytes(model->bytes()),
                                      model->weights().sha256));
  return kExitOk;
}

int list_models(const CommonOptions& common) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto models = hub::ModelStore(home->models).list();
  if (!models) {
    return report(models.error());
  }
  if (common.json) {
    JsonWriter writer;
    writer.begin_array();
    for (const hub::InstalledModel& model : *models) {
      write_model(writer, model);
    }
    writer.end_array();
    print_out(writer.take() + "\n");
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  const std::int64_t now = SystemClock().unix_ms();
  for (const hub::InstalledModel& model : *models) {
    if (common.quiet) {
      print_out(model.name + "\n");
    }
    rows.push_back({model.name,
                    format_bytes(model.bytes()),
                    model.format,
                    model.source,
                    format_age(model.created_unix_ms, now)});
  }
  if (!common.quiet) {
    print_out(format_table({"NAME", "SIZE", "FORMAT", "SOURCE", "PULLED"}, rows));
  }
  return kExitOk;
}

int show_model(const CommonOptions& common, const std::string& name) {
  if (std::error_code ignored; std::filesystem::is_regular_file(name, ignored)) {
    return show_file(common, name);
  }
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto model = hub::ModelStore(home->models).find(name);
  if (!model) {
    return report(model.error());
  }
  print_out(common.json ? model_json(*model) : model_text(*model));
  return kExitOk;
}

int remove_model(const CommonOptions& common, const std::string& name) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto removed = hub::ModelStore(home->models).remove(name);
  if (!removed) {
    return report(removed.error());
  }
  print_out(common.json ? "{\"removed\":true}\n" : fmt::format("removed {}\n", name));
  return kExitOk;
}

int list_running(const CommonOptions& common) {
  const auto home = open_home(common);
  if (!home) {
    return report(home.error());
  }
  const auto gateway = app::read_running(*home);
  if (common.json) {
    JsonWriter writer;
    writer.begin_array();
    for (const app::RunningEngine& engine :
         gateway ? gateway->engines : std::vector<app::RunningEngine>{}) {
      writer.begin_object();
      writer.field("endpoint", engine.endpoint);
      writer.field("model", engine.model);
      writer.field("state", engine.state);
      writer.field("pid", static_cast<std::int64_t>(engine.pid));
      writer.field("url", gateway->url);
      writer.end_object();
    }
    writer.end_array();
    print_out(writer.take() + "\n");
    return kExitOk;
  }
  if (!gateway) {
    print_note("no gateway is running; next: genesis serve");
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows;
  for (const app::RunningEngine& engine : gateway->engines) {
    rows.push_back({engine.endpoint,
                    engine.model,
                    engine.state,
                    engine.pid > 0 ? std::to_string(engine.pid) : "-",
                    gateway->url});
  }
  print_out(format_table({"ENDPOINT", "MODEL", "STATE", "PID", "GATEWAY"}, rows));
  return kExitOk;
}

}  // namespace genesis::cli
