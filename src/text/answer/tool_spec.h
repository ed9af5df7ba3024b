// The tools of a request, and which of them the answer must call, read from OpenAI's JSON.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::text {

struct ToolSpec {
  std::string name;
  std::string parameters_json;  // JSON Schema of the arguments; empty = no parameters
  bool strict = false;          // the arguments must follow the schema exactly
  std::string json;             // the item of `tools`, byte for byte
};

// OpenAI's limits (API reference, chat completions), but for the bytes, which are ours.
inline constexpr std::size_t kMostTools = 128;
inline constexpr std::size_t kMostToolNameBytes = 64;
inline constexpr std::size_t kMostToolsBytes = 4 * 1024 * 1024;

// `tools_json` is the array, or empty for none. Names are letters, digits, '_', '-' and, beyond
// OpenAI's rule, '.', which MCP clients and benchmarks write between a server and its tool.
// kInvalidArgument names the place, e.g. tools[1].function.name.
Result<std::vector<ToolSpec>> parse_tools(std::string_view tools_json);

std::vector<std::string> tool_names(std::span<const ToolSpec> tools);

struct ToolChoice {
  enum class Kind : std::uint8_t {
    kAuto,      // the model decides
    kNone,      // text only
    kRequired,  // at least one call, of any tool
    kNamed,     // calls of `name` only
  };

  Kind kind = Kind::kAuto;
  std::string name;
};

// `choice_json` is the field's value; empty or null: auto with tools, none without. A choice that
// asks for a call needs tools, a named one the tool of that name.
Result<ToolChoice> parse_tool_choice(std::string_view choice_json, std::span<const ToolSpec> tools);

}  // namespace genesis::text
