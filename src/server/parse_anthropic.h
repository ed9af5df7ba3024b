// Anthropic request bodies -> InferenceCall: the typed fields and ChatInput::body are a translation
// to OpenAI's shape, ChatInput::native is the client's own text. Types are strict and errors name
// the field; unknown fields, and cache_control, live on in `native` only.
// Source: docs.anthropic.com/en/api/messages and /messages-count-tokens.
#pragma once

#include "base/result.h"
#include "server/call.h"

#include <cstdint>
#include <string_view>

namespace genesis::server {

enum class AnthropicRoute : std::uint8_t {
  kMessages,
  kCountTokens,  // needs no max_tokens
};

Result<InferenceCall> parse_anthropic_request(std::string_view body, AnthropicRoute route);

}  // namespace genesis::server
