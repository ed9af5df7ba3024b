// The sampler against analytic distributions and naive references in double precision.
#include "engine/sampler.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace genesis::engine {

namespace {

std::vector<float> random_row(std::uint64_t seed, std::size_t size, double spread = 4.0) {
  Random random(seed);
  std::vector<float> row(size);
  for (float& logit : row) {
    logit =
        static_cast<float>((random.uniform() + random.uniform() + random.uniform() - 1.5) * spread);
  }
  return row;
}

// Probability of every token after temperature, top_k, top_p, typical_p and min_p, by full sort in
// double.
std::vector<double> analytic(std::span<const float> logits, const Sampling& s) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [&](auto a, auto b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  std::vector<double> p(logits.size(), 0.0);
  const auto normalize = [&] {
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    std::ranges::for_each(p, [sum](double& x) { x /= sum; });
  };
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] = std::exp((static_cast<double>(logits[i]) - static_cast<double>(logits[order[0]])) /
                    s.temperature);
  }
  for (std::size_t i = 0; s.top_k > 0 && i < order.size(); ++i) {
    p[order[i]] = std::cmp_less(i, s.top_k) ? p[order[i]] : 0.0;
  }
  normalize();
  double before = 0;
  for (const std::size_t i : order) {
    const double mass = p[i];
    p[i] = before < s.top_p || s.top_p >= 1.0 ? mass : 0.0;
    before += mass;
  }
  normalize();
  if (s.typical_p < 1.0) {
    double entropy = 0;
    for (const double x : p) {
      entropy -= x > 0 ? x * std::log(x) : 0.0;
    }
    std::vector<std::pair<double, std::size_t>> distances;
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (p[i] > 0) {
        distances.emplace_back(std::abs(std::log(p[i]) + entropy), i);
      }
    }
    std::ranges::sort(distances);
    double covered = 0;
    for (const auto& [distance, i] : distances) {
      const double mass = p[i];
      p[i] = covered < s.typical_p ? mass : 0.0;
      covered += mass;
    }
    normalize();
  }
  const double most = std::ranges::max(p);
  for (double& x : p) {
    x = x < s.min_p * most ? 0.0 : x;
  }
  normalize();
  return p;
}

double chi_square_limit(double degrees) {
  return degrees +
         5.0 * std::sqrt(2.0 * degrees);  // about one in a million, and the seeds are fixed
}

void expect_distribution(const Sampling& sampling, std::uint64_t seed) {
  const std::vector<float> row = random_row(seed, 50);
  const std::vector<double> expected = analytic(row, sampling);
  Sampling seeded = sampling;
  seeded.seed = seed;
  Sampler sampler(seeded, {}, {}, 0);
  SamplerScratch scratch;
  constexpr int kDraws = 60'000;
  std::vector<int> counts(row.size(), 0);
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    ++counts[static_cast<std::size_t>(sampler.next(row, i, scratch)->id)];
  }
  double chi = 0;
  double degrees = -1;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (expected[i] == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " was cut away";
      continue;
    }
    const double want = expected[i] * kDraws;
    chi += (counts[i] - want) * (counts[i] - want) / want;
    degrees += 1;
  }
  EXPECT_LE(chi, chi_square_limit(std::max(degrees, 1.0)));
}

TEST(Sampler, DrawsFollowTheAnalyticDistribution) {
  expect_distribution({.temperature = 1.0}, 11);
  expect_distribution({.temperature = 0.5}, 12);
  expect_distribution({.temperature = 1.7}, 13);
  expect_distribution({.temperature = 1.0, .top_k = 7}, 14);
  expect_distribution({.temperature = 1.0, .top_p = 0.8}, 15);
  expect_distribution({.temperature = 0.9, .min_p = 0.1}, 16);
  expect_distribution({.temperature = 1.3, .top_p = 0.7, .top_k = 20, .min_p = 0.05}, 17);
  expect_distribution({.temperature = 1.0, .top_p = 0.95, .min_p = 0.2}, 18);
  expect_distribution({.temperature = 1.0, .typical_p = 0.5}, 19);
  expect_distribution({.temperature = 0.8, .top_p = 0.9, .typical_p = 0.6, .min_p = 0.1}, 20);
}

TEST(Sampler, TruncationIsExactOnALargeVocabulary) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const std::vector<float> row = random_row(seed, 49'152, 12.0);
    Sampling sampling{.temperature = 0.8, .top_p = 0.9, .seed = seed};
    const std::vector<double> allowed = analytic(row, sampling);
    Sampler sampler(sampling, {}, {}, 0);
    SamplerScratch scratch;
    for (std::uint64_t i = 0; i < 50; ++i) {
      EXPECT_GT(allowed[static_cast<std::size_t>(sampler.next(row, i, scratch)->id)], 0.0);
    }
  }
}

