#include "app/engine_supervisor.h"

#include "app/child_process.h"
#include "base/json.h"
#include "base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStartPoll{20};
constexpr milliseconds kHealthPoll{250};
// One poll waits no longer than this for its answer.
constexpr milliseconds kPollLimit{500};
// Silent for so long: no new work is sent there. With one poll on its way this stays below 2 s, as
// the readiness contract asks.
constexpr milliseconds kSilentAfter{1'000};
// Silent for so long: the process is replaced. A busy machine must not cost a healthy engine.
constexpr milliseconds kDeadAfter{3'000};
// Its HTTP thread answers, but the engine has not stepped for so long: replaced, too. Longer than
// one step of any model that is usable on the machine.
constexpr milliseconds kStuckAfter{120'000};
// Loading a model may take long; a process that never becomes ready is given up after this.
constexpr milliseconds kStartLimit{600'000};
// A process that dies so soon after its start counts towards giving up.
constexpr milliseconds kQuickCrash{5'000};
constexpr int kQuickCrashesAllowed = 5;
constexpr milliseconds kLongestPause{5'000};
constexpr std::size_t kMaxReport = 1024 * 1024;
// Reading an adapter's files.
constexpr milliseconds kAdapterLimit{120'000};

// What the engine said against an adapter, as our own error.
std::unexpected<Error> refused_adapter(int status, const std::string& body) {
  Error error;
  error.code = status == 409   ? ErrorCode::kConflict
               : status == 501 ? ErrorCode::kUnsupported
               : status < 500  ? ErrorCode::kInvalidArgument
                               : ErrorCode::kUpstream;
  error.message = "the engine refused the adapter";
  const auto told = parse_json(body);
  const auto* object =
      told && told->is_object() ? told->get_object().if_contains("error") : nullptr;
  if (object != nullptr && object->is_object()) {
    const auto text = [&](const char* key) {
      return get_string(object->get_object(), key).value_or(std::nullopt).value_or("");
    };
    error.message = text("message");
    error.param = text("param");
    error.hint = text("hint");
  }
  return std::unexpected(std::move(error));
}

}  // namespace

struct EngineSupervisor::Current {
  std::unique_ptr<ChildProcess> child;
  bool gone = false;
  SteadyTime last_answer;  // of any kind
  SteadyTime last_ready;
};

struct EngineSupervisor::Reply {
  int status = 0;
  std::string body;

  bool ok() const { return status == 200; }
};

EngineSupervisor::EngineSupervisor(Executor executor,
                                   EngineLaunch launch,
                                   OnEngineMetrics on_metrics)
    : executor_(std::move(executor)),
      client_(executor_, {}),
      launch_(std::move(launch)),
      on_metrics_(std::move(on_metrics)) {}

EngineSupervisor::~EngineSupervisor() = default;

void EngineSupervisor::set_state(EngineState state) {
  const SteadyTime now = std::chrono::steady_clock::now();
  if (state == EngineState::kStarting) {
    starting_since_ = now;
  } else if (state == EngineState::kReady && state_ == EngineState::kStarting) {
    last_start_ms_ = std::chrono::duration<double, std::milli>(now - starting_since_).count();
  }
  state_ = state;
  if (state == EngineState::kReady) {
    silent_ = CancelSource();
  } else if (state == EngineState::kSilent) {
    silent_.cancel();
  }
  CancelSource old = std::exchange(changed_, CancelSource());
  old.cancel();
}

void EngineSupervisor::start() {
  if (supervising_ || stopping_) {
    return;
  }
  supervising_ = true;
  quick_crashes_ = 0;
  idle_since_ = std::chrono::steady_clock::now();
  set_state(EngineState::kStarting);
  boost::asio::co_spawn(executor_, supervise(), boost::asio::detached);
}

Task<void> EngineSupervisor::supervise() {
  while (!stopping_) {
    const SteadyTime started = std::chrono::steady_clock::now();
    was_ready_ = false;
    set_state(EngineState::kStarting);
    co_await run_once();
    pid_ = 0;
    if (stopping_ || state_ == EngineState::kStopped) {
      break;
    }
    // What was ready once can be ready again: only a model that never loads is given up.
    const bool quick = !was_ready_ && std::chrono::steady_clock::now() - started < kQuickCrash;
    quick_crashes_ = quick ? quick_crashes_ + 1 : 0;
    log(LogLevel::kError,
        "engine ended",
        {{"engine", launch_.name}, {"how", last_exit_}, {"quick_crashes", quick_crashes_}});
    if (quick_crashes_ >= kQuickCrashesAllowed) {
      set_state(EngineState::kBroken);
      break;
    }
    set_state(EngineState::kCrashed);
    // The first restart is at once: a fleet is waiting; only repeated crashes slow down.
    if (quick_crashes_ > 1) {
      co_await sleep(std::min(kLongestPause, milliseconds(100 << quick_crashes_)));
    }
  }
  supervising_ = false;
  if (state_ != EngineState::kBroken) {
    set_state(EngineState::kStopped);
  }
}

Task<void> EngineSupervisor::run_once() {
  const EngineConfig& engine = launch_.engine;
  ChildOptions options{.program = launch_.program,
                       .arguments = {"engine",
                                     "--supervised",
                                     "--model",
                                     launch_.model_path.string(),
                                     "--name",
                                     launch_.model_name,
                                     "--listen",
                                     "unix:" + launch_.socket.string(),
                                     "--threads",
                                     std::to_string(engine.threads),
                                     "--kv-mib",
                                     std::to_string(engine.kv_bytes / (1024 * 1024)),
                                     "--kv",
                                     engine.kv_format,
                                     "--max-context",
                                     std::to_string(engine.max_context),
                                     "--max-batch",
                                     std::to_string(engine.max_batch),
                                     "--max-queue",
                                     std::to_string(engine.max_queue),
                                     "--step-target-ms",
                                     std::to_string(engine.step_target.count()),
                                     engine.prefix_cache ? "--prefix-cache" : "--no-prefix-cache",
                                     engine.speculation ? "--speculation" : "--no-speculation"},
                       .memory_bytes = engine.memory_bytes};
  if (!launch_.draft_path.empty()) {
    options.arguments.insert(options.arguments.end(), {"--draft", launch_.draft_path.string()});
  }
  if (!engine.isa.empty()) {
    options.arguments.insert(options.arguments.end(), {"--isa", engine.isa});
  }
  auto child = ChildProcess::start(executor_, options);
  if (!child) {
    last_exit_ = child.error().message;
    co_return;
  }
  loaded_.clear();
  auto current = std::make_shared<Current>();
  current->child = std::move(*child);
  current_ = current;
  pid_ = current->child->pid();
  log(LogLevel::kInfo,
      "engine started",
      {{"engine", launch_.name}, {"pid", pid_}, {"model", launch_.model_name}});
  boost::asio::co_spawn(executor_, watch_health(), boost::asio::detached);
  const ChildExit exit = co_await current->child->wait();
  current->gone = true;
  current_.reset();
  last_exit_ = exit.to_string();
}

// Follows one child until it is gone: readiness first, then health and idleness.
Task<void> EngineSupervisor::watch_health() {
  const auto current = current_;
  const SteadyTime started = std::chrono::steady_clock::now();
  while (!current->gone) {
    looking_ = true;
    if (state_ == EngineState::kStarting) {
      co_await look_until_ready(*current, started);
    } else {
      co_await look_after_ready(*current);
    }
    looking_ = false;
    if (!current->gone) {
      co_await sleep(state_ == EngineState::kStarting ? kStartPoll : kHealthPoll);
    }
  }
}

Task<void> EngineSupervisor::look_until_ready(Current& current, SteadyTime started) {
  const auto ready = co_await get("/ready");
  const SteadyTime now = std::chrono::steady_clock::now();
  if (current.gone) {
    co_return;
  }
  if (ready && ready->ok()) {
    auto info = co_await get("/info");
    if (current.gone) {
      co_return;
    }
    info_json_ = info && info->ok() ? std::move(info->body) : "";
    co_await bring_adapters();
    if (current.gone) {
      co_return;
    }
    was_ready_ = true;
    idle_since_ = current.last_answer = current.last_ready = now;
    set_state(EngineState::kReady);
  } else if (now - started > kStartLimit) {
    current.child->send_signal(SIGKILL);
  }
}

Task<void> EngineSupervisor::look_after_ready(Current& current) {
  const auto ready = co_await get("/ready");
  const auto metrics = ready ? co_await get("/metrics") : std::nullopt;
  if (current.gone || (state_ != EngineState::kReady && state_ != EngineState::kSilent)) {
    co_return;
  }
  const SteadyTime now = std::chrono::steady_clock::now();
  if (metrics && metrics->ok()) {
    on_metrics_(metrics->body);
  }
  if (ready) {
    current.last_answer = now;
  }
  if (ready && ready->ok()) {
    current.last_ready = now;
    if (state_ == EngineState::kSilent) {
      log(LogLevel::kInfo, "engine answers again", {{"engine", launch_.name}, {"pid", pid_}});
      set_state(EngineState::kReady);
    }
  } else if (now - current.last_answer > kDeadAfter || now - current.last_ready > kStuckAfter) {
    log(LogLevel::kError,
        "engine does not answer, restarting it",
        {{"engine", launch_.name}, {"pid", pid_}});
    current.child->send_signal(SIGKILL);
  } else if (state_ == EngineState::kReady && (ready || now - current.last_answer > kSilentAfter)) {
    log(LogLevel::kWarn, "engine does not answer", {{"engine", launch_.name}, {"pid", pid_}});
    set_state(EngineState::kSilent);
  }
  const bool idle = in_flight_ == 0 && launch_.engine.idle_stop.count() > 0 &&
                    now - idle_since_ > launch_.engine.idle_stop;
  if (idle && state_ == EngineState::kReady) {
    log(LogLevel::kInfo, "engine idle, stopping it", {{"engine", launch_.name}});
    set_state(EngineState::kStopped);
    current.child->send_signal(SIGTERM);
  }
}

Task<std::optional<EngineSupervisor::Reply>> EngineSupervisor::get(std::string target) {
  net::ClientRequest request;
  request.method = "GET";
  request.target = std::move(target);
  co_return co_await ask(std::move(request), kPollLimit);
}

Task<std::optional<EngineSupervisor::Reply>> EngineSupervisor::post(std::string target,
                                                                    std::string body) {
  net::ClientRequest request;
  request.method = "POST";
  request.target = std::move(target);
  request.headers.set("Content-Type", "application/json");
  request.body = std::move(body);
  co_return co_await ask(std::move(request), kAdapterLimit);
}

Task<std::optional<EngineSupervisor::Reply>> EngineSupervisor::ask(net::ClientRequest request,
                                                                   milliseconds limit) {
  request.base.address.unix_path = launch_.socket.string();
  request.base.host_header = "localhost";
  CancelSource give_up;
  boost::asio::steady_timer timer(executor_, limit);
  timer.async_wait([give_up](const boost::system::error_code& error) mutable {
    if (!error) {
      give_up.cancel();
    }
  });
  const auto response = co_await client_.send(std::move(request), give_up.token());
  std::optional<Reply> reply;
  if (response) {
    auto text = co_await net::read_body(**response, kMaxReport);
    if (text) {
      reply = Reply{.status = (*response)->status(), .body = std::move(*text)};
    }
  }
  timer.cancel();
  co_return reply;
}

void EngineSupervisor::want_adapters(const std::map<std::string, std::string>& adapters) {
  for (const auto& [name, folder] : adapters) {
    adapters_[name] = folder;
  }
  if (state_ == EngineState::kReady && !bringing_) {
    boost::asio::co_spawn(executor_, bring_adapters(), boost::asio::detached);
  }
}

// Once for each process and folder: what could not be loaded is not tried again with every look.
Task<void> EngineSupervisor::bring_adapters() {
  if (std::exchange(bringing_, true)) {
    co_return;
  }
  const auto missing = [this] {
    return std::ranges::find_if(adapters_, [this](const auto& wanted) {
      const auto at = loaded_.find(wanted.first);
      return at == loaded_.end() || at->second != wanted.second;
    });
  };
  for (auto next = missing(); next != adapters_.end() && !stopping_; next = missing()) {
    const auto [name, folder] = *next;
    loaded_[name] = folder;
    const auto done = co_await load_adapter(name, folder, /*in_place=*/true);
    if (!done) {
      log(LogLevel::kError,
          "adapter cannot be loaded",
          {{"engine", launch_.name}, {"adapter", name}, {"error", done.error().message}});
    }
  }
  bringing_ = false;
}

Task<Result<std::string>> EngineSupervisor::load_adapter(std::string name,
                                                         std::string folder,
                                                         bool in_place) {
  JsonWriter w;
  w.begin_object();
  w.field("lora_name", name);
  w.field("lora_path", folder);
  w.field_bool("load_inplace", in_place);
  w.end_object();
  const auto reply = co_await post("/v1/load_lora_adapter", w.take());
  if (!reply) {
    co_return fail(ErrorCode::kUnavailable, "the engine does not answer", "try again");
  }
  if (!reply->ok()) {
    co_return refused_adapter(reply->status, reply->body);
  }
  adapters_[name] = folder;
  loaded_[std::move(name)] = std::move(folder);
  co_return reply->body;
}

Task<void> EngineSupervisor::drop_adapter(std::string name) {
  adapters_.erase(name);
  if (loaded_.erase(name) == 0 || state_ != EngineState::kReady) {
    co_return;
  }
  JsonWriter w;
  w.begin_object();
  w.field("lora_name", name);
  w.end_object();
  // One that could not be loaded is not there to be unloaded, which is as well.
  (void)co_await post("/v1/unload_lora_adapter", w.take());
}

Task<Result<void>> EngineSupervisor::wait_ready(SteadyTime deadline, CancelToken cancel) {
  boost::asio::steady_timer timer(executor_);
  while (state_ != EngineState::kReady) {
    if (state_ == EngineState::kStopped) {
      start();  // also when an idle engine was just being stopped
    }
    if (state_ == EngineState::kBroken) {
      co_return fail(ErrorCode::kUnavailable,
                     why_not(),
                     "look at the engine's log lines, then restart genesis serve");
    }
    if (cancel.cancelled()) {
      co_return fail(ErrorCode::kCancelled, "the client is gone");
    }
    if (stopping_ || std::chrono::steady_clock::now() >= deadline) {
      co_return fail(ErrorCode::kUnavailable,
                     fmt::format("the engine '{}' is not ready yet", launch_.name),
                     "try again");
    }
    const CancelHook on_change = changed_.token().on_cancel([&timer] { timer.cancel(); });
    const CancelHook on_leave = cancel.on_cancel([&timer] { timer.cancel(); });
    timer.expires_at(deadline);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
  co_return Result<void>{};
}

Task<void> EngineSupervisor::stop(milliseconds grace) {
  stopping_ = true;
  const auto current = current_;
  if (current) {
    current->child->send_signal(SIGTERM);
    const SteadyTime until = std::chrono::steady_clock::now() + grace;
    while (!current->gone && std::chrono::steady_clock::now() < until) {
      co_await sleep(milliseconds(10));
    }
    current->child->send_signal(SIGKILL);
  }
  while (supervising_ || looking_) {
    co_await sleep(milliseconds(5));
  }
}

std::string EngineSupervisor::why_not() const {
  switch (state_) {
    case EngineState::kReady:
      return "";
    case EngineState::kStopped:
      return stopping_ ? "stopping" : "";
    case EngineState::kStarting:
      return "the engine is starting";
    case EngineState::kSilent:
      return "the engine does not answer";
    case EngineState::kCrashed:
      return fmt::format("the engine crashed ({}) and is being restarted", last_exit_);
    case EngineState::kBroken:
      return fmt::format(
          "the engine ended {} times right after its start (last: {})", quick_crashes_, last_exit_);
  }
  return "";
}

void EngineSupervisor::request_begins() {
  ++in_flight_;
}

void EngineSupervisor::request_ends() {
  --in_flight_;
  idle_since_ = std::chrono::steady_clock::now();
}

Task<void> EngineSupervisor::sleep(milliseconds time) {
  boost::asio::steady_timer timer(executor_, time);
  co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
}

}  // namespace genesis::app
