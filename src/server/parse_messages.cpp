#include "server/parse_messages.h"

#include "base/json.h"
#include "server/fields.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <optional>
#include <utility>

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

struct Content {
  std::string text;        // the text parts, joined by newline
  std::string parts_json;  // the whole list when a part is more than text
};

// Images come by reference: a URL, or the bytes as a data URL.
Result<void> check_image(const json::object& part, const std::string& place) {
  const json::value* image = part.if_contains("image_url");
  const std::string field = place + ".image_url";
  if (image == nullptr || image->is_null()) {
    return fail_param(field, fmt::format("'{}' is required", field));
  }
  if (image->is_string()) {
    return {};
  }
  if (!image->is_object()) {
    return fail_param(field, fmt::format("'{}' must be an object with a 'url'", field));
  }
  GENESIS_TRY(const auto url, get_string(image->get_object(), "url", field + "."));
  if (!url || url->empty()) {
    return fail_param(field + ".url", fmt::format("'{}.url' is required", field));
  }
  return {};
}

// The text of a part; nullopt when it is something else, which only some upstreams understand.
Result<std::optional<std::string>> parse_part(const json::value& part, const std::string& place) {
  const json::object* object = part.if_object();
  if (object == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object with a 'type'", place));
  }
  GENESIS_TRY(const auto type, get_string(*object, "type", place + "."));
  if (!type) {
    return fail_param(place + ".type", fmt::format("'{}.type' is required", place));
  }
  if (*type == "image_url") {
    GENESIS_TRY_VOID(check_image(*object, place));
  }
  // What an assistant refused with is text as well.
  if (*type != "text" && *type != "refusal") {
    return std::nullopt;
  }
  GENESIS_TRY(auto text, get_string(*object, *type, place + "."));
  if (!text) {
    return fail_param(fmt::format("{}.{}", place, *type),
                      fmt::format("'{}.{}' is required", place, *type));
  }
  return text;
}

Result<Content> parse_parts(const json::array& parts, const std::string& place) {
  Content content;
  bool first = true;
  bool only_text = true;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    GENESIS_TRY(const auto text, parse_part(parts[i], fmt::format("{}[{}]", place, i)));
    if (!text) {
      only_text = false;
      continue;
    }
    content.text += first ? "" : "\n";
    content.text += *text;
    first = false;
  }
  if (!only_text) {
    content.parts_json = json::serialize(parts);
  }
  return content;
}

Result<Content> parse_content(const json::object& message,
                              const std::string& prefix,
                              std::string_view role) {
  const std::string place = prefix + "content";
  const json::value* content = message.if_contains("content");
  if (content == nullptr || content->is_null()) {
    if (role == "assistant") {
      return Content{};
    }
    return fail_param(place, fmt::format("'{}' is required for role '{}'", place, role));
  }
  if (content->is_string()) {
    return Content{.text = std::string(content->get_string()), .parts_json = {}};
  }
  if (!content->is_array()) {
    return fail_param(place, fmt::format("'{}' must be a string or a list of parts", place));
  }
  return parse_parts(content->get_array(), place);
}

// Under either of its names; only an assistant has thought.
Result<std::string> parse_reasoning(const json::object& message, const std::string& prefix) {
  GENESIS_TRY(auto reasoning, get_string(message, "reasoning_content", prefix));
  if (!reasoning && message.contains("reasoning") && message.at("reasoning").is_string()) {
    reasoning = std::string(message.at("reasoning").get_string());
  }
  return std::move(reasoning).value_or("");
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
  GENESIS_TRY(Content content, parse_content(*object, prefix, message.role));
  message.content = std::move(content.text);
  message.parts_json = std::move(content.parts_json);
  if (message.role == "assistant") {
    GENESIS_TRY(message.reasoning, parse_reasoning(*object, prefix));
  }
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
