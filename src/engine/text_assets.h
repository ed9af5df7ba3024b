// TextAssets: what a model brings beside its weights.
#pragma once

#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <memory>
#include <string>

namespace genesis::engine {

struct TextAssets {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null: chat is refused with a hint
  std::string bos_token;
  std::string eos_token;
};

}  // namespace genesis::engine
