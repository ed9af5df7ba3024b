// For tests: a listener that keeps what it hears, and the naive one-at-a-time generation that every
// schedule must agree with.
#pragma once

#include "base/check.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/fake_guide.h"
#include "engine/fake_runner.h"
#include "engine/sampler.h"
#include "engine/softmax.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace genesis::engine {

struct Heard {
  std::vector<TokenInfo> tokens;
  std::vector<TokenInfo> prompt_tokens;
  std::optional<FinishReason> finish;
  std::optional<Error> error;
  int ends = 0;  // must become 1
  std::int64_t cached_tokens = 0;
};

class Collector : public std::enable_shared_from_this<Collector> {
 public:
  GenerateListener listener() {
    return [self = shared_from_this()](GenerateEvent&& event) { self->hear(std::move(event)); };
  }

  // What was heard until the end, or until `tokens` of them; gives up after a minute.
  Heard wait(std::size_t tokens = SIZE_MAX) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::minutes(1), [&] {
      return heard_.ends > 0 || heard_.tokens.size() >= tokens;
    });
    return heard_;
  }

 private:
  void hear(GenerateEvent&& event) {
    const std::scoped_lock lock(mutex_);
    heard_.ends += event.finish || event.error ? 1 : 0;
    if (!event.prompt_tokens.empty()) {
      heard_.prompt_tokens = std::move(event.prompt_tokens);
    }
    if (event.token.id >= 0) {
      heard_.tokens.push_back(std::move(event.token));
    }
    heard_.finish = event.finish;
    heard_.cached_tokens = std::max(heard_.cached_tokens, event.cached_tokens);
    heard_.error = std::move(event.error);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;
};

inline bool same_token(const TokenInfo& a, const TokenInfo& b) {
  if (a.id != b.id || a.logprob != b.logprob || a.top.size() != b.top.size()) {
    return false;
  }
  for (std::size_t i = 0; i < a.top.size(); ++i) {
    if (a.top[i].id != b.top[i].id || a.top[i].logprob != b.top[i].logprob) {
      return false;
    }
  }
  return true;
}

// The same request on the fake model with nothing else in the world: no batch, pages or chunks.
inline Heard generate_alone(const FakeShape& shape, const GenerateRequest& request) {
  const auto vocab = static_cast<std::size_t>(shape.vocab_size);
  std::vector<float> row(vocab);
  std::uint64_t state = 0;
  std::int32_t position = 0;
  std::int32_t last = 0;
  const auto read = [&](std::int32_t token) {
    last = token;
    const bool on = position++ >= request.adapter.from;
    state = fake_state(state, token, on ? request.adapter.id : 0);
  };
  Heard heard;
  for (std::size_t i = 0; i < request.prompt.size(); ++i) {
    if (request.sampling.want_prompt_logprobs && i > 0) {
      fake_logits(fake_source(shape, state, last), row);
      heard.prompt_tokens.push_back(
          token_logprobs(row, request.prompt[i], request.sampling.top_logprobs));
    }
    read(request.prompt[i]);
  }
  Sampler sampler(request.sampling, request.prompt, request.end_ids, request.choice);
  SamplerScratch scratch;
  const std::unique_ptr<Guide> guide = request.make_guide ? request.make_guide() : nullptr;
  std::vector<std::int32_t> forced;  // the next one last
  const auto most = static_cast<std::size_t>(request.sampling.max_tokens.value_or(
      shape.max_context - static_cast<int>(request.prompt.size())));
  while (heard.tokens.size() < most && !heard.finish) {
    fake_logits(fake_source(shape, state, last), row);
    if (forced.empty()) {
      std::vector<std::uint64_t> allowed(guide ? (vocab + 63) / 64 : 0);
      if (guide) {
        GENESIS_CHECK(guide->mask(allowed, 1'000'000));
      }
      heard.tokens.push_back(
          *sampler.next(row, request.prompt.size() + heard.tokens.size(), scratch, allowed));
    } else {
      heard.tokens.push_back(sampler.take(row, forced.back()));
      forced.pop_back();
    }
    const std::int32_t id = heard.tokens.back().id;
    read(id);
    const bool end = !request.sampling.ignore_eos &&
                     std::ranges::find(request.end_ids, id) != request.end_ids.end();
    if (guide && !end) {
      GENESIS_CHECK(guide->accept(id));
      if (forced.empty()) {
        forced = guide->forced();
        std::ranges::reverse(forced);
      }
    }
    if (end || (guide && guide->must_end())) {
      heard.finish = FinishReason::kStop;
    }
  }
  heard.finish = heard.finish.value_or(FinishReason::kLength);
  return heard;
}

// A request that uses a random part of what sampling offers; always seeded.
inline GenerateRequest random_request(Random& random, const FakeShape& shape, int longest) {
  GenerateRequest request;
  const auto vocab = static_cast<std::uint64_t>(shape.vocab_size);
  const auto prompt = 1 + random.below(static_cast<std::uint64_t>(longest) / 2);
  for (std::uint64_t i = 0; i < prompt; ++i) {
    request.prompt.push_back(static_cast<std::int32_t>(random.below(vocab)));
  }
  Sampling& sampling = request.sampling;
  sampling.max_tokens =
      static_cast<int>(1 + random.below(static_cast<std::uint64_t>(longest) - prompt));
  sampling.temperature = random.below(3) == 0 ? 0.0 : 0.3 + random.uniform();
  sampling.top_k = random.below(3) == 0 ? static_cast<int>(1 + random.below(vocab)) : 0;
  sampling.top_p = random.below(3) == 0 ? 0.5 + random.uniform() / 2 : 1.0;
  sampling.typical_p = random.below(4) == 0 ? 0.3 + random.uniform() / 2 : 1.0;
  sampling.min_p = random.below(4) == 0 ? random.uniform() / 4 : 0.0;
  sampling.repetition_penalty = random.below(4) == 0 ? 1.2 : 1.0;
  sampling.frequency_penalty = random.below(4) == 0 ? 0.5 : 0.0;
  sampling.min_tokens = static_cast<int>(random.below(4));
  sampling.seed = random.next();
  sampling.want_logprobs = true;
  sampling.top_logprobs = static_cast<int>(random.below(4));
  sampling.want_prompt_logprobs = random.below(4) == 0;
  request.choice = static_cast<std::uint32_t>(random.below(3));
  if (random.below(2) == 0) {
    request.end_ids = {static_cast<std::int32_t>(random.below(vocab))};
  }
  if (random.below(3) == 0) {
    request.make_guide = FakeGuide::factory(random.next(), shape.vocab_size, request.end_ids);
    sampling.min_tokens = 0;
    sampling.want_logprobs = sampling.want_prompt_logprobs || random.below(2) == 0;
    sampling.top_k = 0;
  }
  return request;
}

}  // namespace genesis::engine
