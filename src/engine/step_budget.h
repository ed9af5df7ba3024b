// StepBudget: how many prompt tokens may join a step in which others wait for their next token, so
// that the step stays within a time. Learns from the steps that were run; pure.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace genesis::engine {

class StepBudget {
 public:
  using Seconds = std::chrono::duration<double>;

  // Never less than `least` tokens, or prompts would starve; never more than `most`.
  StepBudget(Seconds target, std::int32_t least, std::int32_t most)
      : target_(target), least_(std::min(least, most)), most_(most) {}

  // A step computed so many prompt tokens beside so many sequences that got one token each.
  void observe(std::int32_t prompt_tokens, std::int32_t decodes, Seconds time);

  // What a token more in a step costs, of what a step costs for each of its `decodes`: how likely a
  // guess must be right to pay. 1 when nothing is known yet.
  double guess_cost(std::int32_t decodes) const;

  // What `time` costs, of what a step costs for each of its `decodes`; 0 when that is not known.
  double share_of_decode(Seconds time, std::int32_t decodes) const;

  // Prompt tokens for the next step beside decodes.
  std::int32_t tokens() const;

 private:
  Seconds target_;
  std::int32_t least_;
  std::int32_t most_;
  // Moving averages; 0 = nothing known yet.
  Seconds decode_{0};  // a step of decodes alone
  Seconds token_{0};   // a prompt token more
};

}  // namespace genesis::engine
