// Penalties, truncation and the draw.
#include "engine/sampler.h"

#include "base/random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>

namespace genesis::engine {

namespace {

std::uint64_t random_seed() {
  std::array<std::uint8_t, sizeof(std::uint64_t)> bytes{};
  secure_random_bytes(bytes);
  return std::bit_cast<std::uint64_t>(bytes);
}

// The last candidate, in order of preference, that the nucleus of `target` mass needs: the weighted
// version of quickselect, linear in the number of candidates and without sorting them.
Candidate nucleus_edge(std::vector<Candidate>& candidates,
                       std::span<const float> weights,
                       double target) {
  auto begin = candidates.begin();
  auto end = candidates.end();
  double covered = 0;  // by those before `begin`
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::ranges::nth_element(begin, middle, end, preferred);
    double mass = 0;
    for (auto at = begin; at != middle; ++at) {
      mass += static_cast<double>(weights[static_cast<std::size_t>(at->id)]);
    }
    if (covered + mass >= target) {
      end = middle;
    } else {
      covered += mass;
      begin = middle;
    }
  }
  return *begin;
}

// Sets the weights outside the smallest set of tokens with `top_p` of the mass to 0.
void keep_nucleus(std::span<const float> logits,
                  double top_p,
                  double mass,
                  std::span<float> weights) {
  // What is below the floor cannot be in the nucleus: all such tokens together weigh less than
  // (1 - top_p), and mass is at least 1, the weight of the best token. So few are looked at.
  const auto floor = static_cast<float>((1.0 - top_p) / static_cast<double>(logits.size()));
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (weights[i] >= floor && weights[i] > 0) {
      candidates.push_back({.id = static_cast<std::int32_t>(i), .logit = logits[i]});
    }
  }
  const Candidate edge = nucleus_edge(candidates, weights, top_p * mass);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const Candidate token{.id = static_cast<std::int32_t>(i), .logit = logits[i]};
    weights[i] = preferred(edge, token) ? 0.0F : weights[i];
  }
}

// Sets the weights of the tokens to 0 that tell more or less than is typical here: kept are those
// whose information is nearest to the entropy, until `typical_p` of the mass is reached
// (arXiv:2202.00666, in the form of transformers' TypicalLogitsWarper).
void keep_typical(double typical_p, std::span<float> weights) {
  struct Token {
    std::size_t at = 0;
    double probability = 0;
    double distance = 0;  // of its information from the entropy
  };

  const double mass = sum_of(weights);
  std::vector<Token> tokens;
  double entropy = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double p = static_cast<double>(weights[i]) / mass;
    if (p > 0) {
      tokens.push_back({.at = i, .probability = p});
      entropy -= p * std::log(p);
    }
  }
  for (Token& token : tokens) {
    token.distance = std::abs(-std::log(token.probability) - entropy);
  }
  std::ranges::sort(tokens, [](const Token& a, const Token& b) {
    return a.distance < b.distance || (a.distance == b.distance && a.at < b.at);
  });
  double covered = 0;
  std::size_t kept = 0;
  while (kept < tokens.size() && covered < typical_p) {
    covered += tokens[kept++].probability;
  }
  for (const Token& token : std::span(tokens).subspan(kept)) {
    weights[token.at] = 0;
  }
}

void keep_at_least(double min_p, std::span<float> weights) {
  const auto floor = static_cast<float>(min_p) * std::ranges::max(weights);
  for (float& weight : weights) {
    weight = weight < floor ? 0.0F : weight;
  }
}

// Masks the tokens whose bit is not set, a word of bits at a time: most words are all one or zero.
void mask_others(std::span<const std::uint64_t> allowed, std::span<float> logits) {
  constexpr std::size_t kBits = 64;
  for (std::size_t begin = 0; begin < logits.size(); begin += kBits) {
    const std::span<float> part = logits.subspan(begin, std::min(kBits, logits.size() - begin));
    const std::uint64_t word = allowed[begin / kBits];
    if (word == 0) {
      std::ranges::fill(part, -std::numeric_limits<float>::infinity());
    } else if (~word != 0) {
      for (std::size_t i = 0; i < part.size(); ++i) {
        part[i] = (word >> i & 1U) != 0 ? part[i] : -std::numeric_limits<float>::infinity();
      }
    }
  }
}

// Inverse of the cumulative distribution.
std::size_t pick(std::span<const float> weights, double uniform) {
  double left = uniform * sum_of(weights);
  std::size_t last = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) {
      last = i;  // stays when rounding ate the last sliver of the mass
      left -= static_cast<double>(weights[i]);
      if (left < 0) {
        break;
      }
    }
  }
  return last;
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
      typical_p_(sampling.typical_p),
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
                                SamplerScratch& scratch,
                                std::span<const std::uint64_t> allowed) {
  GENESIS_TRY_VOID(check_finite(logits));
  const std::span<const float> adjusted_logits = adjusted(logits, scratch, allowed);
  const Candidate best = argmax(adjusted_logits);
  if (best.logit == -std::numeric_limits<float>::infinity()) {
    return fail(ErrorCode::kInternal,
                "no token may follow: min_tokens or the answer's form masks the whole vocabulary");
  }
  std::int32_t id = best.id;
  if (temperature_ >= kGreedyTemperature) {
    id = draw(adjusted_logits, best.logit, draw_uniform(seed_, choice_, position), scratch);
  }
  return take(logits, id);
}

TokenInfo Sampler::take(std::span<const float> logits, std::int32_t id) {
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
                                         SamplerScratch& scratch,
                                         std::span<const std::uint64_t> allowed) const {
  if (!penalized_ && bias_.empty() && !masks_ends() && allowed.empty()) {
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
  if (!allowed.empty()) {
    mask_others(allowed, out);
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
  // After top_k only the kept tokens are looked at, in order of preference; before it all, by id.
  std::vector<Candidate> kept;
  std::vector<float> kept_logits;
  if (top_k_ > 0 && static_cast<std::size_t>(top_k_) < logits.size()) {
    kept = top_candidates(logits, static_cast<std::size_t>(top_k_));
    std::ranges::transform(kept, std::back_inserter(kept_logits), &Candidate::logit);
    logits = kept_logits;
  }
  scratch.weights.resize(logits.size());
  const std::span<float> weights = scratch.weights;
  const auto inverse_temperature = static_cast<float>(1.0 / temperature_);
  const double mass = softmax_weights(logits, max, inverse_temperature, weights);
  if (top_p_ < 1.0) {
    keep_nucleus(logits, top_p_, mass, weights);
  }
  if (typical_p_ < 1.0) {
    keep_typical(typical_p_, weights);
  }
  if (min_p_ > 0.0) {
    keep_at_least(min_p_, weights);
  }
  const std::size_t at = pick(weights, uniform);
  return kept.empty() ? static_cast<std::int32_t>(at) : kept[at].id;
}

}  // namespace genesis::engine
