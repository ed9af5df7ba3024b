#include "server/response_items.h"

#include "base/json.h"
#include "server/fields.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::server {

namespace json = boost::json;

namespace {

Result<std::string> required(const json::object& item,
                             std::string_view key,
                             const std::string& prefix) {
  GENESIS_TRY(auto text, get_string(item, key, prefix));
  if (!text) {
    return fail_param(prefix + std::string(key), fmt::format("'{}{}' is required", prefix, key));
  }
  return *std::move(text);
}

// A content part in chat's shape.
Result<json::object> translate_part(const json::value& value, const std::string& place) {
  const json::object* part = value.if_object();
  if (part == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object with a 'type'", place));
  }
  const std::string prefix = place + ".";
  GENESIS_TRY(const std::string type, required(*part, "type", prefix));
  if (type == "input_text" || type == "output_text" || type == "text") {
    GENESIS_TRY(auto text, required(*part, "text", prefix));
    return json::object{{"type", "text"}, {"text", std::move(text)}};
  }
  if (type == "refusal") {
    GENESIS_TRY(auto text, required(*part, "refusal", prefix));
    return json::object{{"type", "text"}, {"text", std::move(text)}};
  }
  if (type == "input_image" && is_given(*part, "image_url")) {
    GENESIS_TRY(auto url, required(*part, "image_url", prefix));
    json::object image{{"url", std::move(url)}};
    GENESIS_TRY(auto detail, get_string(*part, "detail", prefix));
    if (detail) {
      image["detail"] = *std::move(detail);
    }
    return json::object{{"type", "image_url"}, {"image_url", std::move(image)}};
  }
  return fail_param(prefix + "type",
                    fmt::format("'{}type' is '{}', which cannot be passed on", prefix, type),
                    ErrorCode::kUnsupported);
}

// A string, or a list of parts; a lone text becomes a string.
Result<json::value> translate_content(const json::object& item,
                                      std::string_view key,
                                      const std::string& prefix) {
  const std::string place = prefix + std::string(key);
  const json::value* content = item.if_contains(key);
  if (content == nullptr || content->is_null()) {
    return fail_param(place, fmt::format("'{}' is required", place));
  }
  if (content->is_string()) {
    return json::value(content->get_string());
  }
  const json::array* parts = content->if_array();
  if (parts == nullptr) {
    return fail_param(place, fmt::format("'{}' must be a text or a list of parts", place));
  }
  json::array translated;
  for (std::size_t i = 0; i < parts->size(); ++i) {
    GENESIS_TRY(auto part, translate_part((*parts)[i], fmt::format("{}[{}]", place, i)));
    translated.push_back(std::move(part));
  }
  if (translated.size() == 1 && translated.front().at("type") == "text") {
    return json::value(translated.front().at("text"));
  }
  return json::value(std::move(translated));
}

// Builds the list of messages item by item.
class Conversation {
 public:
  Result<void> add(const json::value& value, std::size_t index);

  json::array take() {
    drop_reasoning();
    return std::move(messages_);
  }

 private:
  Result<void> add_message(const json::object& item, const std::string& prefix);
  Result<void> add_reasoning(const json::object& item, const std::string& prefix);
  Result<void> add_call(const json::object& item, const std::string& prefix);
  Result<void> add_output(const json::object& item, const std::string& prefix);

  // The assistant's turn that is open for calls, or a new one.
  json::object& assistant_turn();

  void attach_reasoning(json::object& message) {
    if (!reasoning_.empty()) {
      message["reasoning_content"] = std::exchange(reasoning_, {});
    }
  }

  // Thoughts without a turn behind them say nothing to a model.
  void drop_reasoning() { reasoning_.clear(); }

