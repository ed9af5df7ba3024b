#include "provider/anthropic_messages.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

namespace genesis::provider {

namespace {

namespace json = boost::json;

std::unexpected<Error> wrong(std::string param, std::string_view must) {
  return fail_param(param, fmt::format("'{}' {}", param, must));
}

std::unexpected<Error> no_counterpart(std::string param, std::string_view what) {
  return fail_param(std::move(param),
                    fmt::format("{} cannot be sent to an Anthropic endpoint", what),
                    ErrorCode::kUnsupported);
}

const json::value* given(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

// One turn in the making: its blocks as JSON texts.
struct Turn {
  std::string role;
  std::vector<std::string> blocks;
};

// Fields of a content part that OpenAI does not know but clients of Anthropic models send along.
void copy_cache_control(JsonWriter& out, const json::object& part) {
  if (const json::value* cache = given(part, "cache_control")) {
    out.field_raw("cache_control", json::serialize(*cache));
  }
}

// The API refuses empty text blocks.
void add_text(std::vector<std::string>& blocks, std::string_view text, const json::object* part) {
  if (text.empty()) {
    return;
  }
  JsonWriter out;
  out.begin_object();
  out.field("type", "text");
  out.field("text", text);
  if (part != nullptr) {
    copy_cache_control(out, *part);
  }
  out.end_object();
  blocks.push_back(out.take());
}

struct DataUrl {
  std::string_view media_type;
  std::string_view base64;
};

// "data:image/png;base64,...".
std::optional<DataUrl> read_data_url(std::string_view url) {
  constexpr std::string_view kMark = ";base64,";
  const auto mark = url.find(kMark);
  if (!url.starts_with("data:") || mark == std::string_view::npos) {
    return std::nullopt;
  }
  return DataUrl{url.substr(5, mark - 5), url.substr(mark + kMark.size())};
}

// `kind` is "image" or "document".
Result<std::string> source_block(std::string_view kind,
                                 std::string_view url,
                                 const json::object& part,
                                 const std::string& where) {
  JsonWriter out;
  out.begin_object();
  out.field("type", kind);
  out.key("source");
  out.begin_object();
  if (const auto data = read_data_url(url)) {
    out.field("type", "base64");
    out.field("media_type", data->media_type);
    out.field("data", data->base64);
  } else if (url.starts_with("https://") || url.starts_with("http://")) {
    out.field("type", "url");
    out.field("url", url);
  } else {
    return wrong(where, "must be an http(s) or a base64 data URL");
  }
  out.end_object();
  copy_cache_control(out, part);
  out.end_object();
  return out.take();
}

Result<void> add_part(std::vector<std::string>& blocks,
                      const json::object& part,
                      const std::string& where) {
  GENESIS_TRY(const auto type, get_string(part, "type", where + "."));
  if (type == "text" || type == "refusal") {
    GENESIS_TRY(const auto text, get_string(part, *type, where + "."));
    add_text(blocks, text.value_or(""), &part);
    return {};
  }
  const bool is_image = type == "image_url";
  if (!is_image && type != "file") {
    return no_counterpart(where, fmt::format("a content part of type '{}'", type.value_or("")));
  }
  const json::value* holder = given(part, is_image ? "image_url" : "file");
  if (holder == nullptr || !holder->is_object()) {
    return wrong(where + "." + *type, "must be an object");
  }
  const std::string_view key = is_image ? "url" : "file_data";
  GENESIS_TRY(const auto url, get_string(holder->get_object(), key, where + "."));
  if (!url) {
    return no_counterpart(where, "a file that is only named by its id");
  }
  GENESIS_TRY(auto block, source_block(is_image ? "image" : "document", *url, part, where));
  blocks.push_back(std::move(block));
  return {};
}

Result<void> add_content(std::vector<std::string>& blocks,
                         const json::object& message,
                         const std::string& where) {
  const json::value* content = given(message, "content");
  if (content == nullptr) {
    return {};
  }
  if (content->is_string()) {
    add_text(blocks, content->get_string(), nullptr);
    return {};
  }
  if (!content->is_array()) {
    return wrong(where + ".content", "must be a string or a list of parts");
  }
  std::size_t at = 0;
  for (const json::value& part : content->get_array()) {
    const std::string here = fmt::format("{}.content[{}]", where, at++);
    if (!part.is_object()) {
      return wrong(here, "must be an object");
    }
    GENESIS_TRY_VOID(add_part(blocks, part.get_object(), here));
  }
  return {};
}

// The API allows letters, digits, '_' and '-'. Both ends of a call go through here, so they still
// match.
std::string tool_id(std::string id) {
  for (char& c : id) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '_' || c == '-';
    c = allowed ? c : '_';
  }
  return id;
}

Result<std::string> tool_use_block(const json::object& call, const std::string& where) {
  const json::value* function = given(call, "function");
  if (function == nullptr || !function->is_object()) {
    return no_counterpart(where, "a tool call that is not a function's");
  }
  const std::string prefix = where + ".function.";
  GENESIS_TRY(auto id, get_string(call, "id", where + "."));
  GENESIS_TRY(const auto name, get_string(function->get_object(), "name", prefix));
  GENESIS_TRY(auto arguments, get_string(function->get_object(), "arguments", prefix));
  if (!id || !name) {
    return wrong(where, "needs an 'id' and a function with a 'name'");
  }
  const std::string input = arguments.value_or("").empty() ? "{}" : *arguments;
  if (const auto parsed = parse_json(input); !parsed || !parsed->is_object()) {
    return wrong(prefix + "arguments", "must be the text of a JSON object");
  }
  JsonWriter out;
  out.begin_object();
  out.field("type", "tool_use");
  out.field("id", tool_id(std::move(*id)));
  out.field("name", *name);
  out.field_raw("input", input);
  out.end_object();
  return out.take();
}

Result<void> add_assistant(Turn& turn, const json::object& message, const std::string& where) {
  GENESIS_TRY_VOID(add_content(turn.blocks, message, where));
  GENESIS_TRY(const auto refusal, get_string(message, "refusal", where + "."));
  add_text(turn.blocks, refusal.value_or(""), nullptr);
  if (given(message, "function_call") != nullptr) {
    return no_counterpart(where + ".function_call", "the deprecated 'function_call'");
  }
  const json::value* calls = given(message, "tool_calls");
  if (calls == nullptr) {
    return {};
  }
  if (!calls->is_array()) {
    return wrong(where + ".tool_calls", "must be a list");
  }
  std::size_t at = 0;
  for (const json::value& call : calls->get_array()) {
    const std::string here = fmt::format("{}.tool_calls[{}]", where, at++);
    if (!call.is_object()) {
      return wrong(here, "must be an object");
    }
    GENESIS_TRY(auto block, tool_use_block(call.get_object(), here));
    turn.blocks.push_back(std::move(block));
  }
  return {};
}

Result<void> add_tool_result(Turn& turn, const json::object& message, const std::string& where) {
  GENESIS_TRY(auto id, get_string(message, "tool_call_id", where + "."));
  if (!id) {
    return wrong(where + ".tool_call_id", "is missing");
  }
  std::vector<std::string> content;
  GENESIS_TRY_VOID(add_content(content, message, where));
  JsonWriter out;
  out.begin_object();
  out.field("type", "tool_result");
  out.field("tool_use_id", tool_id(std::move(*id)));
  if (!content.empty()) {
    out.key("content");
    out.begin_array();
    for (const std::string& block : content) {
      out.raw(block);
    }
    out.end_array();
  }
  out.end_object();
  turn.blocks.push_back(out.take());
  return {};
}

void write_blocks(JsonWriter& out, const std::vector<std::string>& blocks) {
  out.begin_array();
  for (const std::string& block : blocks) {
    out.raw(block);
  }
  out.end_array();
}

struct Conversation {
  std::vector<std::string> system;
  std::vector<Turn> turns;

