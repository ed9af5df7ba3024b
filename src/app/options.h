// The option table: every key of genesis.toml once, with type, default, range and meaning. The
// reader, `genesis config show` and the documentation all come from it.
#pragma once

#include "base/json.h"
#include "base/result.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::app {

enum class OptionType : std::uint8_t {
  kString,
  kChoice,  // one of OptionSpec::choices, separated by '|'
  kInteger,
  kBool,
  kUsd,     // decimal text such as "2.50", never a float
  kList,    // of strings
  kSecret,  // { env = "X" } or { file = "path" }
  kTable,   // names of the writer's own choice with strings or secrets: "headers.NAME" in the map
};

struct OptionSpec {
  // "server.listen", or the key inside [[endpoint]], [[route]], [[agent]] or [[budget]]. One that
  // ends in ".*" stands for a table whose keys are names: "weights.*" for weights = { a = 3 }.
  std::string_view key;
  OptionType type = OptionType::kString;
  std::string_view fallback;
  std::string_view doc;
  std::int64_t low = 0;
  std::int64_t high = 0;
  std::string_view choices = {};
  std::string_view environment = {};  // variable that overrides the file
};

std::span<const OptionSpec> general_options();
std::span<const OptionSpec> endpoint_options();
std::span<const OptionSpec> route_options();
std::span<const OptionSpec> budget_options();
std::span<const OptionSpec> adapter_options();
std::span<const OptionSpec> agent_options();

// True for a key that stands for a table of names.
constexpr bool is_name_table(const OptionSpec& spec) {
  return spec.key.ends_with(".*");
}

// A value as read, with where it came from: "default", "genesis.toml:12", "GENESIS_HOST",
// "--listen".
struct OptionValue {
  OptionType type = OptionType::kString;
  std::string text;
  std::vector<std::string> list;
  std::string origin = "default";
};

// Keys: "server.listen", "endpoint[0].name", "route[1].endpoints", "route[1].weights.local".
using OptionMap = std::map<std::string, OptionValue, std::less<>>;

// Checks type, range and choice of a text form; the error names the key.
Result<OptionValue> read_option(const OptionSpec& spec, std::string_view text, std::string origin);

// Parses TOML text over the table. Unknown keys are errors with line and suggestion.
Result<OptionMap> read_config_text(std::string_view toml, std::string_view file_name);

// A value as it is shown: a secret is shown as the place it comes from.
std::string shown_value(const OptionValue& value);
// An array of {"key", "value", "origin"}.
void write_options(JsonWriter& writer, const OptionMap& map);

// The nearest known word by edit distance, or "" when nothing is near.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace genesis::app
