// OpenAI chat completion and legacy completion payloads (platform.openai.com/docs/api-reference).
#include "answer.h"

#include "base/json.h"

#include <boost/json.hpp>

#include <array>

namespace genesis::mock {

namespace {

constexpr std::int64_t kCreated = 1'700'000'000;

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

std::int64_t count_content(const boost::json::value& content) {
  if (content.is_string()) {
    return count_words(content.as_string());
  }
  std::int64_t words = 0;
  if (content.is_array()) {
    for (const auto& part : content.as_array()) {
      const auto* text = part.is_object() ? part.as_object().if_contains("text") : nullptr;
      words += text != nullptr && text->is_string() ? count_words(text->as_string()) : 0;
    }
  }
  return words;
}

Result<void> read_messages(const boost::json::object& object, Ask& ask) {
  const auto* messages = object.if_contains("messages");
  if (messages == nullptr || !messages->is_array() || messages->as_array().empty()) {
    return fail_param("messages", "'messages' must be a non-empty array");
  }
  for (const auto& message : messages->as_array()) {
    if (!message.is_object()) {
      return fail_param("messages", "each message must be an object");
    }
    const auto& fields = message.as_object();
    GENESIS_TRY(const auto role, get_string(fields, "role", "messages."));
    ask.last_role = role.value_or(std::string());
    if (const auto* content = fields.if_contains("content")) {
      ask.prompt_tokens += count_content(*content);
    }
  }
  return {};
}

void begin(JsonWriter& w, const Ask& ask, bool chunk) {
  w.begin_object();
  w.field("id", ask.chat ? "chatcmpl-mock" : "cmpl-mock");
  w.field("object",
          ask.chat ? (chunk ? "chat.completion.chunk" : "chat.completion") : "text_completion");
  w.field("created", kCreated);
  w.field("model", ask.model);
  w.key("choices");
  w.begin_array();
}

void write_usage(JsonWriter& w, AnswerUsage usage) {
  w.key("usage");
  w.begin_object();
  w.field("prompt_tokens", usage.prompt);
  w.field("completion_tokens", usage.completion);
  w.field("total_tokens", usage.prompt + usage.completion);
  w.end_object();
}

void begin_choice(JsonWriter& w) {
  w.begin_object();
  w.field("index", std::int64_t{0});
}

void write_reason(JsonWriter& w, std::string_view finish) {
  if (finish.empty()) {
    w.field_null("finish_reason");
  } else {
    w.field("finish_reason", finish);
  }
}

std::string chunk(const Ask& ask,
                  std::string_view text,
                  std::string_view role,
                  std::string_view finish) {
  JsonWriter w;
  begin(w, ask, true);
  begin_choice(w);
  if (ask.chat) {
    w.key("delta");
    w.begin_object();
    if (!role.empty()) {
      w.field("role", role);
    }
    if (finish.empty()) {
      w.field("content", text);
    }
    w.end_object();
  } else {
    w.field("text", text);
  }
  write_reason(w, finish);
  w.end_object();
  w.end_array();
  w.end_object();
  return w.take();
}

}  // namespace

Result<Ask> read_ask(std::string_view path, std::string_view body) {
  GENESIS_TRY(const auto document, parse_json(body));
  if (!document.is_object()) {
    return fail_param("", "the body must be an object");
  }
  const auto& object = document.as_object();
  Ask ask;
  ask.chat = path.ends_with("/chat/completions");
  GENESIS_TRY(const auto model, get_string(object, "model"));
  ask.model = model.value_or(std::string());
  GENESIS_TRY(const auto stream, get_bool(object, "stream"));
  ask.stream = stream.value_or(false);
  GENESIS_TRY(const auto max_tokens, get_integer(object, "max_tokens"));
  GENESIS_TRY(const auto max_completion, get_integer(object, "max_completion_tokens"));
  ask.max_tokens = max_completion.value_or(max_tokens.value_or(-1));
  if (const auto* options = object.if_contains("stream_options");
      options != nullptr && options->is_object()) {
    GENESIS_TRY(const auto include, get_bool(options->as_object(), "include_usage"));
    ask.include_usage = include.value_or(false);
  }
  if (ask.chat) {
    GENESIS_TRY_VOID(read_messages(object, ask));
  } else {
    GENESIS_TRY(const auto prompt, get_string(object, "prompt"));
    ask.prompt_tokens = count_words(prompt.value_or(std::string()));
  }
  ask.prompt_tokens = std::max<std::int64_t>(ask.prompt_tokens, 1);
  return ask;
}

std::vector<std::string> answer_tokens(std::int64_t words) {
  constexpr std::array kWords = {"The",
                                 "na\xC3\xAFve",
                                 "fleet",
                                 "answered",
                                 "every",
                                 "call",
                                 "\xE6\x97\xA5\xE6\x9C\xAC",
                                 "before",
                                 "noon",
                                 "\xF0\x9F\x9A\x80"};
  std::vector<std::string> tokens;
  for (std::int64_t i = 0; i < words; ++i) {
    const std::string word = kWords[static_cast<std::size_t>(i) % kWords.size()];
    tokens.push_back((i == 0 ? "" : " ") + word + std::to_string(i));
  }
  return tokens;
}

std::string whole_answer(const Ask& ask,
                         std::string_view text,
                         std::string_view finish,
                         const AnswerUsage* usage) {
  JsonWriter w;
  begin(w, ask, false);
  begin_choice(w);
  if (ask.chat) {
    w.key("message");
    w.begin_object();
    w.field("role", "assistant");
    w.field("content", text);
    w.end_object();
  } else {
    w.field("text", text);
  }
  write_reason(w, finish);
  w.end_object();
  w.end_array();
  if (usage != nullptr) {
    write_usage(w, *usage);
  }
  w.end_object();
  return w.take();
}

std::string delta_event(const Ask& ask, std::string_view text, bool first) {
  return chunk(ask, text, first ? "assistant" : "", "");
}

std::string finish_event(const Ask& ask, std::string_view finish) {
  return chunk(ask, "", "", finish);
}

std::string usage_event(const Ask& ask, AnswerUsage usage) {
  JsonWriter w;
  begin(w, ask, true);
  w.end_array();
  write_usage(w, usage);
  w.end_object();
  return w.take();
}

std::string error_object(std::string_view message, std::string_view type, std::string_view code) {
  JsonWriter w;
  w.begin_object();
  w.key("error");
  w.begin_object();
  w.field("message", message);
  w.field("type", type);
  w.field_null("param");
  if (code.empty()) {
    w.field_null("code");
  } else {
    w.field("code", code);
  }
  w.end_object();
  w.end_object();
  return w.take();
}

}  // namespace genesis::mock
