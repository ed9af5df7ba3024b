#include "app/running.h"

#include "base/file.h"
#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <array>
#include <cstdio>

namespace genesis::app {

namespace {

constexpr std::size_t kMaxStateBytes = 1024 * 1024;

// The kernel's start time of a process (field 22 of /proc/PID/stat, proc(5)); tells a reused pid.
std::string process_start(pid_t pid) {
  // Files of /proc tell no size, so read_file() cannot be used.
  std::string text;
  if (FILE* file = std::fopen(fmt::format("/proc/{}/stat", pid).c_str(), "re")) {
    std::array<char, 1024> buffer{};
    const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), file);
    std::fclose(file);
    text.assign(buffer.data(), size);
  }
  // The name in field 2 may hold blanks and brackets: count from the last bracket.
  std::size_t at = text.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) {
    at = text.find(' ', at + 1);
  }
  return at == std::string::npos ? "" : text.substr(at + 1, text.find(' ', at + 1) - at - 1);
}

std::string to_json(const RunningGateway& gateway) {
  JsonWriter writer;
  writer.begin_object();
  writer.field("pid", static_cast<std::int64_t>(gateway.pid));
  writer.field("process_start", process_start(gateway.pid));
  writer.field("started_unix_ms", gateway.started_unix_ms);
  writer.field("url", gateway.url);
  writer.field_bool("require_key", gateway.require_key);
  writer.field("generation", std::int64_t{gateway.generation});
  writer.field("reloads", gateway.reloads);
  writer.field("reload_error", gateway.reload_error);
  writer.key("engines");
  writer.begin_array();
  for (const RunningEngine& engine : gateway.engines) {
    writer.begin_object();
    writer.field("endpoint", engine.endpoint);
    writer.field("model", engine.model);
    writer.field("state", engine.state);
    writer.field("pid", static_cast<std::int64_t>(engine.pid));
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  return writer.take() + "\n";
}

Result<RunningGateway> from_json(const boost::json::object& object) {
  RunningGateway gateway;
  GENESIS_TRY(const auto pid, get_integer(object, "pid"));
  GENESIS_TRY(const auto start, get_string(object, "process_start"));
  GENESIS_TRY(const auto started, get_integer(object, "started_unix_ms"));
  GENESIS_TRY(const auto url, get_string(object, "url"));
  GENESIS_TRY(const auto require_key, get_bool(object, "require_key"));
  GENESIS_TRY(const auto generation, get_integer(object, "generation"));
  GENESIS_TRY(const auto reloads, get_integer(object, "reloads"));
  GENESIS_TRY(const auto reload_error, get_string(object, "reload_error"));
  gateway.pid = static_cast<pid_t>(pid.value_or(0));
  gateway.started_unix_ms = started.value_or(0);
  gateway.url = url.value_or("");
  gateway.require_key = require_key.value_or(false);
  gateway.generation = static_cast<int>(generation.value_or(0));
  gateway.reloads = reloads.value_or(0);
  gateway.reload_error = reload_error.value_or("");
  if (gateway.pid <= 0 || process_start(gateway.pid) != start.value_or("")) {
    return fail(ErrorCode::kNotFound, "the gateway that wrote the state file is gone");
  }
  const auto* engines = object.if_contains("engines");
  for (const auto& item :
       engines != nullptr && engines->is_array() ? engines->get_array() : boost::json::array{}) {
    if (!item.is_object()) {
      continue;
    }
    const auto& row = item.get_object();
    GENESIS_TRY(const auto endpoint, get_string(row, "endpoint"));
    GENESIS_TRY(const auto model, get_string(row, "model"));
    GENESIS_TRY(const auto state, get_string(row, "state"));
    GENESIS_TRY(const auto engine_pid, get_integer(row, "pid"));
    gateway.engines.push_back({.endpoint = endpoint.value_or(""),
                               .model = model.value_or(""),
                               .state = state.value_or(""),
                               .pid = static_cast<pid_t>(engine_pid.value_or(0))});
  }
  return gateway;
}

}  // namespace

Result<void> write_running(const Home& home, const RunningGateway& gateway) {
  return write_file_atomic(home.state_file(), to_json(gateway), 0600);
}

void remove_running(const Home& home) {
  std::error_code ignored;
  std::filesystem::remove(home.state_file(), ignored);
}

std::optional<RunningGateway> read_running(const Home& home) {
  const auto text = read_file(home.state_file(), kMaxStateBytes);
  if (!text) {
    return std::nullopt;
  }
  const auto json = parse_json(*text);
  if (!json || !json->is_object()) {
    return std::nullopt;
  }
  auto gateway = from_json(json->get_object());
  return gateway ? std::optional(std::move(*gateway)) : std::nullopt;
}

}  // namespace genesis::app
