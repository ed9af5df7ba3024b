#include "server/anthropic_messages.h"

#include "base/json.h"
#include "server/fields.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::server {

namespace json = boost::json;

namespace {

std::unexpected<Error> required(const std::string& place) {
  return fail_param(place, fmt::format("'{}' is required", place));
}

// A string member that must be there, moved out.
Result<std::string> need_string(json::object& object,
                                std::string_view key,
                                const std::string& place) {
  GENESIS_TRY(auto text, get_string(object, key, place + "."));
  if (!text) {
    return required(fmt::format("{}.{}", place, key));
  }
  return std::move(*text);
}

json::object text_part(std::string text) {
  return {{"type", "text"}, {"text", std::move(text)}};
}

json::object image_part(std::string url) {
  return {{"type", "image_url"}, {"image_url", json::object{{"url", std::move(url)}}}};
}

// A block that must be an object with a type; the type.
Result<std::string> block_type(json::value& block, const std::string& place) {
  if (!block.is_object()) {
    return fail_param(place, fmt::format("'{}' must be an object with a 'type'", place));
  }
  return need_string(block.get_object(), "type", place);
}

Result<json::object*> need_source(json::object& block, const std::string& place) {
  json::value* source = block.if_contains("source");
  if (source == nullptr || !source->is_object()) {
    return fail_param(place + ".source", fmt::format("'{}.source' must be an object", place));
  }
  return &source->get_object();
}

// What one turn of the user, or one tool's result, holds.
struct Parts {
  json::array list;
  bool only_text = true;

  void add(json::object part) {
    only_text = only_text && part.at("type") == "text";
    list.emplace_back(std::move(part));
  }
};

// The texts of `parts`, joined by newline; the rest stays.
std::string take_texts(Parts& parts) {
  std::string joined;
  json::array rest;
  bool first = true;
  for (json::value& part : parts.list) {
    json::object& object = part.get_object();
    if (object.at("type") != "text") {
      rest.push_back(std::move(part));
      continue;
    }
    joined += first ? "" : "\n";
    joined += std::string_view(object.at("text").get_string());
    first = false;
  }
  parts.list = std::move(rest);
  return joined;
}

class Translator {
 public:
  Result<void> add_system(json::value& system);
  Result<void> add_message(json::value& message, const std::string& place);

  TranslatedMessages take() { return std::move(result_); }

 private:
  Result<void> add_user(json::value& content, const std::string& place);
  Result<void> add_assistant(json::value& content, const std::string& place);
  Result<void> add_assistant_block(json::value& block, const std::string& place);
  Result<void> add_part(json::value& block, const std::string& place, Parts& parts);
  Result<void> add_image(json::object& block, const std::string& place, Parts& parts);
  Result<void> add_document(json::object& block, const std::string& place, Parts& parts);
  Result<void> add_search_result(json::object& block, const std::string& place, Parts& parts);
  Result<void> add_tool_result(json::object& block, const std::string& place, Parts& turn);
  Result<void> add_tool_use(json::object& block, const std::string& place);

  void note_native(const std::string& place) {
    if (result_.native_only.empty()) {
      result_.native_only = place;
    }
  }

  void push(json::object message) { result_.messages.emplace_back(std::move(message)); }

  // Of the assistant's turn at hand.
  struct Turn {
    std::string text;
    std::string reasoning;
    json::array tool_calls;
  };

