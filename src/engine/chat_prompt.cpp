// Rendering and encoding of prompts.
#include "engine/chat_prompt.h"

#include "base/json.h"

#include <utility>

namespace genesis::engine {

namespace {

std::string messages_json(const std::vector<ChatMessage>& messages) {
  JsonWriter json;
  json.begin_array();
  for (const ChatMessage& message : messages) {
    json.begin_object();
    json.field("role", message.role);
    json.field("content", message.content);
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
  json.end_array();
  return json.take();
}

std::string template_variables(const TextAssets& assets) {
  JsonWriter json;
  json.begin_object();
  json.field("bos_token", assets.bos_token);
  json.field("eos_token", assets.eos_token);
  json.end_object();
  return json.take();
}

Result<ChatPrompt> from_messages(const ChatInput& input, const TextAssets& assets) {
  if (!assets.chat_template) {
    return fail(ErrorCode::kUnsupported,
                "this model has no chat template, so it cannot take 'messages'",
                "send the text to /v1/completions");
  }
  if (input.messages.empty()) {
    return fail_param("messages", "'messages' is empty; at least one message is needed");
  }
  auto result = assets.chat_template->render(messages_json(input.messages),
                                             input.tools_json,
                                             template_variables(assets),
                                             /*add_generation_prompt=*/true);
  if (!result && result.error().code == ErrorCode::kResourceExhausted) {
    // The template's fuel and room are far beyond any context: the messages are too long.
    return fail_param("messages", result.error().message, ErrorCode::kContextLength);
  }
  GENESIS_TRY(const text::RenderedPrompt rendered, std::move(result));
  ChatPrompt prompt;
  prompt.tokens = assets.tokenizer->encode(
      rendered.text,
      {.add_special_tokens = false, .parse_special = true, .plain_spans = rendered.from_messages});
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

Result<ChatPrompt> make_prompt(const ChatRequest& request, const TextAssets& assets) {
  if (is_chat(request.dialect)) {
    return from_messages(*request.input, assets);
  }
  return from_text(request, assets);
}

}  // namespace genesis::engine
