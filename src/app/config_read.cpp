#include "app/config_read.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace genesis::app {

std::unexpected<Error> config_error(std::string param, std::string message, std::string hint) {
  auto error = fail_param(std::move(param), std::move(message), ErrorCode::kConfig);
  error.error().hint = std::move(hint);
  return error;
}

const OptionValue* find(const OptionMap& map, const std::string& key) {
  const auto at = map.find(key);
  return at == map.end() ? nullptr : &at->second;
}

std::string text_of(const OptionMap& map, const std::string& key) {
  const OptionValue* value = find(map, key);
  return value == nullptr ? "" : value->text;
}

std::int64_t integer_of(const OptionMap& map, const std::string& key, std::int64_t fallback) {
  const std::string text = text_of(map, key);
  std::int64_t value = fallback;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::vector<std::string> list_of(const OptionMap& map, const std::string& key) {
  const OptionValue* value = find(map, key);
  return value == nullptr ? std::vector<std::string>{} : value->list;
}

std::string line_of(const OptionMap& map, const std::string& prefix, std::string_view key) {
  const OptionValue* value = find(map, prefix + std::string(key));
  value = value == nullptr ? find(map, prefix) : value;
  return value == nullptr ? "" : value->origin;
}

Result<std::chrono::milliseconds> duration_of(const OptionMap& map, const std::string& key) {
  using namespace std::chrono;
  const std::string text = text_of(map, key);
  std::int64_t count = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), count);
  const std::string_view unit(end.ptr, text.data() + text.size());
  // Beyond a year nothing here makes sense, and within it nothing overflows.
  if (end.ec == std::errc() && count > 0 && count <= 366 * 86'400) {
    const milliseconds total = unit == "s"   ? milliseconds(seconds(count))
                               : unit == "m" ? milliseconds(minutes(count))
                               : unit == "h" ? milliseconds(hours(count))
                               : unit == "d" ? milliseconds(days(count))
                                             : milliseconds(0);
    if (total.count() > 0 && total <= days(366)) {
      return total;
    }
  }
  return config_error(
      key,
      fmt::format(
          "{}: '{}' must be a duration such as 90s, 30m, 24h or 7d", line_of(map, "", key), key));
}

}  // namespace genesis::app
