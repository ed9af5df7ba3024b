#include "server/parse_anthropic.h"

#include "base/json.h"
#include "server/anthropic_messages.h"
#include "server/fields.h"
#include "server/parse_openai.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::server {

namespace json = boost::json;

namespace {

// Where a budget of thinking tokens ends to be "low" or "medium": the two lie a factor of four
// apart, the smallest budget that Anthropic takes being 1024.
constexpr int kLowThinking = 4096;
constexpr int kMediumThinking = 16'384;

// Reads one request and writes it again in OpenAI's shape.
class Translation {
 public:
  Translation(json::object& from, AnthropicRoute route) : from_(from), route_(route) {}

  Result<void> run();

  json::object& body() { return to_; }

  const std::string& native_only() const { return native_only_; }

  // The client's name of `response_format`.
  const std::string& format_field() const { return format_field_; }

  std::string user;

 private:
  Result<void> limits();
  Result<void> stops();
  Result<void> tools();
  Result<json::object> tool(json::object& tool, const std::string& place);
  Result<void> tool_choice();
  Result<void> thinking();
  Result<void> output_config();
  Result<void> format(json::value& format, const std::string& place);
  Result<void> metadata();
  void server_side_fields();

  Result<json::object*> object_at(std::string_view key) {
    json::object* object = from_.at(key).if_object();
    if (object == nullptr) {
      return fail_param(std::string(key), fmt::format("'{}' must be an object", key));
    }
    return object;
  }

  void note_native(std::string place) {
    if (native_only_.empty()) {
      native_only_ = std::move(place);
    }
  }

  json::object& from_;
  AnthropicRoute route_;
  json::object to_;
  std::string native_only_;
  std::string format_field_;
};

Result<void> Translation::run() {
  GENESIS_TRY(const auto model, get_string(from_, "model"));
  if (model) {
    to_["model"] = *model;
  }
  GENESIS_TRY(auto translated, translate_anthropic_messages(from_));
  to_["messages"] = std::move(translated.messages);
  native_only_ = std::move(translated.native_only);
  GENESIS_TRY_VOID(limits());
  GENESIS_TRY_VOID(stops());
  GENESIS_TRY_VOID(tools());
  GENESIS_TRY_VOID(tool_choice());
  GENESIS_TRY_VOID(thinking());
  GENESIS_TRY_VOID(output_config());
  GENESIS_TRY_VOID(metadata());
  server_side_fields();
  return {};
}

Result<void> Translation::limits() {
  GENESIS_TRY(const auto max_tokens, get_int(from_, "max_tokens"));
  if (!max_tokens && route_ == AnthropicRoute::kMessages) {
    return fail_param("max_tokens", "'max_tokens' is required");
  }
  if (max_tokens) {
    to_["max_tokens"] = *max_tokens;
  }
  GENESIS_TRY(const auto stream, get_bool(from_, "stream"));
  if (stream) {
    to_["stream"] = *stream;
  }
  for (const std::string_view key : {"temperature", "top_p"}) {
    GENESIS_TRY(const auto number, get_number(from_, key));
    if (number) {
      to_[key] = *number;
    }
  }
  GENESIS_TRY(const auto top_k, get_int(from_, "top_k"));
  if (top_k) {
    to_["top_k"] = *top_k;
  }
  return {};
}

Result<void> Translation::stops() {
  GENESIS_TRY(const auto stops, get_strings(from_, "stop_sequences"));
  if (stops.size() > kMaxStopStrings) {
    return fail_param("stop_sequences",
                      fmt::format("'stop_sequences' may hold at most {}", kMaxStopStrings));
  }
  if (std::ranges::any_of(stops, &std::string::empty)) {
    return fail_param("stop_sequences", "'stop_sequences' must not hold an empty text");
  }
  if (!stops.empty()) {
    to_["stop"] = json::array(stops.begin(), stops.end());
  }
  return {};
}

Result<void> Translation::tools() {
  if (!is_given(from_, "tools")) {
    return {};
  }
  json::array* list = from_.at("tools").if_array();
  if (list == nullptr) {
    return fail_param("tools", "'tools' must be a list");
  }
  json::array functions;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string place = fmt::format("tools[{}]", i);
    json::object* object = (*list)[i].if_object();
    if (object == nullptr) {
      return fail_param(place, fmt::format("'{}' must be an object", place));
    }
    GENESIS_TRY(const auto type, get_string(*object, "type", place + "."));
    if (type && *type != "custom") {
      note_native(place + ".type");  // one that runs at Anthropic, or that only its models know
      continue;
    }
    GENESIS_TRY(auto function, tool(*object, place));
    functions.emplace_back(std::move(function));
  }
  if (!functions.empty()) {
    to_["tools"] = std::move(functions);
  }
  return {};
}

Result<json::object> Translation::tool(json::object& tool, const std::string& place) {
  GENESIS_TRY(auto name, get_string(tool, "name", place + "."));
  if (!name || name->empty()) {
    return fail_param(place + ".name", fmt::format("'{}.name' is required", place));
  }
  GENESIS_TRY(auto description, get_string(tool, "description", place + "."));
  GENESIS_TRY(const auto strict, get_bool(tool, "strict", place + "."));
  json::value* schema = tool.if_contains("input_schema");
  if (schema == nullptr || !schema->is_object()) {
    return fail_param(place + ".input_schema",
                      fmt::format("'{}.input_schema' must be an object", place));
  }
  json::object function{{"name", std::move(*name)}};
  if (description) {
    function["description"] = std::move(*description);
  }
  function["parameters"] = std::move(*schema);
  if (strict) {
    function["strict"] = *strict;
  }
  return json::object{{"type", "function"}, {"function", std::move(function)}};
}

