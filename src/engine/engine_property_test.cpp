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

std::uint64_t run_schedule(std::uint64_t seed) {
  Random random(seed);
  FakeShape shape;
  shape.page_tokens = static_cast<std::int32_t>(1 + random.below(6));
  shape.num_pages =
      static_cast<std::int32_t>(40 / shape.page_tokens + 4 + static_cast<int>(random.below(20)));
  shape.max_context = 60;
  const int longest = std::min(shape.max_context, shape.page_tokens * shape.num_pages);
  const EngineOptions options{.max_batch = static_cast<int>(1 + random.below(8)),
                              .max_queue = 1'000,
                              .prefill_chunk = static_cast<int>(1 + random.below(40))};
  MetricsRegistry metrics;
  Engine engine(
      std::make_unique<FakeRunner>(shape, std::make_shared<FakeControl>()), options, metrics);
  std::vector<Case> cases(24);
  for (Case& item : cases) {
    item.request = random_request(random, shape, longest);
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
  return engine.stats().preemptions;
}

TEST(EngineProperty, EveryScheduleGivesTheAnswerOfTheSequenceAlone) {
  std::uint64_t preemptions = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    preemptions += run_schedule(seed);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(preemptions, 100U) << "the pools are too large to test preemption";
}

}  // namespace

}  // namespace genesis::engine
