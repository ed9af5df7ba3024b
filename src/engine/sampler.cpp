// Penalties, truncation and the draw.
#include "engine/sampler.h"

#include "base/check.h"
#include "base/random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace genesis::engine {

namespace {

std::uint64_t random_seed() {
  std::array<std::uint8_t, sizeof(std::uint64_t)> bytes{};
  secure_random_bytes(bytes);
  return std::bit_cast<std::uint64_t>(bytes);
}

struct Weighted {
  std::int32_t id = -1;
  double weight = 0;
};

// Inverse of the cumulative distribution over `kept`, whose weights sum to `mass`.
std::int32_t pick(std::span<const Weighted> kept, double mass, double uniform) {
  double left = uniform * mass;
  for (const Weighted& entry : kept) {
    left -= entry.weight;
    if (left < 0) {
      return entry.id;
    }
  }
  return kept.back().id;  // rounding ate the last sliver of the mass
}

// Takes candidates in order of preference until top_p of `mass` is covered or min_p is not met, and
// draws among them. `next` gives the next candidate with its weight (the largest is 1), or weight
// 0.
template <typename Next>
std::int32_t draw_prefix(Next next, double target, double min_weight, double uniform) {
  std::vector<Weighted> kept;
  double covered = 0;
  while (covered < target || kept.empty()) {
    const Weighted candidate = next();
    if (!kept.empty() && (candidate.weight <= 0 || candidate.weight < min_weight)) {
      break;
    }
    kept.push_back(candidate);
    covered += candidate.weight;
  }
  return pick(kept, covered, uniform);
}

}  // namespace

double draw_uniform(std::uint64_t seed, std::uint32_t choice, std::uint64_t position) {
  // A counter-based generator: three rounds of SplitMix64's mixer, one per part of the key.
  const std::uint64_t stream = Random(Random(seed).next() + choice).next();
  return Random(stream + position).uniform();
}

Sampler::Sampler(const Sampling& sampling,
                 std::span<const std::int32_t> prompt,
                 std::span<const std::int32_t> end_ids,
                 std::uint32_t choice)
    : temperature_(sampling.temperature),
      top_p_(sampling.top_p),
      top_k_(sampling.top_k),
      min_p_(sampling.min_p),
      repetition_penalty_(sampling.repetition_penalty),
      presence_penalty_(sampling.presence_penalty),
      frequency_penalty_(sampling.frequency_penalty),
      min_tokens_(sampling.min_tokens),
      want_logprobs_(sampling.want_logprobs),
      top_logprobs_(sampling.top_logprobs),
      end_ids_(end_ids.begin(), end_ids.end()),
      seed_(sampling.seed ? *sampling.seed : random_seed()),
      choice_(choice),
      penalized_(sampling.repetition_penalty != 1.0 || sampling.presence_penalty != 0.0 ||
                 sampling.frequency_penalty != 0.0) {
  for (const auto& [id, bias] : sampling.logit_bias) {
    bias_.emplace_back(id, static_cast<float>(bias));
  }
  if (penalized_) {
    for (const std::int32_t id : prompt) {
      seen_.try_emplace(id, 0);
    }
  }
}

Result<TokenInfo> Sampler::next(std::span<const float> logits,
                                std::uint64_t position,
                                SamplerScratch& scratch) {
  GENESIS_TRY_VOID(check_finite(logits));
  const std::span<const float> adjusted_logits = adjusted(logits, scratch);
  const Candidate best = argmax(adjusted_logits);
  if (best.logit == -std::numeric_limits<float>::infinity()) {
    return fail(ErrorCode::kInternal, "no token may follow: min_tokens masks the whole vocabulary");
  }
  std::int32_t id = best.id;
  if (temperature_ >= kGreedyTemperature) {
    id = draw(adjusted_logits, best.logit, draw_uniform(seed_, choice_, position), scratch);
  }
  ++generated_;
  if (penalized_) {
    ++seen_[id];
  }
  if (want_logprobs_) {
    return token_logprobs(logits, id, top_logprobs_);
  }
  TokenInfo info;
  info.id = id;
  return info;
}