TEST(Sampler, AFlatDistributionReachesEveryToken) {
  const std::vector<float> row(64, 1.5F);
  for (const double top_p : {1.0, 0.999999}) {
    Sampler sampler({.temperature = 1.0, .top_p = top_p, .seed = 3}, {}, {}, 0);
    SamplerScratch scratch;
    std::vector<int> counts(row.size(), 0);
    for (std::uint64_t i = 0; i < 6'400; ++i) {
      ++counts[static_cast<std::size_t>(sampler.next(row, i, scratch)->id)];
    }
    EXPECT_GT(*std::ranges::min_element(counts), 50);
  }
}

TEST(Sampler, GreedyTakesTheLowestIdAmongEquals) {
  std::vector<float> row(40, 0.0F);
  row[9] = row[23] = row[39] = 2.0F;
  Sampler sampler({.temperature = 0.0}, {}, {}, 0);
  SamplerScratch scratch;
  EXPECT_EQ(sampler.next(row, 0, scratch)->id, 9);
  Sampler nearly({.temperature = 1e-7}, {}, {}, 0);
  EXPECT_EQ(nearly.next(row, 0, scratch)->id, 9);
  Sampler top_one({.temperature = 1.0, .top_k = 1}, {}, {}, 0);
  EXPECT_EQ(top_one.next(row, 0, scratch)->id, 9);
}

TEST(Sampler, TheSameSeedChoiceAndPositionGiveTheSameToken) {
  const std::vector<float> row = random_row(5, 1'000);
  const auto run = [&](std::optional<std::uint64_t> seed, std::uint32_t choice) {
    Sampler sampler({.temperature = 1.0, .seed = seed}, {}, {}, choice);
    SamplerScratch scratch;
    std::vector<std::int32_t> ids;
    for (std::uint64_t i = 0; i < 32; ++i) {
      ids.push_back(sampler.next(row, i, scratch)->id);
    }
    return ids;
  };
  EXPECT_EQ(run(7, 0), run(7, 0));
  EXPECT_NE(run(7, 0), run(8, 0));
  EXPECT_NE(run(7, 0), run(7, 1));
  EXPECT_NE(run(std::nullopt, 0), run(std::nullopt, 0));
}

TEST(Sampler, DrawsAreUniformAndUncorrelated) {
  double sum = 0;
  double product = 0;
  constexpr int kDraws = 100'000;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double u = draw_uniform(1, 0, i);
    ASSERT_TRUE(u >= 0.0 && u < 1.0);
    sum += u;
    product += (u - 0.5) * (draw_uniform(1, 0, i + 1) - 0.5);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(product / kDraws, 0.0, 5.0 / 12 / std::sqrt(kDraws));
}

TEST(Sampler, PenaltiesFollowTheReference) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    Sampling sampling{.temperature = 0.0};
    sampling.repetition_penalty = 0.5 + random.uniform() * 1.5;
    sampling.presence_penalty = random.uniform() * 4 - 2;
    sampling.frequency_penalty = random.uniform() * 4 - 2;
    sampling.logit_bias = {{3, 1.25}, {7, -2.5}};
    const std::vector<std::int32_t> prompt{1, 2, 2, 5};
    Sampler sampler(sampling, prompt, {}, 0);
    SamplerScratch scratch;
    std::vector<std::int32_t> output;
    for (std::uint64_t i = 0; i < 30; ++i) {
      const std::vector<float> row = random_row(seed * 100 + i, 12);
      std::vector<double> expected(row.begin(), row.end());
      for (std::int32_t id = 0; id < 12; ++id) {
        double& logit = expected[static_cast<std::size_t>(id)];
        const auto count = std::ranges::count(output, id);
        if (count > 0 || std::ranges::count(prompt, id) > 0) {
          logit =
              logit > 0 ? logit / sampling.repetition_penalty : logit * sampling.repetition_penalty;
        }
        logit -= sampling.frequency_penalty * static_cast<double>(count);
        logit -= count > 0 ? sampling.presence_penalty : 0.0;
        logit += sampling.logit_bias.contains(id) ? sampling.logit_bias.at(id) : 0.0;
      }
      const auto best = std::ranges::max_element(expected) - expected.begin();
      output.push_back(sampler.next(row, i, scratch)->id);
      ASSERT_EQ(output.back(), best);
    }
  }
}

