// The conversation of an Anthropic request (system, messages) in OpenAI's shape.
#pragma once

#include "base/result.h"

#include <boost/json.hpp>

#include <string>

namespace genesis::server {

struct TranslatedMessages {
  boost::json::array messages;
  std::string native_only;  // the first block that only Anthropic's own API understands
};

// Takes the texts out of `body` instead of copying them: images are large.
//   system blocks          one system message, joined by newline
//   text, image, document  content parts; a lone text becomes a string
//   tool_result            a `tool` message of its own, ahead of what else its turn says; images in
//                          it move into the user message behind, as a tool message holds text only
//   tool_use               tool_calls
//   thinking               reasoning_content; redacted_thinking says nothing to others, and goes
// Malformed history is an error that names its place.
Result<TranslatedMessages> translate_anthropic_messages(boost::json::object& body);

}  // namespace genesis::server
