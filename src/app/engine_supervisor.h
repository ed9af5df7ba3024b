// EngineSupervisor: keeps one engine process serving one model: starts it, waits until it is ready,
// watches its health, restarts it after a crash, stops it when idle (scale to zero).
#pragma once

#include "app/config.h"
#include "base/cancel.h"
#include "base/result.h"
#include "base/task.h"
#include "net/client.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace genesis::app {

struct EngineLaunch {
  std::string name;     // of the endpoint
  std::string program;  // the genesis binary itself
  std::filesystem::path model_path;
  std::string model_name;
  std::filesystem::path draft_path;  // empty: no draft model
  std::filesystem::path socket;
  EngineConfig engine;

  // True when a process started for one would be just the same as one started for the other;
  // where it listens does not matter.
  bool same_engine(const EngineLaunch& other) const {
    return name == other.name && program == other.program && model_path == other.model_path &&
           model_name == other.model_name && draft_path == other.draft_path &&
           engine == other.engine;
  }
};

// Gets the engine's Prometheus text at every health poll.
using OnEngineMetrics = std::function<void(std::string_view)>;

enum class EngineState : std::uint8_t { kStopped, kStarting, kReady, kSilent, kCrashed, kBroken };

// Lives on the io thread; outlives every request that uses it.
class EngineSupervisor {
 public:
  EngineSupervisor(Executor executor, EngineLaunch launch, OnEngineMetrics on_metrics);
  ~EngineSupervisor();

  // Starts the process if it is not running; returns at once.
  void start();
  // Returns when the engine answers, or with kUnavailable/kTimeout. Starts a stopped one.
  Task<Result<void>> wait_ready(SteadyTime deadline, CancelToken cancel);
  // SIGTERM, then SIGKILL after `grace`. Nothing of this object runs afterwards.
  Task<void> stop(std::chrono::milliseconds grace);

  // Why no work should be sent now; empty when ready, or stopped and able to start.
  std::string why_not() const;

  EngineState state() const { return state_; }

  // From the process's start until it was ready, the last time it got there; 0 = never yet.
  double last_start_ms() const { return last_start_ms_; }

  pid_t pid() const { return pid_; }

  // What the engine last said of itself at GET /info, as JSON; empty before it was first ready.
  const std::string& info_json() const { return info_json_; }

  const EngineLaunch& launch() const { return launch_; }

  // Cancelled when the engine that is ready now falls silent: work that has not begun to answer is
  // better done elsewhere.
  CancelToken silence() const { return silent_.token(); }

  // Adapters that the engine shall have, by name and folder: those that are missing are loaded, now
  // or when the engine is ready. One that cannot be loaded is told in the log and left out.
  void want_adapters(const std::map<std::string, std::string>& adapters);
  // Loads one now and keeps it over restarts. Returns what the engine said; errors are the
  // engine's, kUnavailable when it does not answer.
  Task<Result<std::string>> load_adapter(std::string name, std::string folder, bool in_place);
  // No new request can name it afterwards.
  Task<void> drop_adapter(std::string name);

  // Requests bracket their work with these; idleness is measured from the last end.
  void request_begins();
  void request_ends();

 private:
  struct Current;
  struct Reply;

  Task<void> supervise();
  Task<void> run_once();
  Task<void> watch_health();
  Task<void> look_until_ready(Current& current, SteadyTime started);
  Task<void> look_after_ready(Current& current);
  // What the process answered to GET `target`; nullopt when it did not within the poll's time.
  Task<std::optional<Reply>> get(std::string target);
  Task<std::optional<Reply>> ask(net::ClientRequest request, std::chrono::milliseconds limit);
  Task<std::optional<Reply>> post(std::string target, std::string body);
  Task<void> bring_adapters();
  Task<void> sleep(std::chrono::milliseconds time);
  void set_state(EngineState state);

  Executor executor_;
  net::Client client_;  // for health only; requests go through their endpoint's own
  EngineLaunch launch_;
  OnEngineMetrics on_metrics_;
  EngineState state_ = EngineState::kStopped;
  pid_t pid_ = 0;
  bool supervising_ = false;
  bool looking_ = false;  // watch_health() is in the middle of a look
  bool stopping_ = false;
  bool was_ready_ = false;  // the process that runs now, or ran last
  int quick_crashes_ = 0;
  int in_flight_ = 0;
  SteadyTime idle_since_;
  SteadyTime starting_since_;
  double last_start_ms_ = 0;
  std::string last_exit_;
  std::string info_json_;
  std::map<std::string, std::string> adapters_;  // wanted: name, folder
  std::map<std::string, std::string> loaded_;    // in the process that runs now, or given up
  bool bringing_ = false;
  CancelSource silent_;   // cancelled at kSilent, new at each kReady
  CancelSource changed_;  // cancelled and replaced at every change of state: wakes the waiters
  std::shared_ptr<Current> current_;
};

}  // namespace genesis::app
