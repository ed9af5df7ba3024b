// Clients that go away in every phase: 1,000 aborts at random times leak no page and no slot.
#include "engine/collector.h"
#include "engine/engine.h"
#include "engine/fake_runner.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace genesis::engine {

namespace {

TEST(EngineAbort, AThousandRandomAbortsLeakNothing) {
  const std::uint64_t seed = 20'261'123;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  const FakeShape shape{.page_tokens = 4, .num_pages = 40};
  MetricsRegistry metrics;
  Engine engine(std::make_unique<FakeRunner>(shape, std::make_shared<FakeControl>()),
                {.max_batch = 6, .max_queue = 40, .prefill_chunk = 16},
                metrics);
  int aborts = 0;
  std::vector<std::pair<SequenceId, std::shared_ptr<Collector>>> live;
  while (aborts < 1'000) {
    const auto collector = std::make_shared<Collector>();
    if (const auto id = engine.submit(random_request(random, shape, 120), collector->listener())) {
      live.emplace_back(*id, collector);
    } else {
      ASSERT_EQ(id.error().code, ErrorCode::kOverloaded) << id.error().message;
    }
    // Just arrived, waiting, in its prompt, decoding, ended: whichever it is.
    if (live.size() > 20 || random.below(2) == 0) {
      const auto at = static_cast<std::ptrdiff_t>(random.below(live.size()));
      if (random.below(3) == 0) {
        live[static_cast<std::size_t>(at)].second->wait(random.below(8));
      }
      engine.abort(live[static_cast<std::size_t>(at)].first);
      ++aborts;
      ASSERT_EQ(live[static_cast<std::size_t>(at)].second->wait().ends, 1);
      live.erase(live.begin() + at);
    }
  }
  for (const auto& [id, collector] : live) {
    engine.abort(id);
  }
  for (const auto& [id, collector] : live) {
    ASSERT_EQ(collector->wait().ends, 1);
  }
  EngineStats stats = engine.stats();
  for (int i = 0; i < 1'000 && stats.free_pages != shape.num_pages; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    stats = engine.stats();
  }
  EXPECT_EQ(stats.free_pages, shape.num_pages);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
  // Every place is free again: the door takes as many as at the beginning.
  std::vector<SequenceId> again;
  while (const auto id = engine.submit({.prompt = {1}, .sampling = {.max_tokens = 100}},
                                       [](const GenerateEvent&) {})) {
    again.push_back(*id);
    ASSERT_LE(again.size(), 100'000U);
  }
  EXPECT_GE(again.size(), 46U);
}

}  // namespace

}  // namespace genesis::engine
