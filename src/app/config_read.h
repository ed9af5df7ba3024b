// What the readers of the configuration's parts share. Private to the room.
#pragma once

#include "app/config.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

std::unexpected<Error> config_error(std::string param, std::string message, std::string hint = {});

// Null when unset.
const OptionValue* find(const OptionMap& map, const std::string& key);
std::string text_of(const OptionMap& map, const std::string& key);
// The value was checked when it was read, so this cannot fail; unset gives `fallback`.
std::int64_t integer_of(const OptionMap& map, const std::string& key, std::int64_t fallback = 0);
std::vector<std::string> list_of(const OptionMap& map, const std::string& key);
// "genesis.toml:12": the line of a key, or of the table it is missing in.
std::string line_of(const OptionMap& map, const std::string& prefix, std::string_view key);

// "90s", "30m", "24h", "7d"; kConfig naming `key` and its line.
Result<std::chrono::milliseconds> duration_of(const OptionMap& map, const std::string& key);

// What "env:NAME" or "file:path" holds, without white space at its end; kConfig naming `key`.
Result<std::string> read_secret(const std::string& source, const std::string& key);

// Dialect and headers of one endpoint whose name and kind have been read.
Result<void> read_upstream(const OptionMap& map,
                           const std::string& prefix,
                           EndpointConfig& endpoint);

// Routes, agents, cheap models, the commercial cap and traces; the endpoints have been read.
Result<void> read_routing(const OptionMap& map, Config& config);

}  // namespace genesis::app
