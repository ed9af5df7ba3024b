// ChatRequest -> body of Anthropic's /v1/messages. Pure.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "provider/upstream.h"

#include <string>

namespace genesis::provider {

// Anthropic demands `max_tokens`. As much as the meter reserves for a request without it
// (MeteredOptions::output_cap), so that an answer cannot cost more than was reserved.
inline constexpr std::int64_t kDefaultMaxTokens = 4096;

// The client's own JSON with another `model` and `stream`, or a translation. `stream`: how the
// upstream is asked.
//
// kUnsupported for what the API has no word for and would change the answer: several choices,
// logprobs, logit_bias, a forced JSON form, audio, an echo, a prompt of token ids, tools that are
// not functions, stop strings of blanks. Penalties and seed are hints that it does not know; they
// are dropped.
Result<std::string> anthropic_request_body(const ChatRequest& request,
                                           const UpstreamOptions& options,
                                           bool stream);

}  // namespace genesis::provider
