#include "server/parse_responses.h"

#include "base/json.h"
#include "server/fields.h"
#include "server/parse_openai.h"
#include "server/response_items.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <array>
#include <utility>

namespace genesis::server {

namespace json = boost::json;

namespace {

std::unexpected<Error> unsupported(const std::string& field, std::string_view why) {
  return fail_param(field, fmt::format("'{}' {}", field, why), ErrorCode::kUnsupported);
}

// Needs a store of earlier responses, or a worker behind the request.
Result<void> refuse_stateful(const json::object& from) {
  for (const std::string_view key : {"previous_response_id", "conversation", "prompt"}) {
    if (is_given(from, key)) {
      return unsupported(std::string(key),
                         "needs stored responses; send the conversation in 'input'");
    }
  }
  GENESIS_TRY(const auto background, get_bool(from, "background"));
  if (background.value_or(false)) {
    return unsupported("background", "is not supported; ask without it");
  }
  GENESIS_TRY(const auto truncation, get_string(from, "truncation"));
  if (truncation && *truncation != "disabled") {
    return unsupported("truncation", "other than 'disabled' is not supported");
  }
  GENESIS_TRY(const auto logprobs, get_int(from, "top_logprobs"));
  if (logprobs.value_or(0) > 0) {
    return unsupported("top_logprobs", "is not supported here; use /v1/chat/completions");
  }
  GENESIS_TRY([[maybe_unused]] const auto store, get_bool(from, "store"));
  return {};
}

Result<void> copy_numbers(const json::object& from, json::object& to) {
  for (const std::string_view key : {"temperature", "top_p"}) {
    GENESIS_TRY(const auto number, get_number(from, key));
    if (number) {
      to[key] = *number;
    }
  }
  GENESIS_TRY(const auto most, get_int(from, "max_output_tokens"));
  if (most) {
    to["max_tokens"] = *most;
  }
  for (const std::string_view key : {"stream", "parallel_tool_calls"}) {
    GENESIS_TRY(const auto flag, get_bool(from, key));
    if (flag) {
      to[key] = *flag;
    }
  }
  return {};
}

Result<void> translate_tools(const json::object& from, json::object& to) {
  if (!is_given(from, "tools")) {
    return {};
  }
  const json::array* tools = from.at("tools").if_array();
  if (tools == nullptr) {
    return fail_param("tools", "'tools' must be a list");
  }
  json::array translated;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const std::string prefix = fmt::format("tools[{}].", i);
    const json::object* tool = (*tools)[i].if_object();
    GENESIS_TRY(const auto type,
                tool == nullptr ? Result<std::optional<std::string>>(std::nullopt)
                                : get_string(*tool, "type", prefix));
    if (!type) {
      return fail_param(prefix + "type", fmt::format("'{}type' is required", prefix));
    }
    if (*type != "function") {
      return unsupported(prefix + "type", "is not 'function': other tools run at OpenAI only");
    }
    json::object function = *tool;
    function.erase("type");
    translated.push_back(json::object{{"type", "function"}, {"function", std::move(function)}});
  }
  if (!translated.empty()) {
    to["tools"] = std::move(translated);
  }
  return {};
}

Result<void> translate_tool_choice(const json::object& from, json::object& to) {
  if (!is_given(from, "tool_choice")) {
    return {};
  }
  const json::value& choice = from.at("tool_choice");
  if (choice.is_string()) {
    to["tool_choice"] = choice;
    return {};
  }
  const json::object* object = choice.if_object();
  GENESIS_TRY(const auto type,
              object == nullptr ? Result<std::optional<std::string>>(std::nullopt)
                                : get_string(*object, "type", "tool_choice."));
  if (!type || *type != "function") {
    return unsupported("tool_choice.type", "must be 'function'");
  }
  GENESIS_TRY(auto name, get_string(*object, "name", "tool_choice."));
  if (!name) {
    return fail_param("tool_choice.name", "'tool_choice.name' is required");
  }
  to["tool_choice"] =
      json::object{{"type", "function"}, {"function", json::object{{"name", *std::move(name)}}}};
  return {};
}

// `text.format` is chat's response_format with the schema's members one level higher.
Result<void> translate_text(const json::object& from, json::object& to) {
  if (!is_given(from, "text")) {
    return {};
  }
  const json::object* text = from.at("text").if_object();
  if (text == nullptr) {
    return fail_param("text", "'text' must be an object");
  }
  GENESIS_TRY(const auto verbosity, get_string(*text, "verbosity", "text."));
  if (verbosity) {
    to["verbosity"] = *verbosity;
  }
  if (!is_given(*text, "format")) {
    return {};
  }
  const json::object* format = text->at("format").if_object();
  GENESIS_TRY(const auto type,
              format == nullptr ? Result<std::optional<std::string>>(std::nullopt)
                                : get_string(*format, "type", "text.format."));
  if (!type || (*type != "text" && *type != "json_object" && *type != "json_schema")) {
    return fail_param("text.format.type",
                      "'text.format.type' must be text, json_object or json_schema");
  }
  if (*type == "json_schema") {
    if (!is_given(*format, "schema") || !format->at("schema").is_object()) {
      return fail_param("text.format.schema", "'text.format.schema' must be an object");
    }
    json::object schema = *format;
    schema.erase("type");
    to["response_format"] =
        json::object{{"type", "json_schema"}, {"json_schema", std::move(schema)}};
  } else if (*type == "json_object") {
    to["response_format"] = json::object{{"type", "json_object"}};
  }
  return {};
}

Result<void> translate_reasoning(const json::object& from, json::object& to) {
  if (!is_given(from, "reasoning")) {
    return {};
  }
  const json::object* reasoning = from.at("reasoning").if_object();
  if (reasoning == nullptr) {
    return fail_param("reasoning", "'reasoning' must be an object");
  }
  GENESIS_TRY(const auto effort, get_string(*reasoning, "effort", "reasoning."));
  if (effort) {
    to["reasoning_effort"] = *effort;
  }
  return {};
}

Result<void> translate_conversation(const json::object& from, json::object& to) {
  if (!is_given(from, "input")) {
    return fail_param("input", "'input' is required");
  }
  GENESIS_TRY(auto messages, translate_response_input(from.at("input")));
  GENESIS_TRY(auto instructions, get_string(from, "instructions"));
  if (instructions && !instructions->empty()) {
    messages.insert(
        messages.begin(),
        json::value(json::object{{"role", "system"}, {"content", *std::move(instructions)}}));
  }
  to["messages"] = std::move(messages);
  return {};
}

// What a response repeats of its request, with OpenAI's defaults for what was not said.
Result<std::string> make_echo(const json::object& from) {
  using Default = std::pair<std::string_view, std::string_view>;
  constexpr std::array kEchoed{Default{"instructions", "null"},
                               Default{"max_output_tokens", "null"},
                               Default{"parallel_tool_calls", "true"},
                               Default{"reasoning", R"({"effort":null,"summary":null})"},
                               Default{"temperature", "1.0"},
                               Default{"text", R"({"format":{"type":"text"}})"},
                               Default{"tool_choice", R"("auto")"},
                               Default{"tools", "[]"},
                               Default{"top_p", "1.0"},
                               Default{"user", "null"},
                               Default{"metadata", "{}"}};
  if (is_given(from, "metadata") && !from.at("metadata").is_object()) {
    return fail_param("metadata", "'metadata' must be an object");
  }
  JsonWriter w;
  w.begin_object();
  for (const auto& [key, fallback] : kEchoed) {
    w.field_raw(key, is_given(from, key) ? json::serialize(from.at(key)) : std::string(fallback));
  }
  w.end_object();
  // Without the braces: these stand among the response's other members.
  const std::string& object = w.str();
  return object.substr(1, object.size() - 2);
}

Result<std::string> session_hint(const json::object& from) {
  for (const std::string_view key : {"prompt_cache_key", "safety_identifier", "user"}) {
    GENESIS_TRY(auto word, get_string(from, key));
    if (word && !word->empty()) {
      return *std::move(word);
    }
  }
  return std::string();
}

// The chat's fields as this dialect calls them.
std::string own_name(std::string field) {
  return field == "response_format" ? "text.format"
         : field == "max_tokens"    ? "max_output_tokens"
                                    : field;
}

}  // namespace

