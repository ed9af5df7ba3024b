#include "app/adapter_orders.h"

#include "api/catalog.h"
#include "base/json.h"
#include "server/fields.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::app {

std::shared_ptr<const Config> with_adapters(const Config& file,
                                            const std::vector<EndpointConfig>& adapters) {
  auto config = std::make_shared<Config>(file);
  for (const EndpointConfig& adapter : adapters) {
    const bool has_base = std::ranges::any_of(file.endpoints, [&](const EndpointConfig& each) {
      return each.name == adapter.adapter_of && each.kind == EndpointKind::kLocal;
    });
    std::erase_if(config->endpoints,
                  [&](const EndpointConfig& each) { return each.name == adapter.name; });
    if (has_base) {
      config->endpoints.push_back(adapter);
    }
  }
  return config;
}

namespace {

Result<std::string> name_in(const boost::json::object& object) {
  GENESIS_TRY(auto name, get_string(object, "lora_name"));
  if (!name || !is_name(*name)) {
    return fail_param("lora_name", "'lora_name' must be a name of letters, digits and ._-:/");
  }
  return std::string(*name);
}

}  // namespace

Result<std::string> read_adapter_name(std::string_view body) {
  GENESIS_TRY(const auto object, server::parse_object(body));
  return name_in(object);
}

Result<EndpointConfig> read_adapter_order(std::string_view body, const Config& config) {
  GENESIS_TRY(const auto object, server::parse_object(body));
  GENESIS_TRY(std::string name, name_in(object));
  GENESIS_TRY(const auto folder, get_string(object, "lora_path"));
  GENESIS_TRY(const auto in_place, get_bool(object, "load_inplace"));
  GENESIS_TRY(const auto endpoint, get_string(object, "endpoint"));
  if (!folder || folder->empty()) {
    return fail_param("lora_path", "'lora_path' is required: a folder on the gateway's machine");
  }
  GENESIS_TRY(const EndpointConfig* base,
              adapter_base(config, std::string(endpoint.value_or("")), "endpoint"));
  const auto known = std::ranges::find(config.endpoints, name, &EndpointConfig::name);
  const bool replaces = known != config.endpoints.end() && known->adapter_of == base->name;
  if (!replaces && knows_name(config, name)) {
    return fail_param("lora_name",
                      fmt::format("'{}' is a name of something else here", name),
                      ErrorCode::kConflict);
  }
  if (replaces && !in_place.value_or(false)) {
    auto error = fail_param(
        "lora_name", fmt::format("an adapter '{}' is loaded already", name), ErrorCode::kConflict);
    error.error().hint = "send \"load_inplace\": true to put this one in its place";
    return error;
  }
  return adapter_endpoint(*base, std::move(name), std::string(*folder));
}

std::string unloaded_json(std::string_view name) {
  JsonWriter w;
  w.begin_object();
  w.field("status", "unloaded");
  w.field("lora_name", name);
  w.end_object();
  return w.take();
}

std::unexpected<Error> not_loaded(std::string_view name) {
  return fail_param(
      "lora_name", fmt::format("no adapter '{}' is loaded", name), ErrorCode::kNotFound);
}

Result<void> no_adapter(const Config& config, const std::string& name) {
  const auto known = std::ranges::find(config.endpoints, name, &EndpointConfig::name);
  if (known != config.endpoints.end() && !known->adapter_of.empty()) {
    auto error = fail_param(
        "lora_name", fmt::format("'{}' is in the configuration file", name), ErrorCode::kConflict);
    error.error().hint = "take its [[adapter]] out, then 'genesis reload'";
    return error;
  }
  return not_loaded(name);
}

}  // namespace genesis::app
