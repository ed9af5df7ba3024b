// Checks of `tools` and `tool_choice`.
#include "text/answer/tool_spec.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

namespace genesis::text {

namespace json = boost::json;

namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

Result<void> check_name(const std::string& name, const std::string& place) {
  if (name.empty() || name.size() > kMostToolNameBytes ||
      !std::ranges::all_of(name, is_name_character)) {
    return fail_param(
        place,
        fmt::format(
            "'{}' must be 1 to {} letters, digits, '_', '-' or '.'", place, kMostToolNameBytes));
  }
  return {};
}

// The member's text as the client wrote it; the last one where it stands twice, as in the tree.
Result<std::string> raw_member(std::string_view object_text, std::string_view key) {
  GENESIS_TRY(const auto members, scan_members(object_text));
  std::string raw;
  for (const JsonMember& member : members) {
    if (member.key == key) {
      raw = member.value;
    }
  }
  return raw;
}

Result<const json::object*> function_of(const json::value& tool, const std::string& place) {
  const json::object* object = tool.if_object();
  if (object == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object", place));
  }
  GENESIS_TRY(const auto type, get_string(*object, "type", place + "."));
  if (type.value_or("function") != "function") {
    return fail_param(place + ".type",
                      fmt::format("'{}.type' must be 'function', not '{}'", place, *type));
  }
  const json::value* function = object->if_contains("function");
  if (function == nullptr || !function->is_object()) {
    return fail_param(place + ".function",
                      fmt::format("'{}.function' must be an object with a 'name'", place));
  }
  return &function->get_object();
}

Result<ToolSpec> parse_tool(const json::value& tool, std::string_view raw, std::size_t index) {
  const std::string place = fmt::format("tools[{}]", index);
  GENESIS_TRY(const json::object* const function, function_of(tool, place));
  const std::string prefix = place + ".function.";
  ToolSpec spec;
  spec.json = raw;
  GENESIS_TRY(auto name, get_string(*function, "name", prefix));
  if (!name) {
    return fail_param(prefix + "name", fmt::format("'{}name' is required", prefix));
  }
  GENESIS_TRY_VOID(check_name(*name, prefix + "name"));
  spec.name = *std::move(name);
  GENESIS_TRY_VOID(get_string(*function, "description", prefix));
  GENESIS_TRY(const auto strict, get_bool(*function, "strict", prefix));
  spec.strict = strict.value_or(false);
  const json::value* parameters = function->if_contains("parameters");
  if (parameters == nullptr || parameters->is_null()) {
    return spec;
  }
  if (!parameters->is_object()) {
    return fail_param(prefix + "parameters",
                      fmt::format("'{}parameters' must be a JSON Schema object", prefix));
  }
  GENESIS_TRY(const std::string function_text, raw_member(raw, "function"));
  GENESIS_TRY(spec.parameters_json, raw_member(function_text, "parameters"));
  return spec;
}

Result<std::string> named_function(const json::value& choice) {
  const json::object* object = choice.if_object();
  if (object == nullptr) {
    return fail_param("tool_choice",
                      "'tool_choice' must be 'none', 'auto', 'required' or an object");
  }
  GENESIS_TRY(const auto type, get_string(*object, "type", "tool_choice."));
  if (type.value_or("function") != "function") {
    return fail_param("tool_choice.type",
                      fmt::format("'tool_choice.type' must be 'function', not '{}'", *type));
  }
  const json::value* function = object->if_contains("function");
  if (function == nullptr || !function->is_object()) {
    return fail_param("tool_choice.function",
                      "'tool_choice.function' must be an object with a 'name'");
  }
  GENESIS_TRY(auto name, get_string(function->get_object(), "name", "tool_choice.function."));
  if (!name) {
    return fail_param("tool_choice.function.name", "'tool_choice.function.name' is required");
  }
  return *std::move(name);
}

std::optional<ToolChoice::Kind> kind_of(std::string_view word) {
  if (word == "auto") {
    return ToolChoice::Kind::kAuto;
  }
  if (word == "none") {
    return ToolChoice::Kind::kNone;
  }
  if (word == "required" || word == "any") {  // Mistral's word
    return ToolChoice::Kind::kRequired;
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<ToolSpec>> parse_tools(std::string_view tools_json) {
  std::vector<ToolSpec> specs;
  if (tools_json.empty()) {
    return specs;
  }
  if (tools_json.size() > kMostToolsBytes) {
    return fail_param("tools",
                      fmt::format("'tools' has {} bytes, at most {} are taken; shorten the schemas",
                                  tools_json.size(),
                                  kMostToolsBytes));
  }
  auto parsed = parse_json(tools_json);
  if (!parsed) {
    return fail_param("tools", fmt::format("'tools' is {}", parsed.error().message));
  }
  const json::array* tools = parsed->if_array();
  if (tools == nullptr) {
    return fail_param("tools", "'tools' must be a list");
  }
  if (tools->size() > kMostTools) {
    return fail_param(
        "tools",
        fmt::format("'tools' has {} entries, at most {} are taken", tools->size(), kMostTools));
  }
  GENESIS_TRY(const auto raw, scan_items(tools_json));
  std::unordered_set<std::string> seen;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    GENESIS_TRY(ToolSpec spec, parse_tool((*tools)[i], raw[i], i));
    if (!seen.insert(spec.name).second) {
      const std::string place = fmt::format("tools[{}].function.name", i);
      return fail_param(
          place, fmt::format("'{}': a tool before has the name '{}', too", place, spec.name));
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

std::vector<std::string> tool_names(std::span<const ToolSpec> tools) {
  std::vector<std::string> names;
  names.reserve(tools.size());
  for (const ToolSpec& tool : tools) {
    names.push_back(tool.name);
  }
  return names;
}

Result<ToolChoice> parse_tool_choice(std::string_view choice_json,
                                     std::span<const ToolSpec> tools) {
  ToolChoice choice{.kind = tools.empty() ? ToolChoice::Kind::kNone : ToolChoice::Kind::kAuto,
                    .name = {}};
  if (choice_json.empty() || choice_json == "null") {
    return choice;
  }
  auto parsed = parse_json(choice_json);
  if (!parsed) {
    return fail_param("tool_choice", fmt::format("'tool_choice' is {}", parsed.error().message));
  }
  if (const json::string* word = parsed->if_string()) {
    const auto kind = kind_of(*word);
    if (!kind) {
      return fail_param("tool_choice",
                        "'tool_choice' must be 'none', 'auto', 'required' or an object");
    }
    choice.kind = *kind == ToolChoice::Kind::kAuto ? choice.kind : *kind;
  } else {
    GENESIS_TRY(choice.name, named_function(*parsed));
    choice.kind = ToolChoice::Kind::kNamed;
    if (std::ranges::find(tools, choice.name, &ToolSpec::name) == tools.end()) {
      return fail_param(
          "tool_choice.function.name",
          fmt::format("'tool_choice.function.name': no tool '{}' among 'tools'", choice.name));
    }
  }
  if (choice.kind == ToolChoice::Kind::kRequired && tools.empty()) {
    return fail_param("tool_choice", "'tool_choice' asks for a call, but 'tools' is empty");
  }
  return choice;
}

}  // namespace genesis::text
