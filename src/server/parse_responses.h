// OpenAI Responses request bodies -> InferenceCall: the typed fields and ChatInput::body are a
// translation to chat completions' shape. Nothing is stored here, so what needs a store
// (previous_response_id, conversation, background, item references) and OpenAI's own server tools
// are kUnsupported and named.
// Source: platform.openai.com/docs/api-reference/responses/create.
#pragma once

#include "base/result.h"
#include "server/call.h"

#include <string_view>

namespace genesis::server {

Result<InferenceCall> parse_responses_request(std::string_view body);

}  // namespace genesis::server
