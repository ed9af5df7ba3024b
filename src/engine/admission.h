// What may enter the engine: a request against the model's limits. Pure; runs on the caller's
// thread before any work.
#pragma once

#include "base/result.h"
#include "engine/engine.h"
#include "engine/runner.h"

#include <cstdint>

namespace genesis::engine {

// The longest sequence, prompt plus output, that this runner can hold when it is alone.
std::int32_t longest_sequence(const RunnerInfo& info);

// Returns how many tokens the request may generate, at least 1. Errors: kInvalidArgument (empty
// prompt, ids outside the vocabulary, sampling out of range); kContextLength when the prompt leaves
// no room for a token, or prompt plus max_tokens exceed the context (refused like OpenAI and vLLM
// do, not cut); kResourceExhausted when the model could take it but the page pool cannot.
Result<std::int32_t> admit(const RunnerInfo& info, const GenerateRequest& request);

}  // namespace genesis::engine
