#include "server/fields.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <limits>

namespace genesis::server {

namespace json = boost::json;

Result<json::object> parse_object(std::string_view body) {
  auto parsed = parse_json(body);
  if (!parsed) {
    Error error = std::move(parsed).error();
    error.message = fmt::format("the body is not valid JSON: {}", error.message);
    return std::unexpected(std::move(error));
  }
  if (!parsed->is_object()) {
    return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  }
  return std::move(parsed->get_object());
}

Result<std::optional<int>> get_int(const json::object& object,
                                   std::string_view key,
                                   std::string_view prefix) {
  GENESIS_TRY(const auto value, get_integer(object, key, prefix));
  if (!value) {
    return std::nullopt;
  }
  if (*value < std::numeric_limits<int>::min() || *value > std::numeric_limits<int>::max()) {
    const std::string param = fmt::format("{}{}", prefix, key);
    return fail_param(param, fmt::format("'{}' is out of range: {}", param, *value));
  }
  return static_cast<int>(*value);
}

Result<std::optional<std::uint64_t>> get_seed(const json::object& object,
                                              std::string_view key,
                                              std::string_view prefix) {
  const json::value* value = object.if_contains(key);
  if (value != nullptr && value->is_uint64()) {
    return value->get_uint64();
  }
  GENESIS_TRY(const auto number, get_integer(object, key, prefix));
  if (!number) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(*number);
}

Result<std::vector<std::string>> get_strings(const json::object& object,
                                             std::string_view key,
                                             std::string_view prefix) {
  std::vector<std::string> strings;
  const json::value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) {
    return strings;
  }
  const std::string param = fmt::format("{}{}", prefix, key);
  if (value->is_string()) {
    strings.emplace_back(value->get_string());
    return strings;
  }
  if (!value->is_array()) {
    return fail_param(param, fmt::format("'{}' must be a string or a list of strings", param));
  }
  for (std::size_t i = 0; i < value->get_array().size(); ++i) {
    const json::value& item = value->get_array()[i];
    if (!item.is_string()) {
      const std::string place = fmt::format("{}[{}]", param, i);
      return fail_param(place, fmt::format("'{}' must be a string", place));
    }
    strings.emplace_back(item.get_string());
  }
  return strings;
}

Result<void> check_model_name(std::string_view name) {
  constexpr std::size_t kMaxModelName = 256;
  if (name.size() > kMaxModelName) {
    return fail_param("model", fmt::format("'model' is longer than {} bytes", kMaxModelName));
  }
  return {};
}

bool is_given(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && !value->is_null();
}

}  // namespace genesis::server