Result<void> Translation::tool_choice() {
  if (!is_given(from_, "tool_choice")) {
    return {};
  }
  GENESIS_TRY(json::object* const choice, object_at("tool_choice"));
  GENESIS_TRY(const auto type, get_string(*choice, "type", "tool_choice."));
  GENESIS_TRY(const auto single, get_bool(*choice, "disable_parallel_tool_use", "tool_choice."));
  if (single) {
    to_["parallel_tool_calls"] = !*single;
  }
  const std::string word = type.value_or("");
  if (word == "auto" || word == "none") {
    to_["tool_choice"] = word;
    return {};
  }
  if (word == "any") {
    to_["tool_choice"] = "required";
    return {};
  }
  if (word == "tool") {
    GENESIS_TRY(auto name, get_string(*choice, "name", "tool_choice."));
    if (!name) {
      return fail_param("tool_choice.name", "'tool_choice.name' is required");
    }
    to_["tool_choice"] =
        json::object{{"type", "function"}, {"function", json::object{{"name", std::move(*name)}}}};
    return {};
  }
  return fail_param("tool_choice.type", "'tool_choice.type' must be auto, any, tool or none");
}

Result<void> Translation::thinking() {
  if (!is_given(from_, "thinking")) {
    return {};
  }
  GENESIS_TRY(json::object* const thinking, object_at("thinking"));
  GENESIS_TRY(const auto type, get_string(*thinking, "type", "thinking."));
  if (!type || (*type != "enabled" && *type != "disabled" && *type != "adaptive")) {
    return fail_param("thinking.type", "'thinking.type' must be enabled, adaptive or disabled");
  }
  if (*type != "enabled") {
    return {};
  }
  GENESIS_TRY(const auto budget, get_int(*thinking, "budget_tokens", "thinking."));
  if (!budget || *budget < 1) {
    return fail_param("thinking.budget_tokens",
                      "'thinking.budget_tokens' must be a positive number");
  }
  to_["reasoning_effort"] = *budget <= kLowThinking      ? "low"
                            : *budget <= kMediumThinking ? "medium"
                                                         : "high";
  return {};
}

Result<void> Translation::output_config() {
  if (is_given(from_, "output_format")) {
    GENESIS_TRY_VOID(format(from_.at("output_format"), "output_format"));
  }
  if (!is_given(from_, "output_config")) {
    return {};
  }
  GENESIS_TRY(json::object* const config, object_at("output_config"));
  GENESIS_TRY(const auto effort, get_string(*config, "effort", "output_config."));
  if (effort) {
    to_["reasoning_effort"] = *effort == "max" ? std::string("high") : *effort;
  }
  if (is_given(*config, "format")) {
    GENESIS_TRY_VOID(format(config->at("format"), "output_config.format"));
  }
  return {};
}

Result<void> Translation::format(json::value& format, const std::string& place) {
  json::object* object = format.if_object();
  if (object == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object", place));
  }
  GENESIS_TRY(const auto type, get_string(*object, "type", place + "."));
  json::value* schema = object->if_contains("schema");
  if (!type || *type != "json_schema") {
    return fail_param(place + ".type", fmt::format("'{}.type' must be json_schema", place));
  }
  if (schema == nullptr || !schema->is_object()) {
    return fail_param(place + ".schema", fmt::format("'{}.schema' must be an object", place));
  }
  json::object named{{"name", "answer"}, {"strict", true}, {"schema", std::move(*schema)}};
  to_["response_format"] = json::object{{"type", "json_schema"}, {"json_schema", std::move(named)}};
  format_field_ = place;
  return {};
}

Result<void> Translation::metadata() {
  if (!is_given(from_, "metadata")) {
    return {};
  }
  GENESIS_TRY(json::object* const metadata, object_at("metadata"));
  GENESIS_TRY(auto id, get_string(*metadata, "user_id", "metadata."));
  if (id) {
    to_["user"] = *id;
    user = std::move(*id);
  }
  return {};
}

// What happens at Anthropic besides the answer.
void Translation::server_side_fields() {
  for (const std::string_view key : {"mcp_servers", "container", "context_management"}) {
    const json::value* value = from_.if_contains(key);
    const bool empty =
        value == nullptr || value->is_null() || (value->is_array() && value->get_array().empty());
    if (!empty) {
      note_native(std::string(key));
    }
  }
}

}  // namespace

Result<InferenceCall> parse_anthropic_request(std::string_view text, AnthropicRoute route) {
  GENESIS_TRY(json::object body, parse_object(text));
  Translation translation(body, route);
  GENESIS_TRY_VOID(translation.run());
  const std::string translated = json::serialize(translation.body());
  GENESIS_TRY(auto call, read_chat_request(translation.body(), translated));
  call.request.dialect = Dialect::kAnthropic;
  call.session_hint = std::move(translation.user);
  ChatInput& input = call.open_input();
  input.native = text;
  input.native_only = translation.native_only();
  std::ranges::replace(input.demands, std::string("response_format"), translation.format_field());
  if (input.format.field == "response_format") {
    input.format.field = translation.format_field();
  }
  return call;
}

}  // namespace genesis::server