std::span<const float> Sampler::adjusted(std::span<const float> logits,
                                         SamplerScratch& scratch) const {
  if (!penalized_ && bias_.empty() && !masks_ends()) {
    return logits;
  }
  scratch.logits.assign(logits.begin(), logits.end());
  const std::span<float> out = scratch.logits;
  if (penalized_) {
    penalize(out);
  }
  for (const auto& [id, bias] : bias_) {
    out[static_cast<std::size_t>(id)] += bias;
  }
  if (masks_ends()) {
    for (const std::int32_t id : end_ids_) {
      out[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
    }
  }
  return out;
}

void Sampler::penalize(std::span<float> logits) const {
  const auto repetition = static_cast<float>(repetition_penalty_);
  for (const auto& [id, count] : seen_) {
    float& logit = logits[static_cast<std::size_t>(id)];
    logit = logit > 0 ? logit / repetition : logit * repetition;
    if (count > 0) {
      logit -= static_cast<float>(frequency_penalty_ * count + presence_penalty_);
    }
  }
}

std::int32_t Sampler::draw(std::span<const float> logits,
                           float max,
                           double uniform,
                           SamplerScratch& scratch) const {
  if (top_k_ > 0 && static_cast<std::size_t>(top_k_) < logits.size()) {
    return draw_from_top_k(logits, max, uniform);
  }
  scratch.weights.resize(logits.size());
  const auto inverse = static_cast<float>(1.0 / temperature_);
  const double mass = softmax_weights(logits, max, inverse, scratch.weights);
  if (top_p_ < 1.0 || min_p_ > 0.0) {
    return draw_truncated(logits, mass, uniform, scratch);
  }
  double left = uniform * mass;
  std::size_t last = 0;
  for (std::size_t i = 0; i < scratch.weights.size(); ++i) {
    if (scratch.weights[i] > 0) {
      last = i;
      left -= static_cast<double>(scratch.weights[i]);
      if (left < 0) {
        break;
      }
    }
  }
  return static_cast<std::int32_t>(last);
}

std::int32_t Sampler::draw_from_top_k(std::span<const float> logits,
                                      float max,
                                      double uniform) const {
  const std::vector<Candidate> best = top_candidates(logits, static_cast<std::size_t>(top_k_));
  std::vector<float> row(best.size());
  std::ranges::transform(best, row.begin(), &Candidate::logit);
  std::vector<float> weights(best.size());
  const auto inverse = static_cast<float>(1.0 / temperature_);
  const double mass = softmax_weights(row, max, inverse, weights);
  std::size_t at = 0;
  const auto next = [&]() -> Weighted {
    if (at == best.size()) {
      return {};
    }
    const Weighted entry{.id = best[at].id, .weight = static_cast<double>(weights[at])};
    ++at;
    return entry;
  };
  return draw_prefix(next, top_p_ < 1.0 ? top_p_ * mass : mass + 1.0, min_p_, uniform);
}

std::int32_t Sampler::draw_truncated(std::span<const float> logits,
                                     double mass,
                                     double uniform,
                                     const SamplerScratch& scratch) const {
  // What is below the floor cannot be in the nucleus: all such tokens together weigh less than
  // (1 - top_p), and mass is at least 1, the weight of the best token. So only a few are sorted.
  const double nucleus_floor =
      top_p_ < 1.0 ? (1.0 - top_p_) / static_cast<double>(logits.size()) : 0.0;
  const auto floor = static_cast<float>(std::max(nucleus_floor, min_p_));
  std::vector<Candidate> heap;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (scratch.weights[i] >= floor && scratch.weights[i] > 0) {
      heap.push_back({.id = static_cast<std::int32_t>(i), .logit = logits[i]});
    }
  }
  const auto later = [](const Candidate& a, const Candidate& b) { return preferred(b, a); };
  std::ranges::make_heap(heap, later);
  const auto next = [&]() -> Weighted {
    if (heap.empty()) {
      return {};
    }
    std::ranges::pop_heap(heap, later);
    const std::int32_t id = heap.back().id;
    heap.pop_back();
    return {.id = id, .weight = static_cast<double>(scratch.weights[static_cast<std::size_t>(id)])};
  };
  return draw_prefix(next, top_p_ < 1.0 ? top_p_ * mass : mass + 1.0, min_p_, uniform);
}

}  // namespace genesis::engine
