// What the gateway's adapter routes ask for, checked against the configuration in force. Pure.
#pragma once

#include "app/config.h"
#include "base/result.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

// The configuration of the file with the adapters that were loaded since. One whose base endpoint
// is gone is left out; one of the file gives way to one that was loaded under its name.
std::shared_ptr<const Config> with_adapters(const Config& file,
                                            const std::vector<EndpointConfig>& adapters);

// `lora_name` of a request to load or unload.
Result<std::string> read_adapter_name(std::string_view body);

// The endpoint that a request to load an adapter makes (vLLM's /v1/load_lora_adapter, with
// `endpoint` beside for the local endpoint that is meant). Errors name the field; kConflict when
// the name is taken.
Result<EndpointConfig> read_adapter_order(std::string_view body, const Config& config);

// What both the engine and the gateway say when an adapter was unloaded, or was not there.
std::string unloaded_json(std::string_view name);
std::unexpected<Error> not_loaded(std::string_view name);

// Why there is nothing to unload under this name.
Result<void> no_adapter(const Config& config, const std::string& name);

}  // namespace genesis::app
