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

// Body of /v1/messages/count_tokens for a request that came as one: the client's own JSON with
// another `model`. kUnsupported for any other.
Result<std::string> anthropic_count_body(const ChatRequest& request,
                                         const UpstreamOptions& options);

// Version, the client's own headers of the dialect, and the key.
net::Headers anthropic_headers(const UpstreamOptions& options, const ChatRequest& request);

}  // namespace genesis::provider
