// The numeric half of sampling: one pass over a row of logits each, written so that the compiler
// can use vector instructions; no allocation beyond the result.
#pragma once

#include "api/chat.h"
#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace genesis::engine {

// A token that may be chosen.
struct Candidate {
  std::int32_t id = -1;
  float logit = 0;
};

// Candidates in order of preference: higher logit first, at a tie the lower id. One rule
// everywhere, so that greedy, top-k, top-p and the alternatives of logprobs agree.
inline bool preferred(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// Fails with kInternal when a value is NaN or infinite: the model's arithmetic broke.
Result<void> check_finite(std::span<const float> logits);

// The most preferred token.
Candidate argmax(std::span<const float> logits);

// The `count` most preferred tokens in order; at most all of them.
std::vector<Candidate> top_candidates(std::span<const float> logits, std::size_t count);

// Writes exp((logit - max) * inverse_temperature) and returns the sum. The largest weight is
// exactly 1; weights below e^-87 are 0.
double softmax_weights(std::span<const float> logits,
                       float max,
                       float inverse_temperature,
                       std::span<float> weights);

double sum_of(std::span<const float> values);

// log(sum(exp(logits))), of finite logits.
double log_sum_exp(std::span<const float> logits);

// Log-softmax of the raw logits at `id`, with the `top` most probable alternatives. "Raw": before
// penalties, bias, temperature and truncation, as OpenAI and vLLM (logprobs_mode raw_logprobs) tell
// it.
TokenInfo token_logprobs(std::span<const float> logits, std::int32_t id, int top);

}  // namespace genesis::engine
