// The state file of a running gateway: who serves where, for `genesis ps` and for clients that
// would rather ask a running server than start an engine of their own.
#pragma once

#include "app/home.h"
#include "base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace genesis::app {

struct RunningEngine {
  std::string endpoint;
  std::string model;
  std::string state;  // stopped, starting, ready, crashed, broken
  pid_t pid = 0;      // 0 when no process runs
};

struct RunningGateway {
  pid_t pid = 0;
  std::int64_t started_unix_ms = 0;
  std::string url;  // http://127.0.0.1:8080
  bool require_key = false;
  int generation = 0;        // of the configuration in force
  std::int64_t reloads = 0;  // attempts so far
  std::string reload_error;  // of the last attempt; empty when it succeeded
  std::vector<RunningEngine> engines;
};

Result<void> write_running(const Home& home, const RunningGateway& gateway);
void remove_running(const Home& home);
// Nullopt when no gateway runs; a file left behind by a killed one is recognised by its process.
std::optional<RunningGateway> read_running(const Home& home);

}  // namespace genesis::app