  Turn& turn(std::string_view role) {
    if (turns.empty() || turns.back().role != role) {
      turns.push_back({.role = std::string(role), .blocks = {}});
    }
    return turns.back();
  }

  Result<void> add(const json::object& message, const std::string& where) {
    GENESIS_TRY(const auto role, get_string(message, "role", where + "."));
    if (role == "system" || role == "developer") {
      return add_content(system, message, where);
    }
    if (role == "user") {
      return add_content(turn("user").blocks, message, where);
    }
    if (role == "assistant") {
      return add_assistant(turn("assistant"), message, where);
    }
    if (role == "tool") {
      return add_tool_result(turn("user"), message, where);
    }
    return no_counterpart(where + ".role", fmt::format("the role '{}'", role.value_or("")));
  }
};

}  // namespace

Result<void> write_anthropic_messages(JsonWriter& out, const json::array& messages) {
  Conversation conversation;
  std::size_t at = 0;
  for (const json::value& message : messages) {
    const std::string where = fmt::format("messages[{}]", at++);
    if (!message.is_object()) {
      return wrong(where, "must be an object");
    }
    GENESIS_TRY_VOID(conversation.add(message.get_object(), where));
  }
  if (!conversation.system.empty()) {
    out.key("system");
    write_blocks(out, conversation.system);
  }
  out.key("messages");
  out.begin_array();
  for (const Turn& turn : conversation.turns) {
    if (turn.blocks.empty()) {
      continue;
    }
    out.begin_object();
    out.field("role", turn.role);
    out.key("content");
    write_blocks(out, turn.blocks);
    out.end_object();
  }
  out.end_array();
  return {};
}

}  // namespace genesis::provider
