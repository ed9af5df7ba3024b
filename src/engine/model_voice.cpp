#include "engine/model_voice.h"

#include "base/json.h"

namespace genesis::engine {

ModelVoice voice_of(const TextAssets& assets) {
  ModelVoice voice;
  if (!assets.chat_template) {
    return voice;
  }
  const std::string_view source = assets.chat_template->source();
  voice.tools = text::detect_tool_format(source, *assets.tokenizer);
  voice.reasoning = text::detect_reasoning_format(source, *assets.tokenizer);
  voice.traits = text::probe_template(*assets.chat_template, template_variables(assets));
  return voice;
}

std::string template_variables(const TextAssets& assets) {
  JsonWriter json;
  json.begin_object();
  json.field("bos_token", assets.bos_token);
  json.field("eos_token", assets.eos_token);
  json.end_object();
  return json.take();
}

}  // namespace genesis::engine
