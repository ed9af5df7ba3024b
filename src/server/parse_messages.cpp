#include "server/parse_messages.h"

#include "base/json.h"
#include "server/fields.h"

#include <boost/json.hpp>
#include <fmt/format.h>

namespace genesis::server {

namespace json = boost::json;

namespace {

Result<std::string> parse_role(const json::object& message, const std::string& prefix) {
  GENESIS_TRY(const auto role, get_string(message, "role", prefix));
  if (!role) {
    return fail_param(prefix + "role", fmt::format("'{}role' is required", prefix));
  }
  if (*role == "developer") {
    return std::string("system");
  }
  if (*role == "system" || *role == "user" || *role == "assistant" || *role == "tool") {
    return *role;
  }
  return fail_param(
      prefix + "role",
      fmt::format("'{}role' must be one of system, developer, user, assistant, tool", prefix));
}

Result<std::string> parse_part(const json::value& part, const std::string& place) {
  const json::object* object = part.if_object();
  if (object == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object with a 'type'", place));
  }
  GENESIS_TRY(const auto type, get_string(*object, "type", place + "."));
  if (!type) {
    return fail_param(place + ".type", fmt::format("'{}.type' is required", place));
  }
  if (*type != "text") {
    return fail_param(place + ".type",
                      fmt::format("'{}.type' is not 'text'; only text content is supported", place),
                      ErrorCode::kUnsupported);
  }
  GENESIS_TRY(auto text, get_string(*object, "text", place + "."));
  if (!text) {
    return fail_param(place + ".text", fmt::format("'{}.text' is required", place));
  }
  return std::move(*text);
}

Result<std::string> parse_content(const json::object& message,
                                  const std::string& prefix,
                                  std::string_view role) {
  const std::string place = prefix + "content";
  const json::value* content = message.if_contains("content");
  if (content == nullptr || content->is_null()) {
    if (role == "assistant") {
      return std::string();
    }
    return fail_param(place, fmt::format("'{}' is required for role '{}'", place, role));
  }
  if (content->is_string()) {
    return std::string(content->get_string());
  }
  if (!content->is_array()) {
    return fail_param(place, fmt::format("'{}' must be a string or a list of parts", place));
  }
  std::string joined;
  for (std::size_t i = 0; i < content->get_array().size(); ++i) {
    GENESIS_TRY(const auto text,
                parse_part(content->get_array()[i], fmt::format("{}[{}]", place, i)));
    joined += i > 0 ? "\n" : "";
    joined += text;
  }
  return joined;
}

Result<std::string> parse_tool_calls(const json::object& message, const std::string& prefix) {
  if (!is_given(message, "tool_calls")) {
    return std::string();
  }
  const json::array* calls = message.at("tool_calls").if_array();
  if (calls == nullptr) {
    return fail_param(prefix + "tool_calls", fmt::format("'{}tool_calls' must be a list", prefix));
  }
  for (std::size_t i = 0; i < calls->size(); ++i) {
    const std::string place = fmt::format("{}tool_calls[{}]", prefix, i);
    const json::object* call = (*calls)[i].if_object();
    if (call == nullptr || call->if_contains("function") == nullptr ||
        !call->at("function").is_object()) {
      return fail_param(place,
                        fmt::format("'{}' must be an object with a 'function' object", place));
    }
  }
  return calls->empty() ? std::string() : json::serialize(*calls);
}

Result<ChatMessage> parse_message(const json::value& value, std::size_t index) {
  const std::string place = fmt::format("messages[{}]", index);
  const json::object* object = value.if_object();
  if (object == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object", place));
  }
  const std::string prefix = place + ".";
  ChatMessage message;
  GENESIS_TRY(message.role, parse_role(*object, prefix));
  GENESIS_TRY(message.content, parse_content(*object, prefix, message.role));
  GENESIS_TRY(auto name, get_string(*object, "name", prefix));
  message.name = std::move(name).value_or("");
  GENESIS_TRY(auto tool_call_id, get_string(*object, "tool_call_id", prefix));
  message.tool_call_id = std::move(tool_call_id).value_or("");
  if (message.role == "tool" && message.tool_call_id.empty()) {
    return fail_param(prefix + "tool_call_id",
                      fmt::format("'{}tool_call_id' is required for role 'tool'", prefix));
  }
  GENESIS_TRY(message.tool_calls_json, parse_tool_calls(*object, prefix));
  return message;
}

}  // namespace

Result<std::vector<ChatMessage>> parse_messages(const json::object& body) {
  if (!is_given(body, "messages")) {
    return fail_param("messages", "'messages' is required");
  }
  const json::array* list = body.at("messages").if_array();
  if (list == nullptr || list->empty()) {
    return fail_param("messages", "'messages' must be a list with at least one message");
  }
  std::vector<ChatMessage> messages;
  messages.reserve(list->size());
  for (std::size_t i = 0; i < list->size(); ++i) {
    GENESIS_TRY(auto message, parse_message((*list)[i], i));
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace genesis::server
