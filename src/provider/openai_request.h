// ChatRequest -> the JSON body that an OpenAI-shaped upstream is asked with. Pure.
#pragma once

#include "api/chat.h"
#include "base/result.h"

#include <string>
#include <string_view>

namespace genesis::provider {

// "/chat/completions" or "/completions".
std::string_view openai_target(Dialect dialect);

// An OpenAI-shaped body of the client is passed on byte for byte except `model`, `stream` and
// `stream_options`; without one the body is written from the typed fields. `token_ids`: ask for
// token ids where the caller's dialect shows them (TGI).
Result<std::string> openai_request_body(const ChatRequest& request,
                                        std::string_view model,
                                        bool token_ids);

}  // namespace genesis::provider
