#include "app/pressure.h"

#include "base/log.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <malloc.h>
#include <string>
#include <unistd.h>

// Present where the program is linked with mimalloc.
extern "C" void mi_collect(bool force) __attribute__((weak));

namespace genesis::app {

namespace {

constexpr std::int64_t kMiB = 1024 * 1024;
// Long enough for a burst to pass, short enough for a client that waits.
constexpr std::chrono::milliseconds kComeBack{1'000};

// Files of /proc and /sys tell no size.
std::string read_small(const std::string& path) {
  std::string text;
  if (FILE* file = std::fopen(path.c_str(), "re")) {
    std::array<char, 4096> buffer{};
    const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), file);
    std::fclose(file);
    text.assign(buffer.data(), size);
  }
  return text;
}

std::int64_t number_in(std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The folder of this process's control group (v2), or empty.
std::string control_group() {
  const std::string text = read_small("/proc/self/cgroup");
  const auto at = text.find("0::/");
  if (at == std::string::npos) {
    return "";
  }
  const auto end = text.find('\n', at);
  return "/sys/fs/cgroup" + text.substr(at + 3, end == std::string::npos ? end : end - at - 3);
}

std::int64_t resident_bytes() {
  const std::string text = read_small("/proc/self/statm");
  const auto blank = text.find(' ');
  return blank == std::string::npos
             ? 0
             : number_in(std::string_view(text).substr(blank + 1)) * ::sysconf(_SC_PAGESIZE);
}

// "max" counts as none.
std::int64_t group_limit(const std::string& group) {
  return group.empty() ? 0 : number_in(read_small(group + "/memory.max"));
}

// What the group cannot give back by dropping file pages.
std::int64_t group_use(const std::string& group) {
  const std::int64_t all = number_in(read_small(group + "/memory.current"));
  const std::string stat = read_small(group + "/memory.stat");
  constexpr std::string_view kInactive = "\ninactive_file ";
  const auto at = stat.find(kInactive);
  return at == std::string::npos
             ? all
             : all - number_in(std::string_view(stat).substr(at + kInactive.size()));
}

PressureStage stage_at(double pressure) {
  return pressure >= kSevereAt  ? PressureStage::kSevere
         : pressure >= kHighAt  ? PressureStage::kHigh
         : pressure >= kTightAt ? PressureStage::kTight
                                : PressureStage::kCalm;
}

Metric& component(MetricsRegistry& metrics, std::string_view kind) {
  return metrics.gauge("genesis_pressure_component",
                       "Share of one limit in use, by kind",
                       prometheus_label("kind", kind));
}

}  // namespace

double PressureSample::highest() const {
  return std::max(
      {memory, ledger_queue, connections, loop_lag, std::min(booking_wait, kMostByBookingWait)});
}

Pressure::Pressure(MetricsRegistry& metrics)
    : pressure_(metrics.gauge("genesis_pressure",
                              "How near the process is to the end of what it has, 1 = there")),
      memory_(component(metrics, "memory")),
      ledger_queue_(component(metrics, "ledger_queue")),
      connections_(component(metrics, "connections")),
      loop_lag_(component(metrics, "loop_lag")),
      booking_wait_(component(metrics, "booking_wait")),
      stage_metric_(metrics.gauge("genesis_overload_stage",
                                  "What is given up: 0 nothing, 1 keep-alive and low priority, 2 "
                                  "new requests, 3 new connections")),
      refused_(metrics.counter("genesis_overload_refusals_total",
                               "Requests refused because of pressure")) {}

PressureStage Pressure::update(const PressureSample& sample) {
  memory_.set(sample.memory);
  ledger_queue_.set(sample.ledger_queue);
  connections_.set(sample.connections);
  loop_lag_.set(sample.loop_lag);
  booking_wait_.set(sample.booking_wait);
  const double pressure = sample.highest();
  pressure_.set(pressure);
  // Up at once, down only with some slack.
  const PressureStage next =
      std::max(stage_at(pressure), std::min(stage_, stage_at(pressure + kPressureSlack)));
  if (next != stage_) {
    log(next > stage_ ? LogLevel::kWarn : LogLevel::kInfo,
        "overload stage",
        {{"stage", static_cast<int>(next)},
         {"pressure", pressure},
         {"memory", sample.memory},
         {"ledger_queue", sample.ledger_queue},
         {"connections", sample.connections},
         {"loop_lag", sample.loop_lag},
         {"booking_wait", sample.booking_wait}});
    stage_ = next;
    stage_metric_.set(static_cast<double>(next));
  }
  return stage_;
}

Result<void> Pressure::admits(bool low_priority) const {
  if (stage_ < PressureStage::kTight || (stage_ == PressureStage::kTight && !low_priority)) {
    return {};
  }
  refused_.add();
  auto error = fail(ErrorCode::kResourceExhausted,
                    "the server is near its limits and takes no new work for a moment",
                    "retry after the time in Retry-After");
  error.error().retry_after = kComeBack;
  return error;
}

MemoryUse memory_use(std::int64_t limit_mib) {
  if (limit_mib > 0) {
    return {.used = resident_bytes(), .limit = limit_mib * kMiB};
  }
  const std::string group = control_group();
  if (const std::int64_t limit = group_limit(group); limit > 0) {
    return {.used = group_use(group), .limit = limit};
  }
  return {.used = resident_bytes(),
          .limit = static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE)};
}

void give_back_memory() {
  if (mi_collect != nullptr) {
    mi_collect(true);
  } else {
    ::malloc_trim(0);
  }
}

}  // namespace genesis::app
