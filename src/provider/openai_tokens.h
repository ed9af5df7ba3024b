// Token records of OpenAI-shaped answers: logprobs of both routes and vLLM's token ids. Internal.
#pragma once

#include "api/chat.h"
#include "base/result.h"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace genesis::provider {

// Chat: `logprobs.content`, a list of {token, bytes, logprob, top_logprobs}.
Result<std::vector<TokenInfo>> read_chat_tokens(const boost::json::object& logprobs);

// Completions: `logprobs` with parallel lists tokens, token_logprobs, top_logprobs. A null logprob
// (the first token of an echoed prompt) becomes NaN.
Result<std::vector<TokenInfo>> read_completion_tokens(const boost::json::object& logprobs);

// A list of token ids under `key`; empty when absent or null.
Result<std::vector<std::int32_t>> read_token_ids(const boost::json::object& choice,
                                                 std::string_view key);

}  // namespace genesis::provider
