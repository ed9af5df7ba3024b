// From a ChatRequest to the model's token ids: template and tokenizer. Pure; runs on the io thread.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "engine/local_chat.h"

#include <cstdint>
#include <string>
#include <vector>

namespace genesis::engine {

struct ChatPrompt {
  std::vector<std::int32_t> tokens;
  std::string echo;  // what comes first in every choice, empty unless the request asks for it
};

// Chat: the messages go through the model's template; special tokens count only where the template
// wrote them, what users typed stays text. Completions and TGI: the prompt is taken as transformers
// and TGI take it (special tokens recognised, the tokenizer's own ones added), or as the ids given.
// Errors: kUnsupported (no chat template), kInvalidArgument (empty, or refused by the template).
Result<ChatPrompt> make_prompt(const ChatRequest& request, const TextAssets& assets);

}  // namespace genesis::engine
