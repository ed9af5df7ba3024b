// Requests of all dialects into one form.
#include "ask.h"

#include "base/json.h"

#include <boost/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::mock {

namespace {

namespace json = boost::json;

// A content: a string, a list of parts, or a part with text or content of its own.
std::int64_t count_content(const json::value& content) {
  if (content.is_string()) {
    return count_words(content.get_string());
  }
  std::int64_t words = 0;
  if (content.is_array()) {
    for (const auto& part : content.get_array()) {
      words += count_content(part);
    }
  } else if (content.is_object()) {
    for (const std::string_view key : {"text", "content"}) {
      const auto* inner = content.get_object().if_contains(key);
      words += inner == nullptr ? 0 : count_content(*inner);
    }
  }
  return words;
}

Result<void> read_messages(const json::object& object, Ask& ask) {
  const auto* messages = object.if_contains("messages");
  if (messages == nullptr || !messages->is_array() || messages->get_array().empty()) {
    return fail_param("messages", "'messages' must be a non-empty array");
  }
  for (const auto& message : messages->get_array()) {
    if (!message.is_object()) {
      return fail_param("messages", "each message must be an object");
    }
    const auto& fields = message.get_object();
    GENESIS_TRY(const auto role, get_string(fields, "role", "messages."));
    ask.last_role = role.value_or(std::string());
    if (const auto* content = fields.if_contains("content")) {
      ask.prompt_tokens += count_content(*content);
    }
  }
  return {};
}

void read_tools(const json::object& object, Ask& ask) {
  const auto* tools = object.if_contains("tools");
  if (tools == nullptr || !tools->is_array() || tools->get_array().empty()) {
    return;
  }
  const auto* tool = tools->get_array().front().if_object();
  const auto* function = tool == nullptr ? nullptr : tool->if_contains("function");
  const auto* holder = function == nullptr ? tool : function->if_object();
  const auto* name = holder == nullptr ? nullptr : holder->if_contains("name");
  ask.tool = name != nullptr && name->is_string() ? std::string(name->get_string()) : "";
}

Result<void> read_openai(const json::object& object, Ask& ask) {
  GENESIS_TRY(const auto newer, get_integer(object, "max_completion_tokens"));
  ask.max_tokens = newer.value_or(ask.max_tokens);
  if (const auto* options = object.if_contains("stream_options");
      options != nullptr && options->is_object()) {
    GENESIS_TRY(const auto include, get_bool(options->get_object(), "include_usage"));
    ask.include_usage = include.value_or(false);
  }
  if (ask.wire == Wire::kChat) {
    return read_messages(object, ask);
  }
  GENESIS_TRY(const auto prompt, get_string(object, "prompt"));
  ask.prompt_tokens = count_words(prompt.value_or(std::string()));
  return {};
}

// As the real API: no max_tokens, no answer; roles take turns; blocks of text are not empty.
Result<void> read_anthropic(const json::object& object, Ask& ask) {
  ask.include_usage = true;
  if (ask.max_tokens < 1) {
    return fail_param("max_tokens", "max_tokens: Field required");
  }
  if (const auto* system = object.if_contains("system")) {
    ask.prompt_tokens += count_content(*system);
  }
  return read_messages(object, ask);
}

Result<void> read_tgi(const json::object& object, Ask& ask) {
  GENESIS_TRY(const auto inputs, get_string(object, "inputs"));
  if (!inputs) {
    return fail_param("inputs", "missing field `inputs`");
  }
  ask.prompt_tokens = count_words(*inputs);
  const auto* parameters = object.if_contains("parameters");
  if (parameters != nullptr && parameters->is_object()) {
    const auto& fields = parameters->get_object();
    GENESIS_TRY(const auto most, get_integer(fields, "max_new_tokens"));
    GENESIS_TRY(const auto details, get_bool(fields, "details"));
    GENESIS_TRY(const auto temperature, get_number(fields, "temperature"));
    ask.max_tokens = most.value_or(-1);
    ask.details = details.value_or(false);
    if (temperature && *temperature <= 0) {
      return fail_param("temperature", "`temperature` must be strictly positive");
    }
  }
  return {};
}

// A text, a list of texts, a list of token ids, or of lists of either (TEI's pairs).
void add_texts(const json::value& value, std::vector<std::string>& texts) {
  if (value.is_string()) {
    texts.emplace_back(value.get_string());
    return;
  }
  if (!value.is_array()) {
    return;
  }
  const auto& list = value.get_array();
  if (!list.empty() && list.front().is_number()) {
    texts.push_back(json::serialize(list));
    return;
  }
  for (const auto& item : list) {
    if (item.is_array()) {
      texts.push_back(json::serialize(item));
    } else {
      add_texts(item, texts);
    }
  }
}

Result<void> read_embed(const json::object& object, Ask& ask) {
  std::string query;
  const json::value* texts = object.if_contains("inputs");
  if (ask.wire == Wire::kEmbeddings) {
    texts = object.if_contains("input");
    GENESIS_TRY(const auto format, get_string(object, "encoding_format"));
    ask.base64 = format == "base64";
  } else if (ask.wire == Wire::kRerank) {
    texts = object.if_contains("texts");
    GENESIS_TRY(const auto asked, get_string(object, "query"));
    query = asked.value_or("");
  } else if (ask.wire == Wire::kSimilarity && texts != nullptr && texts->is_object()) {
    const auto& inputs = texts->get_object();
    GENESIS_TRY(const auto source, get_string(inputs, "source_sentence"));
    query = source.value_or("");
    texts = inputs.if_contains("sentences");
  }
  if (texts != nullptr) {
    add_texts(*texts, ask.texts);
  }
  if (ask.texts.empty()) {
    return fail_param("inputs", "no texts were given");
  }
  ask.prompt_tokens = count_words(query);
  for (const auto& text : ask.texts) {
    ask.prompt_tokens += std::max<std::int64_t>(count_words(text), 1);
  }
  return {};
}

constexpr std::array<std::pair<std::string_view, Wire>, 11> kPaths = {{
    {"/chat/completions", Wire::kChat},
    {"/completions", Wire::kCompletion},
    {"/messages", Wire::kMessages},
    {"/messages/count_tokens", Wire::kMessages},
    {"/generate", Wire::kGenerate},
    {"/generate_stream", Wire::kGenerate},
    {"/embeddings", Wire::kEmbeddings},
    {"/embed", Wire::kEmbed},
    {"/rerank", Wire::kRerank},
    {"/predict", Wire::kPredict},
    {"/similarity", Wire::kSimilarity},
}};

}  // namespace

