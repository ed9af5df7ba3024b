#include "engine/step_budget.h"

#include <algorithm>

namespace genesis::engine {

namespace {

constexpr double kWeight = 0.2;  // of the newest step
// Fewer tokens than this say little about what one costs.
constexpr std::int32_t kTelling = 16;

void learn(StepBudget::Seconds& average, StepBudget::Seconds value) {
  average = average.count() == 0 ? value : (1 - kWeight) * average + kWeight * value;
}

}  // namespace

void StepBudget::observe(std::int32_t prompt_tokens, std::int32_t decodes, Seconds time) {
  if (prompt_tokens == 0 && decodes > 0) {
    learn(decode_, time);
  } else if (prompt_tokens >= kTelling) {
    const Seconds rest = decodes > 0 ? std::max(time - decode_, time / 2) : time;
    learn(token_, rest / prompt_tokens);
  }
}

double StepBudget::guess_cost(std::int32_t decodes) const {
  if (token_.count() == 0 || decode_.count() == 0) {
    return 1.0;
  }
  return std::min(1.0, token_ / decode_ * decodes);
}

double StepBudget::share_of_decode(Seconds time, std::int32_t decodes) const {
  return decode_.count() == 0 ? 0.0 : time / decode_ * decodes;
}

std::int32_t StepBudget::tokens() const {
  if (token_.count() == 0) {
    return least_;
  }
  const double fit = std::max(target_ - decode_, Seconds(0)) / token_;
  return static_cast<std::int32_t>(
      std::clamp(fit, static_cast<double>(least_), static_cast<double>(most_)));
}

}  // namespace genesis::engine
