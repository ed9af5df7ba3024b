// TemplateTraits: what a chat template does with tools, found out by rendering small conversations
// instead of reading its source.
#pragma once

#include "text/chat_template.h"

#include <cstdint>
#include <string_view>

namespace genesis::text {

// What a template wants of an assistant's turn with calls.
struct CallTraits {
  bool arguments_as_text = false;  // the JSON text; else a mapping, as transformers and vLLM give
  bool null_content = false;       // without text, `content` must be null; else ""
  bool short_ids = false;          // nine letters and digits, as Mistral's templates insist
  bool one_a_turn = false;         // two calls in one turn are refused (Llama 3)
};

struct TemplateTraits {
  bool lists_tools = false;    // `tools` come into the prompt
  bool takes_system = false;   // a system message does
  bool takes_results = false;  // messages of the role `tool` do
  bool takes_calls = false;    // an assistant's tool_calls do; else `calls` means nothing
  CallTraits calls;
};

// `extra_json` as for ChatTemplate::render(). About twenty renderings of two lines each: once per
// model, not per request.
TemplateTraits probe_template(const ChatTemplate& chat_template, std::string_view extra_json);

}  // namespace genesis::text
