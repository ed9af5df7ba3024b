// OpenAI request bodies -> InferenceCall. Types are strict and errors name the field
// (`messages[2].content`); unknown fields stay in ChatInput::body for upstreams that know them.
// Sources: platform.openai.com/docs/api-reference (chat, completions); vLLM's extra words (top_k,
// min_p, repetition_penalty, min_tokens, ignore_eos, return_token_ids, include_stop_str_in_output).
#pragma once

#include "base/result.h"
#include "server/call.h"

#include <boost/json/fwd.hpp>

#include <string_view>

namespace genesis::server {

// POST /v1/chat/completions. An absent `model` leaves ChatRequest::route empty.
Result<InferenceCall> parse_chat_request(std::string_view body);

// The same from a parsed body whose text is `text`; also for bodies that were translated from
// another dialect.
Result<InferenceCall> read_chat_request(const boost::json::object& body, std::string_view text);

// POST /v1/completions, one prompt per request.
Result<InferenceCall> parse_completion_request(std::string_view body);

}  // namespace genesis::server
