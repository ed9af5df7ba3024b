#include "app/engine_metrics.h"

#include <charconv>
#include <string>

namespace genesis::app {

namespace {

constexpr std::string_view kPrefix = "genesis_engine_";

void mirror_line(std::string_view line, const std::string& label, MetricsRegistry& registry) {
  const std::size_t blank = line.find(' ');
  if (!line.starts_with(kPrefix) || blank == std::string_view::npos) {
    return;
  }
  const std::string_view name = line.substr(0, blank);
  const std::string_view number = line.substr(blank + 1);
  const bool plain = name.find_first_of("{}\"") == std::string_view::npos &&
                     !name.ends_with("_sum") && !name.ends_with("_count");
  double value = 0;
  const auto end = std::from_chars(number.data(), number.data() + number.size(), value);
  if (plain && end.ec == std::errc()) {
    registry.gauge(name, "As the engine process reports it.", label).set(value);
  }
}

}  // namespace

void mirror_engine_metrics(std::string_view text,
                           std::string_view endpoint,
                           MetricsRegistry& registry) {
  const std::string label = prometheus_label("endpoint", endpoint);
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    mirror_line(text.substr(0, end), label, registry);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

}  // namespace genesis::app
