// One-line structured logging to stderr. A small facade: levels, a message and key/value pairs, as
// text or JSON. Prompts, answers and secrets are never given to it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace genesis {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError, kOff };

// "debug", "info", "warn", "error", "off"; nullopt for anything else.
std::optional<LogLevel> log_level_from_name(std::string_view name);

// A value on its way into a log line; numbers stay bare in JSON.
struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), text(v), quoted(true) {}

  LogField(std::string_view k, const char* v) : LogField(k, std::string_view(v)) {}

  LogField(std::string_view k, const std::string& v) : LogField(k, std::string_view(v)) {}

  template <typename T>
    requires std::is_arithmetic_v<T>
  LogField(std::string_view k, T v) : key(k), text(std::to_string(v)), quoted(false) {}

  std::string_view key;
  std::string text;
  bool quoted;
};

// Process-wide switches, set once at start before threads are made.
void log_configure(LogLevel level, std::string_view format);  // format: "text" or "json"
bool log_enabled(LogLevel level);

// Writes one line with a single write(2), so lines of several threads do not mix.
void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace genesis