  json::array messages_;
  std::string reasoning_;
  bool calls_open_ = false;
};

json::object& Conversation::assistant_turn() {
  if (!std::exchange(calls_open_, true)) {
    const bool follows =
        !messages_.empty() && messages_.back().at("role") == "assistant" && reasoning_.empty();
    if (!follows) {
      json::object turn{{"role", "assistant"}, {"content", nullptr}};
      attach_reasoning(turn);
      messages_.push_back(std::move(turn));
    }
    messages_.back().as_object()["tool_calls"] = json::array();
  }
  return messages_.back().as_object();
}

Result<void> Conversation::add_message(const json::object& item, const std::string& prefix) {
  GENESIS_TRY(auto role, required(item, "role", prefix));
  if (role != "user" && role != "assistant" && role != "system" && role != "developer") {
    return fail_param(prefix + "role",
                      fmt::format("'{}role' must be user, assistant, system or developer", prefix));
  }
  calls_open_ = false;
  json::object message;
  GENESIS_TRY(auto content, translate_content(item, "content", prefix));
  if (role == "assistant") {
    attach_reasoning(message);
  }
  drop_reasoning();
  message["role"] = std::move(role);
  message["content"] = std::move(content);
  messages_.push_back(std::move(message));
  return {};
}

Result<void> Conversation::add_reasoning(const json::object& item, const std::string& prefix) {
  calls_open_ = false;
  for (const std::string_view key : {"content", "summary"}) {
    const json::value* parts = item.if_contains(key);
    if (parts == nullptr || parts->is_null() || !reasoning_.empty()) {
      continue;
    }
    const std::string place = prefix + std::string(key);
    if (!parts->is_array()) {
      return fail_param(place, fmt::format("'{}' must be a list", place));
    }
    for (std::size_t i = 0; i < parts->get_array().size(); ++i) {
      const json::object* part = parts->get_array()[i].if_object();
      const std::string part_place = fmt::format("{}[{}]", place, i);
      if (part == nullptr) {
        return fail_param(part_place, fmt::format("'{}' must be an object", part_place));
      }
      GENESIS_TRY(const std::string text, required(*part, "text", part_place + "."));
      reasoning_ += reasoning_.empty() ? "" : "\n";
      reasoning_ += text;
    }
  }
  return {};
}

Result<void> Conversation::add_call(const json::object& item, const std::string& prefix) {
  GENESIS_TRY(auto id, required(item, "call_id", prefix));
  GENESIS_TRY(auto name, required(item, "name", prefix));
  GENESIS_TRY(auto arguments, required(item, "arguments", prefix));
  json::object function{{"name", std::move(name)}, {"arguments", std::move(arguments)}};
  assistant_turn()["tool_calls"].as_array().push_back(
      json::object{{"id", std::move(id)}, {"type", "function"}, {"function", std::move(function)}});
  return {};
}

Result<void> Conversation::add_output(const json::object& item, const std::string& prefix) {
  GENESIS_TRY(auto id, required(item, "call_id", prefix));
  GENESIS_TRY(auto output, translate_content(item, "output", prefix));
  calls_open_ = false;
  drop_reasoning();
  messages_.push_back(json::object{
      {"role", "tool"}, {"tool_call_id", std::move(id)}, {"content", std::move(output)}});
  return {};
}

Result<void> Conversation::add(const json::value& value, std::size_t index) {
  const std::string place = fmt::format("input[{}]", index);
  const json::object* item = value.if_object();
  if (item == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object", place));
  }
  const std::string prefix = place + ".";
  GENESIS_TRY(const auto type, get_string(*item, "type", prefix));
  if (!type || *type == "message") {
    return add_message(*item, prefix);
  }
  if (*type == "reasoning") {
    return add_reasoning(*item, prefix);
  }
  if (*type == "function_call") {
    return add_call(*item, prefix);
  }
  if (*type == "function_call_output") {
    return add_output(*item, prefix);
  }
  return fail_param(
      prefix + "type",
      fmt::format("'{}type' is '{}', which only OpenAI's own service knows", prefix, *type),
      ErrorCode::kUnsupported);
}

}  // namespace

Result<json::array> translate_response_input(const json::value& input) {
  if (input.is_string()) {
    return json::array{json::object{{"role", "user"}, {"content", input.get_string()}}};
  }
  const json::array* items = input.if_array();
  if (items == nullptr || items->empty()) {
    return fail_param("input", "'input' must be a text or a list of items");
  }
  Conversation conversation;
  for (std::size_t i = 0; i < items->size(); ++i) {
    GENESIS_TRY_VOID(conversation.add((*items)[i], i));
  }
  return conversation.take();
}

}  // namespace genesis::server
