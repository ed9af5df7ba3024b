// Reloader: reads the configuration again, checks it as a whole and puts it in force, or leaves
// everything as it was and says why.
#pragma once

#include "app/config.h"
#include "app/graph.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/task.h"
#include "server/gateway.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace genesis::app {

// Reads file, environment and flags; the same at start and at every reload.
using ConfigSource = std::function<Result<Config>()>;

struct ReloadStatus {
  std::int64_t attempts = 0;
  std::int64_t in_force_since_ms = 0;  // unix time of the configuration in force
  std::string last_error;              // of the last attempt; empty when it succeeded
};

// kConfig, naming the key, when `next` differs in something that only a restart can change.
Result<void> check_unchangeable(const Config& current, const Config& next);

// Lives on the io thread; `graph` outlives it.
class Reloader {
 public:
  using Apply = std::function<void()>;
  // Reads what the listener and the router table need of a new configuration. What it returns puts
  // that in force and is called right after the graph has taken the configuration.
  using Prepare = std::function<Result<Apply>(const Config&)>;

  struct Hooks {
    Prepare prepare;
    std::function<void()> attempted;  // after each attempt, before anybody is told how it went
  };

  Reloader(Executor executor, Graph& graph, ConfigSource source, Hooks hooks);

  // One at a time; a second one waits for the first.
  Task<Result<void>> reload();

  const ReloadStatus& status() const { return status_; }

  // POST /admin/reload and GET /admin/config.
  std::vector<server::AdminRoute> admin_routes();

 private:
  Task<Result<void>> try_reload();
  std::string config_report() const;

  Executor executor_;
  Graph& graph_;
  ConfigSource source_;
  Hooks hooks_;
  ReloadStatus status_;
  bool busy_ = false;
  Metric& generation_;
  Metric& succeeded_;
  Metric& failed_;
};

}  // namespace genesis::app
