// ModelVoice: how a model speaks of tools and thoughts, found once from its template and
// vocabulary.
#pragma once

#include "engine/text_assets.h"
#include "text/answer/template_traits.h"
#include "text/answer/tool_format.h"

#include <string>

namespace genesis::engine {

struct ModelVoice {
  text::ToolFormat tools = text::ToolFormat::kNone;
  text::ReasoningFormat reasoning = text::ReasoningFormat::kNone;
  text::TemplateTraits traits;
};

// A model without a chat template has no voice: its completions are text.
ModelVoice voice_of(const TextAssets& assets);

// What every template may use beside the messages, as a JSON object.
std::string template_variables(const TextAssets& assets);

}  // namespace genesis::engine
