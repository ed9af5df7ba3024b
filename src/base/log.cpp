#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"

#include <array>
#include <atomic>
#include <unistd.h>

namespace genesis {

namespace {

// The two switches are the only mutable process state in base: a log line must be possible
// anywhere, also where no object graph exists yet.
std::atomic<LogLevel> threshold{LogLevel::kInfo};
std::atomic<bool> as_json{false};

constexpr std::array<std::string_view, 5> kLevelNames = {"debug", "info", "warn", "error", "off"};

std::string json_line(std::string_view level,
                      std::string_view message,
                      std::initializer_list<LogField> fields) {
  JsonWriter writer;
  writer.begin_object();
  writer.field("ts", format_rfc3339(SystemClock().unix_ms()));
  writer.field("level", level);
  writer.field("msg", message);
  for (const LogField& field : fields) {
    if (field.quoted) {
      writer.field(field.key, field.text);
    } else {
      writer.field_raw(field.key, field.text);
    }
  }
  writer.end_object();
  return writer.take() + "\n";
}

bool needs_quotes(std::string_view text) {
  return text.empty() || text.find_first_of(" \"\n\r\t=\\") != std::string_view::npos;
}

std::string text_line(std::string_view level,
                      std::string_view message,
                      std::initializer_list<LogField> fields) {
  std::string line = format_rfc3339(SystemClock().unix_ms());
  line.append(" ").append(level).append(" ").append(message);
  for (const LogField& field : fields) {
    line.append(" ").append(field.key).append("=");
    if (needs_quotes(field.text)) {
      append_json_string(line, field.text);
    } else {
      line.append(field.text);
    }
  }
  return line + "\n";
}

}  // namespace

std::optional<LogLevel> log_level_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) {
      return static_cast<LogLevel>(i);
    }
  }
  return std::nullopt;
}

void log_configure(LogLevel level, std::string_view format) {
  threshold = level;
  as_json = format == "json";
}

bool log_enabled(LogLevel level) {
  return level >= threshold.load(std::memory_order_relaxed);
}

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!log_enabled(level) || level == LogLevel::kOff) {
    return;
  }
  const std::string_view name = kLevelNames[static_cast<std::size_t>(level)];
  const std::string line =
      as_json ? json_line(name, message, fields) : text_line(name, message, fields);
  // A log that cannot be written must not stop the work it describes.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace genesis
