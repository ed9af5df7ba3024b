// Sampler of one sequence: from a row of logits to the next token.
//
// Order, as in transformers' generate(): repetition penalty, frequency and presence penalties,
// bias, end-token mask, mask of a guide -> temperature -> top_k -> top_p -> typical_p -> min_p ->
// draw. Each filter works on what the one before left, renormalised. At a tie the lower token id
// wins, also at the edge of top_k.
//
// The random number of a draw is a function of (seed, choice, position) alone, so a sequence's
// tokens do not depend on its neighbours, on preemption, or on what was drawn before.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "engine/softmax.h"

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace genesis::engine {

// Uniform in [0, 1), 53 bits, for the token at `position` (counted from the start of the prompt).
double draw_uniform(std::uint64_t seed, std::uint32_t choice, std::uint64_t position);

// Buffers as large as the vocabulary, shared by all sequences of a step thread.
struct SamplerScratch {
  std::vector<float> logits;
  std::vector<float> weights;
  std::vector<std::uint64_t> allowed;
};

// Temperatures below this are greedy: a division by them overflows (vLLM's _SAMPLING_EPS).
inline constexpr double kGreedyTemperature = 1e-5;

// Not thread-safe. `sampling` has passed validate_sampling(), ids are below the vocabulary size.
class Sampler {
 public:
  // Without a seed in `sampling` a random one is taken from the operating system.
  Sampler(const Sampling& sampling,
          std::span<const std::int32_t> prompt,
          std::span<const std::int32_t> end_ids,
          std::uint32_t choice);

  // Chooses the token at `position` and remembers it for the penalties. `allowed` has a bit for
  // each id that may come (text::mask_words); empty: all. The logprob fields are filled when the
  // request wants them. kInternal: logits are not finite, or every token is masked.
  Result<TokenInfo> next(std::span<const float> logits,
                         std::uint64_t position,
                         SamplerScratch& scratch,
                         std::span<const std::uint64_t> allowed = {});
  // The token is `id`, whatever the logits say; they may be empty where no logprobs are wanted.
  TokenInfo take(std::span<const float> logits, std::int32_t id);

  bool wants_logprobs() const { return want_logprobs_; }

 private:
  bool masks_ends() const { return generated_ < min_tokens_ && !end_ids_.empty(); }

  std::span<const float> adjusted(std::span<const float> logits,
                                  SamplerScratch& scratch,
                                  std::span<const std::uint64_t> allowed) const;
  void penalize(std::span<float> logits) const;
  std::int32_t draw(std::span<const float> logits,
                    float max,
                    double uniform,
                    SamplerScratch& scratch) const;

  double temperature_;
  double top_p_;
  int top_k_;
  double typical_p_;
  double min_p_;
  double repetition_penalty_;
  double presence_penalty_;
  double frequency_penalty_;
  int min_tokens_;
  bool want_logprobs_;
  int top_logprobs_;
  std::vector<std::pair<std::int32_t, float>> bias_;
  std::vector<std::int32_t> end_ids_;
  std::uint64_t seed_;
  std::uint32_t choice_;
  int generated_ = 0;
  bool penalized_;
  // Tokens of prompt and output with how often each is in the output; kept only when penalized_.
  std::unordered_map<std::int32_t, int> seen_;
};

}  // namespace genesis::engine
