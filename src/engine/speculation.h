// Speculation by prompt lookup: what an answer says next has often been said before, in the prompt
// or in the answer itself (Saxena 2023, "Prompt Lookup Decoding"). Tokens that followed the last
// few tokens then are guessed again; the model reads the guesses in one step and keeps those that
// it would have chosen. The answer is the same bit for bit, whatever was guessed.
#pragma once

#include <cstdint>
#include <span>

namespace genesis::engine {

// The most tokens guessed at once.
inline constexpr std::int32_t kMostDrafts = 8;

// What followed the latest earlier occurrence of the last tokens (three of them, else two), at most
// `most` tokens. Empty when there is none.
std::span<const std::int32_t> look_up_drafts(std::span<const std::int32_t> tokens,
                                             std::int32_t most);

// How well guessing goes for one sequence.
class Speculation {
 public:
  // How many tokens to guess next, when a guess costs `cost` of what it saves if it is right.
  // 0 while guesses do not pay; now and then one is tried again.
  std::int32_t drafts(double cost);
  // So many were guessed, the first `right` of them rightly.
  void note(std::int32_t guessed, std::int32_t right);

 private:
  double hit_rate_ = 0.5;     // moving average over guessed tokens
  std::int32_t resting_ = 0;  // steps until the next try
  std::int32_t rest_ = 0;     // how long the last rest was
};

}  // namespace genesis::engine
