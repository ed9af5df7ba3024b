// Rendering and encoding of prompts.
#include "engine/chat_prompt.h"

#include "base/json.h"
#include "text/answer/tool_history.h"
#include "text/answer/tool_text.h"

#include <utility>

namespace genesis::engine {

namespace {

// A reasoning marker and the line break behind it are shorter than this.
constexpr std::size_t kPromptTail = 64;

void write_message(JsonWriter& json, const ChatMessage& message) {
  json.begin_object();
  json.field("role", message.role);
  // Templates tell a turn that only calls tools by its null.
  if (message.content.empty() && !message.tool_calls_json.empty()) {
    json.field_null("content");
  } else {
    json.field("content", message.content);
  }
  if (!message.name.empty()) {
    json.field("name", message.name);
  }
  if (!message.tool_call_id.empty()) {
    json.field("tool_call_id", message.tool_call_id);
  }
  if (!message.tool_calls_json.empty()) {
    json.field_raw("tool_calls", message.tool_calls_json);
  }
  if (!message.reasoning.empty()) {
    json.field("reasoning_content", message.reasoning);  // Qwen's and DeepSeek's templates' name
  }
  json.end_object();
}

std::string messages_json(const std::vector<ChatMessage>& messages) {
  JsonWriter json;
  json.begin_array();
  for (const ChatMessage& message : messages) {
    write_message(json, message);
  }
  json.end_array();
  return json.take();
}

Result<ChatPrompt> from_messages(const ChatInput& input,
                                 const TextAssets& assets,
                                 const ModelVoice& voice,
                                 std::span<const text::ToolSpec> tools) {
  if (!assets.chat_template) {
    return fail(ErrorCode::kUnsupported,
                "this model has no chat template, so it cannot take 'messages'",
                "send the text to /v1/completions");
  }
  if (input.messages.empty()) {
    return fail_param("messages", "'messages' is empty; at least one message is needed");
  }
  const std::string asked = messages_json(input.messages);
  const bool listed = voice.traits.lists_tools && !tools.empty();
  const std::string instruction =
      tools.empty() || listed ? std::string() : text::tool_instruction(voice.tools, tools);
  GENESIS_TRY(
      const std::string messages,
      text::template_messages(
          asked, {.format = voice.tools, .traits = voice.traits, .instruction = instruction}));
  const std::string variables = template_variables(assets);
  auto result = assets.chat_template->render(
      {.messages = messages,
       .tools = listed ? std::string_view(input.tools_json) : std::string_view(),
       .model_values = variables,
       .client_values = input.template_variables});
  if (!result && result.error().code == ErrorCode::kResourceExhausted) {
    // The template's fuel and room are far beyond any context: the messages are too long.
    return fail_param("messages", result.error().message, ErrorCode::kContextLength);
  }
  GENESIS_TRY(const text::RenderedPrompt rendered, std::move(result));
  ChatPrompt prompt;
  prompt.tokens = assets.tokenizer->encode(
      rendered.text,
      {.add_special_tokens = false, .parse_special = true, .plain_spans = rendered.from_messages});
  const std::string_view all = rendered.text;
  prompt.starts_in_reasoning = text::starts_in_reasoning(
      all.substr(all.size() - std::min(all.size(), kPromptTail)), voice.reasoning);
  return prompt;
}

ChatPrompt from_text(const ChatRequest& request, const TextAssets& assets) {
  const ChatInput& input = *request.input;
  ChatPrompt prompt;
  if (input.prompt_tokens.empty()) {
    prompt.tokens =
        assets.tokenizer->encode(input.prompt, {.add_special_tokens = true, .parse_special = true});
    prompt.echo = request.echo ? input.prompt : std::string();
  } else {
    prompt.tokens = input.prompt_tokens;
    prompt.echo = request.echo ? assets.tokenizer->decode(prompt.tokens, /*skip_special=*/true)
                               : std::string();
  }
  return prompt;
}

}  // namespace

Result<ChatPrompt> make_prompt(const ChatRequest& request,
                               const TextAssets& assets,
                               const ModelVoice& voice,
                               std::span<const text::ToolSpec> tools) {
  if (is_chat(request.dialect)) {
    return from_messages(*request.input, assets, voice, tools);
  }
  return from_text(request, assets);
}

}  // namespace genesis::engine