Result<InferenceCall> parse_responses_request(std::string_view text) {
  GENESIS_TRY(const json::object from, parse_object(text));
  GENESIS_TRY_VOID(refuse_stateful(from));
  json::object to;
  GENESIS_TRY(const auto model, get_string(from, "model"));
  if (model) {
    to["model"] = *model;
  }
  GENESIS_TRY_VOID(translate_conversation(from, to));
  GENESIS_TRY_VOID(copy_numbers(from, to));
  GENESIS_TRY_VOID(translate_tools(from, to));
  GENESIS_TRY_VOID(translate_tool_choice(from, to));
  GENESIS_TRY_VOID(translate_text(from, to));
  GENESIS_TRY_VOID(translate_reasoning(from, to));
  GENESIS_TRY(std::string echo, make_echo(from));
  GENESIS_TRY(std::string session, session_hint(from));
  auto read = read_chat_request(to, json::serialize(to));
  if (!read) {
    read.error().param = own_name(std::move(read.error().param));
    return read;
  }
  InferenceCall call = *std::move(read);
  for (std::string& demand : call.open_input().demands) {
    demand = own_name(std::move(demand));
  }
  call.open_input().format.field = own_name(std::move(call.open_input().format.field));
  call.request.dialect = Dialect::kResponses;
  call.session_hint = std::move(session);
  call.wire.echo = std::move(echo);
  call.open_input().native = text;
  return call;
}

}  // namespace genesis::server
