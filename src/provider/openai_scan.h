// The common chunk of an OpenAI stream read without a tree: text or reasoning of one choice, and
// nothing else. Internal.
#pragma once

#include "api/chat.h"

#include <optional>
#include <string_view>

namespace genesis::provider {

struct ScannedChunk {
  ChatDelta delta;
  bool only_known = true;  // no member that OpenAI's and vLLM's chunks do not have anyway
};

// Nullopt for every chunk that holds more, or anything doubtful: OpenAiReader decides then, and for
// the chunks that are read here it would have read the same. `choices` is how many were asked for.
std::optional<ScannedChunk> scan_openai_chunk(std::string_view text, int choices);

}  // namespace genesis::provider
