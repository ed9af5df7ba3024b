// From a ChatRequest to the model's token ids: template and tokenizer. Pure; runs on the io thread.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "engine/model_voice.h"
#include "engine/text_assets.h"
#include "text/answer/tool_spec.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace genesis::engine {

struct ChatPrompt {
  std::vector<std::int32_t> tokens;
  std::string echo;  // what comes first in every choice, empty unless the request asks for it
  bool starts_in_reasoning = false;  // the prompt ends with an opened thought
};

// Chat: the messages go through the model's template, with the tools as this model is told of them;
// special tokens count only where the template wrote them, what users typed stays text. Completions
// and TGI: the prompt is taken as transformers and TGI take it (special tokens recognised, the
// tokenizer's own ones added), or as the ids given. Errors: kUnsupported (no chat template),
// kInvalidArgument (empty, malformed history, or refused by the template), kContextLength.
Result<ChatPrompt> make_prompt(const ChatRequest& request,
                               const TextAssets& assets,
                               const ModelVoice& voice,
                               std::span<const text::ToolSpec> tools);

}  // namespace genesis::engine