TEST(Sampler, LogprobsAreOfTheRawLogitsWithAlternatives) {
  const std::vector<float> row = random_row(77, 49'152, 10.0);
  double sum = 0;
  for (const float logit : row) {
    sum += std::exp(static_cast<double>(logit));
  }
  Sampling sampling{.temperature = 0.3, .top_p = 0.5, .repetition_penalty = 1.5};
  sampling.want_logprobs = true;
  sampling.top_logprobs = 20;
  sampling.logit_bias = {{100, 50.0}};
  const std::vector<std::int32_t> prompt{100};
  Sampler sampler(sampling, prompt, {}, 0);
  SamplerScratch scratch;
  const auto token = sampler.next(row, 0, scratch);
  ASSERT_TRUE(token);
  EXPECT_EQ(token->id, 100);
  EXPECT_NEAR(token->logprob, static_cast<double>(row[100]) - std::log(sum), 1e-5);
  ASSERT_EQ(token->top.size(), 20U);
  std::vector<float> sorted = row;
  std::ranges::sort(sorted, std::greater());
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(row[static_cast<std::size_t>(token->top[i].id)], sorted[i]);
    EXPECT_NEAR(token->top[i].logprob, static_cast<double>(sorted[i]) - std::log(sum), 1e-5);
  }
}

TEST(Sampler, AlternativesAtATieAreTheLowerIds) {
  std::vector<float> row(30, 1.0F);
  row[29] = 2.0F;
  const TokenInfo info = token_logprobs(row, 5, 4);
  ASSERT_EQ(info.top.size(), 4U);
  EXPECT_EQ(info.top[0].id, 29);
  EXPECT_EQ(info.top[1].id, 0);
  EXPECT_EQ(info.top[2].id, 1);
  EXPECT_EQ(info.top[3].id, 2);
  EXPECT_EQ(token_logprobs(row, 5, 0).top.size(), 0U);
  EXPECT_EQ(token_logprobs(std::span(row).first(3), 1, 20).top.size(), 3U);
}

TEST(Sampler, EndTokensAreMaskedUntilMinTokens) {
  std::vector<float> row(16, 0.0F);
  row[4] = 9.0F;
  row[5] = 5.0F;
  const std::vector<std::int32_t> ends{4};
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature, .seed = 1, .min_tokens = 3}, {}, ends, 0);
    SamplerScratch scratch;
    for (std::uint64_t i = 0; i < 3; ++i) {
      EXPECT_NE(sampler.next(row, i, scratch)->id, 4);
    }
  }
  Sampler greedy({.temperature = 0.0, .min_tokens = 1}, {}, ends, 0);
  SamplerScratch scratch;
  EXPECT_EQ(greedy.next(row, 0, scratch)->id, 5);
  EXPECT_EQ(greedy.next(row, 1, scratch)->id, 4);
}

TEST(Sampler, BrokenLogitsAreAnError) {
  for (const float broken : {std::numeric_limits<float>::quiet_NaN(),
                             std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity()}) {
    for (const double temperature : {0.0, 1.0}) {
      std::vector<float> row = random_row(1, 33);
      row[32] = broken;
      Sampler sampler({.temperature = temperature}, {}, {}, 0);
      SamplerScratch scratch;
      const auto token = sampler.next(row, 0, scratch);
      ASSERT_FALSE(token);
      EXPECT_EQ(token.error().code, ErrorCode::kInternal);
    }
  }
}

TEST(Sampler, AMaskOverEverythingIsAnError) {
  const std::vector<float> row(2, 0.0F);
  const std::vector<std::int32_t> ends{0, 1};
  Sampler sampler({.temperature = 1.0, .min_tokens = 1}, {}, ends, 0);
  SamplerScratch scratch;
  EXPECT_FALSE(sampler.next(row, 0, scratch));
}

TEST(Sampler, ExtremeLogitsDoNotOverflow) {
  std::vector<float> row(100, -3e38F);
  row[42] = 3e38F;
  row[43] = 2e38F;
  for (const double temperature : {0.0, 0.01, 2.0}) {
    Sampler sampler({.temperature = temperature, .seed = 1}, {}, {}, 0);
    SamplerScratch scratch;
    EXPECT_EQ(sampler.next(row, 0, scratch)->id, 42);
  }
}

TEST(Softmax, WeightsAreCloseToExp) {
  std::vector<float> row;
  for (int i = 0; i <= 8'700; ++i) {
    row.push_back(static_cast<float>(-i) / 100.0F);
  }
  row.push_back(-1'000.0F);
  std::vector<float> weights(row.size());
  softmax_weights(row, 0.0F, 1.0F, weights);
  EXPECT_EQ(weights[0], 1.0F);
  for (std::size_t i = 0; i < 8'600; ++i) {
    const double exact = std::exp(static_cast<double>(row[i]));
    ASSERT_NEAR(static_cast<double>(weights[i]) / exact, 1.0, 3e-7) << row[i];
  }
  EXPECT_EQ(weights.back(), 0.0F);
}

}  // namespace

}  // namespace genesis::engine