  TranslatedMessages result_;
  Turn turn_;
};

Result<void> Translator::add_system(json::value& system) {
  if (system.is_string()) {
    push({{"role", "system"}, {"content", std::move(system)}});
    return {};
  }
  if (!system.is_array()) {
    return fail_param("system", "'system' must be a string or a list of text blocks");
  }
  Parts parts;
  for (std::size_t i = 0; i < system.get_array().size(); ++i) {
    const std::string place = fmt::format("system[{}]", i);
    json::value& block = system.get_array()[i];
    GENESIS_TRY(const std::string type, block_type(block, place));
    if (type != "text") {
      return fail_param(place + ".type", fmt::format("'{}.type' must be 'text'", place));
    }
    GENESIS_TRY_VOID(add_part(block, place, parts));
  }
  if (!parts.list.empty()) {
    push({{"role", "system"}, {"content", take_texts(parts)}});
  }
  return {};
}

Result<void> Translator::add_message(json::value& message, const std::string& place) {
  if (!message.is_object()) {
    return fail_param(place, fmt::format("'{}' must be an object", place));
  }
  json::object& object = message.get_object();
  GENESIS_TRY(const std::string role, need_string(object, "role", place));
  if (role != "user" && role != "assistant") {
    return fail_param(place + ".role",
                      fmt::format("'{}.role' must be user or assistant; a system prompt goes into "
                                  "'system'",
                                  place));
  }
  const std::string field = place + ".content";
  json::value* content = object.if_contains("content");
  if (content == nullptr || content->is_null()) {
    return required(field);
  }
  if (content->is_string()) {
    push({{"role", role}, {"content", std::move(*content)}});
    return {};
  }
  if (!content->is_array()) {
    return fail_param(field, fmt::format("'{}' must be a string or a list of blocks", field));
  }
  return role == "user" ? add_user(*content, field) : add_assistant(*content, field);
}

Result<void> Translator::add_user(json::value& content, const std::string& place) {
  Parts turn;
  bool has_result = false;
  for (std::size_t i = 0; i < content.get_array().size(); ++i) {
    const std::string at = fmt::format("{}[{}]", place, i);
    json::value& block = content.get_array()[i];
    GENESIS_TRY(const std::string type, block_type(block, at));
    if (type == "tool_result") {
      has_result = true;
      GENESIS_TRY_VOID(add_tool_result(block.get_object(), at, turn));
    } else {
      GENESIS_TRY_VOID(add_part(block, at, turn));
    }
  }
  if (turn.list.empty() && has_result) {
    return {};
  }
  if (turn.list.empty() && result_.native_only.empty()) {
    return fail_param(place, fmt::format("'{}' must not be empty", place));
  }
  if (turn.only_text) {
    push({{"role", "user"}, {"content", take_texts(turn)}});
  } else {
    push({{"role", "user"}, {"content", std::move(turn.list)}});
  }
  return {};
}

Result<void> Translator::add_part(json::value& block, const std::string& place, Parts& parts) {
  GENESIS_TRY(const std::string type, block_type(block, place));
  json::object& object = block.get_object();
  if (type == "text") {
    GENESIS_TRY(auto text, need_string(object, "text", place));
    parts.add(text_part(std::move(text)));
    return {};
  }
  if (type == "image") {
    return add_image(object, place, parts);
  }
  if (type == "document") {
    return add_document(object, place, parts);
  }
  if (type == "search_result") {
    return add_search_result(object, place, parts);
  }
  note_native(place + ".type");
  return {};
}

Result<void> Translator::add_image(json::object& block, const std::string& place, Parts& parts) {
  GENESIS_TRY(json::object* const source, need_source(block, place));
  const std::string field = place + ".source";
  GENESIS_TRY(const std::string type, need_string(*source, "type", field));
  if (type == "url") {
    GENESIS_TRY(auto url, need_string(*source, "url", field));
    if (!url.starts_with("https://") && !url.starts_with("http://")) {
      return fail_param(field + ".url", fmt::format("'{}.url' must be an http(s) URL", field));
    }
    parts.add(image_part(std::move(url)));
    return {};
  }
  if (type == "base64") {
    GENESIS_TRY(const std::string media, need_string(*source, "media_type", field));
    GENESIS_TRY(const std::string data, need_string(*source, "data", field));
    if (!media.starts_with("image/")) {
      return fail_param(field + ".media_type",
                        fmt::format("'{}.media_type' must be an image type", field));
    }
    parts.add(image_part(fmt::format("data:{};base64,{}", media, data)));
    return {};
  }
  note_native(field + ".type");
  return {};
}

Result<void> Translator::add_document(json::object& block, const std::string& place, Parts& parts) {
  GENESIS_TRY(json::object* const source, need_source(block, place));
  const std::string field = place + ".source";
  GENESIS_TRY(const std::string type, need_string(*source, "type", field));
  GENESIS_TRY(const auto title, get_string(block, "title", place + "."));
  const std::string heading = title ? *title + "\n" : std::string();
  if (type == "text") {
    GENESIS_TRY(const std::string data, need_string(*source, "data", field));
    parts.add(text_part(heading + data));
    return {};
  }
  if (type == "base64") {
    GENESIS_TRY(const std::string media, need_string(*source, "media_type", field));
    GENESIS_TRY(const std::string data, need_string(*source, "data", field));
    const json::object file{{"filename", title.value_or("document.pdf")},
                            {"file_data", fmt::format("data:{};base64,{}", media, data)}};
    parts.add({{"type", "file"}, {"file", file}});
    return {};
  }
  note_native(field + ".type");
  return {};
}

Result<void> Translator::add_search_result(json::object& block,
                                           const std::string& place,
                                           Parts& parts) {
  GENESIS_TRY(std::string text, need_string(block, "title", place));
  GENESIS_TRY(const std::string source, need_string(block, "source", place));
  text += "\n" + source;
  json::value* content = block.if_contains("content");
  if (content == nullptr || !content->is_array()) {
    return fail_param(place + ".content", fmt::format("'{}.content' must be a list", place));
  }
  Parts inner;
  for (std::size_t i = 0; i < content->get_array().size(); ++i) {
    GENESIS_TRY_VOID(
        add_part(content->get_array()[i], fmt::format("{}.content[{}]", place, i), inner));
  }
  parts.add(text_part(text + "\n" + take_texts(inner)));
  return {};
}

Result<void> Translator::add_tool_result(json::object& block,
                                         const std::string& place,
                                         Parts& turn) {
  GENESIS_TRY(auto id, need_string(block, "tool_use_id", place));
  GENESIS_TRY(const auto failed, get_bool(block, "is_error", place + "."));
  Parts parts;
  json::value* content = block.if_contains("content");
  const std::string field = place + ".content";
  if (content != nullptr && content->is_string()) {
    parts.add(text_part(std::string(content->get_string())));
  } else if (content != nullptr && content->is_array()) {
    for (std::size_t i = 0; i < content->get_array().size(); ++i) {
      GENESIS_TRY_VOID(add_part(content->get_array()[i], fmt::format("{}[{}]", field, i), parts));
    }
  } else if (content != nullptr && !content->is_null()) {
    return fail_param(field, fmt::format("'{}' must be a string or a list of blocks", field));
  }
  std::string text = take_texts(parts);
  if (failed.value_or(false)) {
    // OpenAI's tool message has no flag for it; the model must still see that the tool failed.
    text = text.empty() ? "Error" : "Error: " + text;
  }
  push({{"role", "tool"}, {"tool_call_id", std::move(id)}, {"content", std::move(text)}});
  for (json::value& part : parts.list) {
    turn.add(std::move(part.get_object()));
  }
  return {};
}

Result<void> Translator::add_assistant(json::value& content, const std::string& place) {
  turn_ = {};
  for (std::size_t i = 0; i < content.get_array().size(); ++i) {
    GENESIS_TRY_VOID(add_assistant_block(content.get_array()[i], fmt::format("{}[{}]", place, i)));
  }
  json::object message{{"role", "assistant"}};
  if (turn_.text.empty() && !turn_.tool_calls.empty()) {
    message["content"] = nullptr;
  } else {
    message["content"] = std::move(turn_.text);
  }
  if (!turn_.reasoning.empty()) {
    message["reasoning_content"] = std::move(turn_.reasoning);
  }
  if (!turn_.tool_calls.empty()) {
    message["tool_calls"] = std::move(turn_.tool_calls);
  }
  push(std::move(message));
  return {};
}

Result<void> Translator::add_assistant_block(json::value& block, const std::string& place) {
  GENESIS_TRY(const std::string type, block_type(block, place));
  json::object& object = block.get_object();
  if (type == "text") {
    GENESIS_TRY(const std::string text, need_string(object, "text", place));
    turn_.text += text;  // one answer, however many blocks citations cut it into
    return {};
  }
  if (type == "tool_use") {
    return add_tool_use(object, place);
  }
  if (type == "thinking") {
    GENESIS_TRY(const std::string thought, need_string(object, "thinking", place));
    turn_.reasoning += thought;
    return {};
  }
  if (type == "redacted_thinking") {
    return {};
  }
  note_native(place + ".type");
  return {};
}

Result<void> Translator::add_tool_use(json::object& block, const std::string& place) {
  GENESIS_TRY(auto id, need_string(block, "id", place));
  GENESIS_TRY(auto name, need_string(block, "name", place));
  const json::value* input = block.if_contains("input");
  if (input == nullptr || !input->is_object()) {
    return fail_param(place + ".input", fmt::format("'{}.input' must be an object", place));
  }
  json::object function{{"name", std::move(name)}, {"arguments", json::serialize(*input)}};
  turn_.tool_calls.emplace_back(
      json::object{{"id", std::move(id)}, {"type", "function"}, {"function", std::move(function)}});
  return {};
}

}  // namespace

Result<TranslatedMessages> translate_anthropic_messages(json::object& body) {
  Translator translator;
  if (is_given(body, "system")) {
    GENESIS_TRY_VOID(translator.add_system(body.at("system")));
  }
  if (!is_given(body, "messages")) {
    return required("messages");
  }
  json::array* messages = body.at("messages").if_array();
  if (messages == nullptr || messages->empty()) {
    return fail_param("messages", "'messages' must be a list with at least one message");
  }
  for (std::size_t i = 0; i < messages->size(); ++i) {
    GENESIS_TRY_VOID(translator.add_message((*messages)[i], fmt::format("messages[{}]", i)));
  }
  return translator.take();
}

}  // namespace genesis::server
