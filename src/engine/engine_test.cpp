// The engine on a fake runner: results, limits, overload, failures, accounting.
#include "engine/engine.h"

#include "engine/collector.h"
#include "engine/fake_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

namespace genesis::engine {

namespace {

using testing::HasSubstr;

struct Rig {
  explicit Rig(FakeShape fake_shape = {}, EngineOptions options = {})
      : shape(fake_shape),
        engine(std::make_unique<Engine>(
            std::make_unique<FakeRunner>(shape, control), options, metrics)) {}

  std::shared_ptr<Collector> start(const GenerateRequest& request) {
    auto collector = std::make_shared<Collector>();
    last = engine->submit(request, collector->listener());
    EXPECT_TRUE(last) << last.error().message;
    return collector;
  }

  FakeShape shape;
  std::shared_ptr<FakeControl> control = std::make_shared<FakeControl>();
  MetricsRegistry metrics;
  std::unique_ptr<Engine> engine;
  Result<SequenceId> last = SequenceId{0};
};

GenerateRequest greedy(std::vector<std::int32_t> prompt, int max_tokens) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0.0;
  request.sampling.max_tokens = max_tokens;
  request.sampling.want_logprobs = true;
  return request;
}

void expect_same(const Heard& heard, const Heard& expected) {
  EXPECT_EQ(heard.ends, 1);
  EXPECT_FALSE(heard.error) << heard.error->message;
  EXPECT_EQ(heard.finish, expected.finish);
  ASSERT_EQ(heard.tokens.size(), expected.tokens.size());
  for (std::size_t i = 0; i < heard.tokens.size(); ++i) {
    EXPECT_TRUE(same_token(heard.tokens[i], expected.tokens[i])) << "token " << i;
  }
}

// Statistics are copied once a step, so they may lag behind the last event by a moment.
template <typename Condition>
bool eventually(const Condition& condition) {
  for (int i = 0; i < 3'000; ++i) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST(Engine, GeneratesWhatTheModelSays) {
  Rig rig;
  const GenerateRequest request = greedy({1, 2, 3}, 20);
  expect_same(rig.start(request)->wait(), generate_alone(rig.shape, request));
}

TEST(Engine, WithoutMaxTokensTheContextIsFilled) {
  Rig rig({.max_context = 50});
  GenerateRequest request = greedy({1, 2, 3}, 1);
  request.sampling.max_tokens.reset();
  const Heard heard = rig.start(request)->wait();
  EXPECT_EQ(heard.tokens.size(), 47U);
  EXPECT_EQ(heard.finish, FinishReason::kLength);
}

TEST(Engine, EndTokensEndAndAreTold) {
  Rig rig;
  GenerateRequest request = greedy({1, 2, 3}, 20);
  request.end_ids = {generate_alone(rig.shape, request).tokens[4].id};
  const Heard expected = generate_alone(rig.shape, request);
  ASSERT_EQ(expected.finish, FinishReason::kStop);
  const Heard heard = rig.start(request)->wait();
  expect_same(heard, expected);
  EXPECT_EQ(heard.tokens.back().id, request.end_ids[0]);

  request.sampling.ignore_eos = true;
  EXPECT_EQ(rig.start(request)->wait().tokens.size(), 20U);
}

TEST(Engine, PromptLogprobsComeWithTheFirstToken) {
  Rig rig({.max_context = 200, .page_tokens = 4}, {.prefill_chunk = 7});
  GenerateRequest request = greedy({}, 5);
  for (int i = 0; i < 100; ++i) {
    request.prompt.push_back(i % 40);
  }
  request.sampling.want_prompt_logprobs = true;
  request.sampling.top_logprobs = 2;
  const Heard expected = generate_alone(rig.shape, request);
  const Heard heard = rig.start(request)->wait();
  expect_same(heard, expected);
  ASSERT_EQ(heard.prompt_tokens.size(), 100U);
  EXPECT_EQ(heard.prompt_tokens[0].id, 0);
  EXPECT_TRUE(std::isnan(heard.prompt_tokens[0].logprob));
  for (std::size_t i = 1; i < 100; ++i) {
    EXPECT_TRUE(same_token(heard.prompt_tokens[i], expected.prompt_tokens[i - 1])) << i;
  }
}

TEST(Engine, PromptsAreCutIntoChunks) {
  Rig rig({}, {.prefill_chunk = 16});
  std::vector<std::shared_ptr<Collector>> collectors;
  rig.control->close_gate();
  for (int i = 0; i < 5; ++i) {
    collectors.push_back(rig.start(greedy(std::vector<std::int32_t>(40, i), 4)));
  }
  rig.control->open_gate();
  for (const auto& collector : collectors) {
    EXPECT_EQ(collector->wait().tokens.size(), 4U);
  }
  EXPECT_LE(rig.control->most_prompt_tokens, 16);
  EXPECT_GE(rig.control->largest_batch, 2);
}

ErrorCode code_of(Rig& rig, const GenerateRequest& request) {
  const auto id = rig.engine->submit(request, [](const GenerateEvent&) { ADD_FAILURE(); });
  EXPECT_FALSE(id);
  return id ? ErrorCode::kInternal : id.error().code;
}

TEST(Engine, BadRequestsAreRefusedBeforeAnyWork) {
  Rig rig;
  EXPECT_EQ(code_of(rig, greedy({}, 5)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of(rig, greedy({1, -1}, 5)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of(rig, greedy({40}, 5)), ErrorCode::kInvalidArgument);
  GenerateRequest bias = greedy({1}, 5);
  bias.sampling.logit_bias = {{40, 1.0}};
  EXPECT_EQ(code_of(rig, bias), ErrorCode::kInvalidArgument);
  GenerateRequest hot = greedy({1}, 5);
  hot.sampling.temperature = 3.0;
  EXPECT_EQ(code_of(rig, hot), ErrorCode::kInvalidArgument);
  EXPECT_EQ(rig.control->steps, 0U);
}

TEST(Engine, WhatExceedsTheContextIsRefusedWithBothCounts) {
  Rig rig({.max_context = 20});
  const auto with_output = rig.engine->submit(greedy({1, 2, 3}, 18), [](const GenerateEvent&) {});
  ASSERT_FALSE(with_output);
  EXPECT_EQ(with_output.error().code, ErrorCode::kContextLength);
  EXPECT_THAT(with_output.error().message, HasSubstr("20 tokens"));
  EXPECT_THAT(with_output.error().message, HasSubstr("3 in the prompt and 18 to generate"));
  EXPECT_EQ(with_output.error().param, "prompt");

  GenerateRequest full = greedy(std::vector<std::int32_t>(20, 1), 1);
  full.sampling.max_tokens.reset();
  EXPECT_EQ(code_of(rig, full), ErrorCode::kContextLength);
  EXPECT_EQ(rig.start(greedy({1, 2}, 18))->wait().tokens.size(), 18U);
}

TEST(Engine, WhatExceedsThePoolAloneIsRefusedWithWhatWouldFit) {
  Rig rig({.max_context = 200, .page_tokens = 4, .num_pages = 5});
  const auto id = rig.engine->submit(greedy({1, 2, 3}, 18), [](const GenerateEvent&) {});
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().code, ErrorCode::kResourceExhausted);
  EXPECT_THAT(id.error().message, HasSubstr("holds 20 tokens"));
  EXPECT_EQ(rig.start(greedy({1, 2, 3}, 17))->wait().tokens.size(), 17U);
}

TEST(Engine, AFullQueueRefusesWithRetryAfterAndRecovers) {
  Rig rig({}, {.max_batch = 1, .max_queue = 2});
  rig.control->close_gate();
  std::vector<std::shared_ptr<Collector>> collectors;
  for (int i = 0; i < 3; ++i) {
    collectors.push_back(rig.start(greedy({1, i}, 3)));
  }
  rig.control->wait_until_at_gate();
  const auto refused =
      rig.engine->submit(greedy({1}, 3), [](const GenerateEvent&) { ADD_FAILURE(); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOverloaded);
  ASSERT_TRUE(refused.error().retry_after);
  EXPECT_GE(refused.error().retry_after->count(), 1'000);
  EXPECT_LE(refused.error().retry_after->count(), 60'000);
  rig.control->open_gate();
  for (const auto& collector : collectors) {
    EXPECT_EQ(collector->wait().tokens.size(), 3U);
  }
  EXPECT_EQ(rig.start(greedy({1}, 3))->wait().tokens.size(), 3U);
}

TEST(Engine, AFailedStepFailsItsSequencesAndTheEngineGoesOn) {
  Rig rig;
  for (int round = 1; round <= 3; ++round) {
    rig.control->fail_steps = 1;
    const Heard heard = rig.start(greedy({1, 2}, 5))->wait();
    ASSERT_TRUE(heard.error);
    EXPECT_EQ(heard.error->code, ErrorCode::kInternal);
    EXPECT_THAT(heard.error->message, HasSubstr("scripted failure"));
    EXPECT_EQ(heard.ends, 1);
    EXPECT_TRUE(eventually(
        [&] { return rig.engine->stats().failed_steps == static_cast<std::uint64_t>(round); }));
    EXPECT_EQ(rig.engine->stats().healthy, round < 3);
  }
  EXPECT_EQ(rig.start(greedy({1, 2}, 5))->wait().tokens.size(), 5U);
  EXPECT_TRUE(eventually([&] { return rig.engine->stats().healthy; }));
  EXPECT_TRUE(eventually([&] { return rig.engine->stats().free_pages == rig.shape.num_pages; }));
}

TEST(Engine, OutOfMemoryIsTheEndOfAStepNotOfTheEngine) {
  Rig rig;
  rig.control->no_memory = 1;
  const Heard heard = rig.start(greedy({1, 2}, 5))->wait();
  ASSERT_TRUE(heard.error);
  EXPECT_EQ(heard.error->code, ErrorCode::kInternal);
  EXPECT_THAT(heard.error->message, HasSubstr("out of memory"));
  EXPECT_EQ(rig.start(greedy({1, 2}, 5))->wait().tokens.size(), 5U);
  EXPECT_TRUE(eventually([&] { return rig.engine->stats().free_pages == rig.shape.num_pages; }));
}

TEST(Engine, BrokenLogitsFailOnlyTheirSequence) {
  Rig rig;
  rig.control->close_gate();
  const auto first = rig.start(greedy({1, 2}, 6));
  rig.control->wait_until_at_gate();
  const GenerateRequest request = greedy({3, 4}, 6);
  const auto second = rig.start(request);
  rig.control->broken_logits = 1;
  rig.control->open_gate();
  const Heard heard = first->wait();
  ASSERT_TRUE(heard.error);
  EXPECT_EQ(heard.error->code, ErrorCode::kInternal);
  expect_same(second->wait(), generate_alone(rig.shape, request));
}

TEST(Engine, AbortEndsASequenceBeforeTheNextStep) {
  Rig rig;
  rig.control->close_gate(3);
  const auto collector = rig.start(greedy({1, 2}, 150));
  const SequenceId id = *rig.last;
  rig.control->wait_until_at_gate();
  const auto steps = rig.control->steps.load();
  rig.engine->abort(id);
  rig.engine->abort(id);
  rig.engine->abort(id + 1'000);
  rig.control->open_gate();
  const Heard heard = collector->wait();
  ASSERT_TRUE(heard.error);
  EXPECT_EQ(heard.error->code, ErrorCode::kCancelled);
  EXPECT_EQ(rig.control->steps, steps + 1);  // the one that stood at the gate
  EXPECT_TRUE(eventually([&] { return rig.engine->stats().free_pages == rig.shape.num_pages; }));
}

TEST(Engine, DestructionCancelsEverything) {
  std::vector<std::shared_ptr<Collector>> collectors;
  {
    Rig rig({}, {.max_batch = 2, .max_queue = 10});
    rig.control->close_gate();
    for (int i = 0; i < 6; ++i) {
      collectors.push_back(rig.start(greedy({1, i}, 190)));
    }
    rig.control->open_gate();
  }
  for (const auto& collector : collectors) {
    const Heard heard = collector->wait();
    EXPECT_EQ(heard.ends, 1);
    EXPECT_TRUE(heard.finish || heard.error->code == ErrorCode::kCancelled);
  }
}

TEST(Engine, AListenerMaySubmitAndAbort) {
  Rig rig({}, {.max_batch = 1, .max_queue = 0});
  auto second = std::make_shared<Collector>();
  std::atomic<bool> accepted{false};
  const auto id = rig.engine->submit(greedy({1}, 1), [&](const GenerateEvent& event) {
    if (event.finish) {
      accepted = rig.engine->submit(greedy({2}, 4), second->listener()).has_value();
    }
  });
  ASSERT_TRUE(id);
  ASSERT_TRUE(eventually([&] { return accepted.load(); }));
  EXPECT_EQ(second->wait().tokens.size(), 4U);
}

TEST(Engine, TheHeartbeatMovesWhenIdle) {
  Rig rig;
  const auto before = rig.engine->stats().last_step_unix_ms;
  EXPECT_TRUE(eventually([&] { return rig.engine->stats().last_step_unix_ms > before; }));
  EXPECT_EQ(rig.engine->stats().steps, 0U);
}

TEST(Engine, CountsAndMetricsAddUp) {
  Rig rig;
  rig.start(greedy({1, 2, 3}, 5))->wait();
  rig.start(greedy({1, 2}, 4))->wait();
  ASSERT_TRUE(eventually([&] { return rig.engine->stats().generated_tokens == 9; }));
  EXPECT_EQ(rig.engine->stats().prompt_tokens, 5U);
  EXPECT_EQ(rig.engine->stats().total_pages, 64);
  const std::string text = rig.metrics.expose();
  EXPECT_THAT(text, HasSubstr("genesis_engine_generated_tokens_total 9\n"));
  EXPECT_THAT(text, HasSubstr("genesis_engine_prompt_tokens_total 5\n"));
  EXPECT_THAT(text, HasSubstr("genesis_engine_steps_total 9\n"));
  EXPECT_THAT(text, HasSubstr("genesis_engine_step_duration_seconds_count 9\n"));
  for (const char* name : {"tgi_queue_size 0",
                           "tgi_batch_current_size 0",
                           "genesis_engine_running 0",
                           "genesis_engine_waiting 0",
                           "genesis_engine_free_pages 64",
                           "genesis_engine_preemptions_total 0"}) {
    EXPECT_THAT(text, HasSubstr(name));
  }
}

}  // namespace

}  // namespace genesis::engine
