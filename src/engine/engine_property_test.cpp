// Answers do not depend on neighbours: random schedules on small pools against one-at-a-time
// generation, tokens and logprobs bit for bit.
#include "engine/collector.h"
#include "engine/engine.h"
#include "engine/fake_runner.h"

#include <gtest/gtest.h>

#include <thread>

namespace genesis::engine {

namespace {

struct Case {
  GenerateRequest request;
  std::shared_ptr<Collector> collector = std::make_shared<Collector>();
  bool aborted = false;
};

// A whole answer, or after abort() a prefix of it.
void expect_agrees(const Case& item, const FakeShape& shape) {
  const Heard heard = item.collector->wait();
  const Heard alone = generate_alone(shape, item.request);
  ASSERT_EQ(heard.ends, 1);
  ASSERT_LE(heard.tokens.size(), alone.tokens.size());
  for (std::size_t i = 0; i < heard.tokens.size(); ++i) {
    ASSERT_TRUE(same_token(heard.tokens[i], alone.tokens[i])) << "token " << i;
  }
  if (heard.error) {
    ASSERT_TRUE(item.aborted) << heard.error->message;
    ASSERT_EQ(heard.error->code, ErrorCode::kCancelled);
    return;
  }
  ASSERT_EQ(heard.tokens.size(), alone.tokens.size());
  ASSERT_EQ(heard.finish, alone.finish);
  if (item.request.sampling.want_prompt_logprobs) {
    ASSERT_EQ(heard.prompt_tokens.size(), item.request.prompt.size());
    for (std::size_t i = 1; i < heard.prompt_tokens.size(); ++i) {
      ASSERT_TRUE(same_token(heard.prompt_tokens[i], alone.prompt_tokens[i - 1])) << "prompt " << i;
    }
  }
}

// Prompts of a fleet: most begin like others, some with an adapter, from the start or from where it
// is activated.
void join_family(Random& random, std::span<const std::int32_t> family, GenerateRequest& request) {
  const auto common = std::min<std::size_t>(random.below(family.size() + 1), request.prompt.size());
  std::copy_n(family.begin(), common, request.prompt.begin());
  request.cache_salt = random.below(5) == 0 ? "other tenant" : "tenant";
  if (random.below(3) == 0) {
    request.adapter.id = static_cast<std::int32_t>(1 + random.below(3));
    request.adapter.content_hash = "content " + std::to_string(request.adapter.id);
    request.adapter.from =
        random.below(2) == 0 ? 0 : static_cast<std::int32_t>(random.below(request.prompt.size()));
  }
}

struct Counts {
  std::uint64_t preemptions = 0;
  std::uint64_t cached_tokens = 0;
  std::uint64_t evictions = 0;
  std::uint64_t accepted = 0;
};

Counts run_schedule(std::uint64_t seed) {
  Random random(seed);
  FakeShape shape;
  shape.page_tokens = static_cast<std::int32_t>(1 + random.below(6));
  shape.num_pages =
      static_cast<std::int32_t>(40 / shape.page_tokens + 4 + static_cast<int>(random.below(20)));
  shape.max_context = 60;
  shape.circles = random.below(2) == 0;
  const int longest = std::min(shape.max_context, shape.page_tokens * shape.num_pages);
  const EngineOptions options{.max_batch = static_cast<int>(1 + random.below(8)),
                              .max_queue = 1'000,
                              .prefill_chunk = static_cast<int>(1 + random.below(40)),
                              .guess_cost = random.below(3) == 0 ? 1.0 : 0.0};
  // A draft model that is the model itself, or one that says something else, with little room.
  std::unique_ptr<Runner> draft_model;
  if (random.below(2) == 0) {
    FakeShape draft_shape = shape;
    draft_shape.circles = random.below(3) == 0 ? !shape.circles : shape.circles;
    draft_shape.num_pages = static_cast<std::int32_t>(4 + random.below(60));
    draft_model = std::make_unique<FakeRunner>(draft_shape, std::make_shared<FakeControl>());
  }
  MetricsRegistry metrics;
  Engine engine(std::make_unique<FakeRunner>(shape, std::make_shared<FakeControl>()),
                options,
                metrics,
                std::move(draft_model));
  std::vector<std::int32_t> family(static_cast<std::size_t>(longest) / 2);
  for (std::int32_t& token : family) {
    token = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(shape.vocab_size)));
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(engine.load_adapter("adapter"));  // ids 1 to 3
  }
  std::vector<Case> cases(24);
  for (Case& item : cases) {
    item.request = random_request(random, shape, longest);
    join_family(random, family, item.request);
    const auto id = engine.submit(item.request, item.collector->listener());
    EXPECT_TRUE(id) << id.error().message;
    if (random.below(6) == 0) {
      item.aborted = true;
      item.collector->wait(random.below(4));
      engine.abort(*id);
    }
  }
  for (const Case& item : cases) {
    expect_agrees(item, shape);
  }
  for (int i = 0; i < 1'000 && engine.stats().free_pages != shape.num_pages; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(engine.stats().free_pages, shape.num_pages);
  const EngineStats stats = engine.stats();
  return {.preemptions = stats.preemptions,
          .cached_tokens = stats.cached_tokens,
          .evictions = stats.evictions,
          .accepted = stats.accepted_tokens};
}

TEST(EngineProperty, EveryScheduleGivesTheAnswerOfTheSequenceAlone) {
  Counts all;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Counts counts = run_schedule(seed);
    all.preemptions += counts.preemptions;
    all.cached_tokens += counts.cached_tokens;
    all.evictions += counts.evictions;
    all.accepted += counts.accepted;
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(all.preemptions, 100U) << "the pools are too large to test preemption";
  EXPECT_GT(all.cached_tokens, 1'000U) << "the prompts are too different to test reuse";
  EXPECT_GT(all.accepted, 1'000U) << "too few guesses were right to test them";
  EXPECT_GT(all.evictions, 100U) << "the pools are too large to test eviction";
}

// Turn after turn with the answer in the next prompt, beside others that do the same.
TEST(EngineProperty, AConversationGoesOnWhereItStopped) {
  std::uint64_t cached = 0;
  std::uint64_t prompts = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    FakeShape shape;
    shape.page_tokens = static_cast<std::int32_t>(4 + random.below(29));
    shape.num_pages = 40;
    shape.max_context = 400;
    MetricsRegistry metrics;
    Engine engine(
        std::make_unique<FakeRunner>(shape, std::make_shared<FakeControl>()), {}, metrics);
    std::vector<std::vector<std::int32_t>> talks(3, std::vector<std::int32_t>{1, 2, 3});
    for (int turn = 0; turn < 5; ++turn) {
      std::vector<Case> cases(talks.size());
      for (std::size_t i = 0; i < talks.size(); ++i) {
        for (std::uint64_t n = 1 + random.below(12); n > 0; --n) {
          talks[i].push_back(static_cast<std::int32_t>(random.below(40)));
        }
        cases[i].request.prompt = talks[i];
        cases[i].request.sampling.max_tokens = static_cast<int>(1 + random.below(20));
        cases[i].request.sampling.temperature = 0;
        ASSERT_TRUE(engine.submit(cases[i].request, cases[i].collector->listener()));
      }
      for (std::size_t i = 0; i < talks.size(); ++i) {
        expect_agrees(cases[i], shape);
        const Heard heard = cases[i].collector->wait();
        for (const TokenInfo& token : heard.tokens) {
          talks[i].push_back(token.id);
        }
        cached += turn > 0 ? static_cast<std::uint64_t>(heard.cached_tokens) : 0;
        prompts += turn > 0 ? cases[i].request.prompt.size() : 0;
      }
    }
    ASSERT_FALSE(HasFailure());
  }
  // New words of a turn are about a fifth of its prompt here.
  EXPECT_GT(cached * 100, prompts * 60);
}

}  // namespace

}  // namespace genesis::engine
