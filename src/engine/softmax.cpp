// Passes over a row of logits.
#include "engine/softmax.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

namespace genesis::engine {

namespace {

// e^-87 is the last power that is a normal float.
constexpr float kLowestExponent = -87.0F;

// exp(x) for x in [-87, 0], relative error below 2e-7. Range reduction by ln 2 in two parts and the
// degree-5 polynomial of Cephes' expf (netlib.org/cephes, single/expf.c). No branch and no libm
// call, so a loop over it is vectorized.
inline float exp_nonpositive(float x) {
  constexpr float kLog2E = 1.44269504088896341F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float base = p * r * r + r + 1.0F;
  const std::int32_t exponent =
      std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound);
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(base) + exponent * (1 << 23));
}

inline float weight_of(float logit, float max, float inverse_temperature) {
  const float x = (logit - max) * inverse_temperature;
  const float weight = exp_nonpositive(std::max(x, kLowestExponent));
  return x < kLowestExponent ? 0.0F : weight;
}

// The order of additions is fixed by these lanes, whatever the vector width of the machine.
constexpr std::size_t kLanes = 8;

class LaneSum {
 public:
  void add(std::span<const float> values) {
    std::size_t i = 0;
    for (; i + kLanes <= values.size(); i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        lanes_[lane] += static_cast<double>(values[i + lane]);
      }
    }
    for (; i < values.size(); ++i) {
      rest_ += static_cast<double>(values[i]);
    }
  }

  double total() const { return std::accumulate(lanes_.begin(), lanes_.end(), rest_); }

 private:
  std::array<double, kLanes> lanes_{};
  double rest_ = 0;
};

float max_of(std::span<const float> logits) {
  std::array<float, kLanes> lanes{};
  lanes.fill(logits[0]);
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = logits[i + lane] > lanes[lane] ? logits[i + lane] : lanes[lane];
    }
  }
  float max = *std::ranges::max_element(lanes);
  for (; i < logits.size(); ++i) {
    max = std::max(max, logits[i]);
  }
  return max;
}

}  // namespace

Result<void> check_finite(std::span<const float> logits) {
  // x - x is 0 for finite x and NaN otherwise.
  unsigned broken = 0;
  for (const float x : logits) {
    broken |= x - x == 0.0F ? 0U : 1U;
  }
  if (broken != 0) {
    return fail(ErrorCode::kInternal,
                "the model produced logits that are not finite numbers",
                "check the weights file; another precision (fp32) may help");
  }
  return {};
}

Candidate argmax(std::span<const float> logits) {
  GENESIS_CHECK(!logits.empty());
  const float max = max_of(logits);
  const auto first = std::ranges::find(logits, max) - logits.begin();
  return {.id = static_cast<std::int32_t>(first), .logit = max};
}

std::vector<Candidate> top_candidates(std::span<const float> logits, std::size_t count) {
  count = std::min(count, logits.size());
  std::vector<Candidate> heap;  // the least preferred of the kept ones is in front
  if (count == 0) {
    return heap;
  }
  heap.reserve(count);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const Candidate candidate{.id = static_cast<std::int32_t>(i), .logit = logits[i]};
    if (heap.size() < count) {
      heap.push_back(candidate);
      std::ranges::push_heap(heap, preferred);
    } else if (logits[i] > heap.front().logit) {  // ids grow, so an equal logit is never preferred
      std::ranges::pop_heap(heap, preferred);
      heap.back() = candidate;
      std::ranges::push_heap(heap, preferred);
    }
  }
  std::ranges::sort_heap(heap, preferred);
  return heap;
}

double softmax_weights(std::span<const float> logits,
                       float max,
                       float inverse_temperature,
                       std::span<float> weights) {
  GENESIS_CHECK(weights.size() == logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weights[i] = weight_of(logits[i], max, inverse_temperature);
  }
  return sum_of(weights);
}

double sum_of(std::span<const float> values) {
  LaneSum sum;
  sum.add(values);
  return sum.total();
}

double log_sum_exp(std::span<const float> logits) {
  const float max = max_of(logits);
  LaneSum sum;
  std::array<float, 512> weights{};  // a part at a time, so that nothing is allocated
  while (!logits.empty()) {
    const std::size_t size = std::min(logits.size(), weights.size());
    for (std::size_t i = 0; i < size; ++i) {
      weights[i] = weight_of(logits[i], max, 1.0F);
    }
    sum.add(std::span(weights).first(size));
    logits = logits.subspan(size);
  }
  return static_cast<double>(max) + std::log(sum.total());
}

TokenInfo token_logprobs(std::span<const float> logits, std::int32_t id, int top) {
  const double denominator = log_sum_exp(logits);
  const auto logprob = [denominator](float logit) {
    return static_cast<float>(static_cast<double>(logit) - denominator);
  };
  TokenInfo info;
  info.id = id;
  info.logprob = logprob(logits[static_cast<std::size_t>(id)]);
  for (const Candidate& candidate : top_candidates(logits, static_cast<std::size_t>(top))) {
    info.top.push_back({.id = candidate.id, .text = {}, .logprob = logprob(candidate.logit)});
  }
  return info;
}

}  // namespace genesis::engine