std::int64_t count_words(std::string_view text) {
  std::int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    words += !blank && !inside ? 1 : 0;
    inside = !blank;
  }
  return words;
}

std::string_view wire_name(Wire wire) {
  switch (wire) {
    case Wire::kChat:
    case Wire::kCompletion:
      return "openai";
    case Wire::kMessages:
      return "anthropic";
    case Wire::kGenerate:
      return "tgi";
    case Wire::kEmbeddings:
      return "embeddings";
    default:
      return "tei";
  }
}

bool find_wire(std::string_view path, Ask& ask) {
  const auto hit =
      std::ranges::find_if(kPaths, [&](const auto& each) { return path.ends_with(each.first); });
  if (hit == kPaths.end()) {
    return false;
  }
  ask.wire = hit->second;
  return true;
}

Result<void> read_ask(std::string_view path, std::string_view body, Ask& ask) {
  GENESIS_TRY(const auto document, parse_json(body));
  if (!document.is_object()) {
    return fail_param("", "the body must be an object");
  }
  const auto& object = document.get_object();
  GENESIS_TRY(const auto model, get_string(object, "model"));
  ask.model = model.value_or(std::string());
  GENESIS_TRY(const auto stream, get_bool(object, "stream"));
  ask.stream =
      ask.wire == Wire::kGenerate ? path.ends_with("/generate_stream") : stream.value_or(false);
  GENESIS_TRY(const auto max_tokens, get_integer(object, "max_tokens"));
  // Counting needs no limit.
  ask.max_tokens = max_tokens.value_or(path.ends_with("/count_tokens") ? 1 : -1);
  read_tools(object, ask);
  if (ask.wire == Wire::kMessages) {
    GENESIS_TRY_VOID(read_anthropic(object, ask));
  } else if (ask.wire == Wire::kGenerate) {
    GENESIS_TRY_VOID(read_tgi(object, ask));
  } else if (is_embed(ask.wire)) {
    GENESIS_TRY_VOID(read_embed(object, ask));
  } else {
    GENESIS_TRY_VOID(read_openai(object, ask));
  }
  ask.prompt_tokens = std::max<std::int64_t>(ask.prompt_tokens, 1);
  return {};
}

}  // namespace genesis::mock
