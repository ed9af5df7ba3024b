// Sequences that share pages with others of their step get the bits they get alone with pages of
// their own.
#include "model/executor.h"
#include "model/gguf_spec.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace genesis::model {
namespace {

constexpr std::uint64_t kSeed = 17;

struct Mode {
  Precision precision;
  KvFormat format;
};

std::unique_ptr<CpuExecutor> make_executor(const OpenedModel& opened, Mode mode, int threads) {
  Result<ModelSpec> spec = spec_from_gguf(*opened.file);
  GENESIS_CHECK(spec.has_value());
  auto executor = CpuExecutor::create(*opened.file,
                                      *spec,
                                      {.precision = mode.precision,
                                       .threads = threads,
                                       .kv_bytes = 24 << 20,
                                       .kv_format = mode.format});
  GENESIS_CHECK(executor.has_value());
  return std::move(*executor);
}

// A prefix of whole pages and tokens of its own.
struct Agent {
  std::size_t group = 0;
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> pages;
  std::size_t done = 0;
  std::vector<float> logits;  // of the tokens after the prefix
};

class SharedPrefix : public testing::TestWithParam<Mode> {
 protected:
  std::vector<std::int32_t> random_ids(std::size_t count) {
    std::vector<std::int32_t> ids(count);
    for (std::int32_t& id : ids) {
      id = static_cast<std::int32_t>(random_.below(101));
    }
    return ids;
  }

  std::vector<std::int32_t> take_pages(std::size_t tokens) {
    std::vector<std::int32_t> pages;
    for (std::size_t at = 0; at < tokens; at += kPageTokens) {
      pages.push_back(next_page_++);
    }
    return pages;
  }

  // Runs `count` tokens of each agent in one step; keeps their logits.
  static void step(CpuExecutor& model,
                   const std::vector<Agent*>& agents,
                   const std::vector<std::size_t>& counts) {
    const auto vocab = static_cast<std::size_t>(model.info().vocab_size);
    std::vector<engine::SequenceStep> batch;
    std::size_t rows = 0;
    for (std::size_t i = 0; i < agents.size(); ++i) {
      batch.push_back({std::span(agents[i]->ids).subspan(agents[i]->done, counts[i]),
                       static_cast<std::int32_t>(agents[i]->done),
                       agents[i]->pages,
                       static_cast<std::int32_t>(counts[i])});
      rows += counts[i];
    }
    std::vector<float> logits(rows * vocab);
    const Result<void> ran = model.run(batch, logits);
    ASSERT_TRUE(ran) << ran.error().message;
    auto at = logits.begin();
    for (std::size_t i = 0; i < agents.size(); ++i) {
      const auto end = at + static_cast<std::ptrdiff_t>(counts[i] * vocab);
      agents[i]->logits.insert(agents[i]->logits.end(), at, end);
      agents[i]->done += counts[i];
      at = end;
    }
  }

  // Two prefixes, one ending inside a split; agents of both with different lengths.
  std::vector<Agent> make_agents() {
    std::vector<Agent> agents;
    for (std::size_t group = 0; group < 2; ++group) {
      const std::vector<std::int32_t> prefix = random_ids(group == 0 ? 352 : 160);
      const std::vector<std::int32_t> shared = take_pages(prefix.size());
      for (std::size_t i = 0; i < 5; ++i) {
        Agent agent{.group = group, .ids = prefix, .pages = shared, .done = 0, .logits = {}};
        const std::vector<std::int32_t> own = random_ids(20 + 23 * i);
        agent.ids.insert(agent.ids.end(), own.begin(), own.end());
        const std::vector<std::int32_t> pages = take_pages(own.size() + 1);
        agent.pages.insert(agent.pages.end(), pages.begin(), pages.end());
        agents.push_back(std::move(agent));
      }
    }
    return agents;
  }

  void check(const TestModel& shape, int rounds);

  Random random_{kSeed};
  std::int32_t next_page_ = 0;
};

void SharedPrefix::check(const TestModel& shape, int rounds) {
  const auto opened = open_test_model(shape);
  std::vector<Agent> agents = make_agents();
  const auto reference = make_executor(*opened, GetParam(), 1);
  std::vector<std::vector<float>> alone;
  for (const Agent& agent : agents) {
    Agent own = agent;
    for (std::size_t i = 0; i < own.pages.size(); ++i) {
      own.pages[i] = static_cast<std::int32_t>(2 * i + 1);  // nobody else's
    }
    const std::size_t prefix = agent.group == 0 ? 352 : 160;
    step(*reference, {&own}, {prefix});
    own.logits.clear();
    step(*reference, {&own}, {own.ids.size() - prefix});
    alone.push_back(own.logits);
  }
  for (const int threads : {1, 2}) {
    const auto model = make_executor(*opened, GetParam(), threads);
    for (int round = 0; round < rounds; ++round) {
      std::vector<Agent> batch = agents;
      for (std::size_t i = 0; i < batch.size(); i += 5) {
        const std::size_t prefix = batch[i].group == 0 ? 352 : 160;
        step(*model, {&batch[i]}, {prefix});
        batch[i].logits.clear();
        for (std::size_t j = i + 1; j < i + 5; ++j) {
          batch[j].done = prefix;
        }
      }
      // Mostly single tokens, now and then a chunk of a prompt, in a new order each time.
      for (std::vector<Agent*> active; active.clear(), true;) {
        std::vector<std::size_t> counts;
        for (Agent& agent : batch) {
          const std::size_t left = agent.ids.size() - agent.done;
          if (left > 0 && random_.below(8) != 0) {
            active.insert(
                active.begin() + static_cast<std::ptrdiff_t>(random_.below(active.size() + 1)),
                &agent);
          }
        }
        for (const Agent* agent : active) {
          const std::size_t left = agent->ids.size() - agent->done;
          counts.push_back(std::min<std::size_t>(left, random_.below(3) == 0 ? 9 : 1));
        }
        if (active.empty()) {
          if (std::ranges::all_of(batch, [](const Agent& a) { return a.done == a.ids.size(); })) {
            break;
          }
          continue;
        }
        step(*model, active, counts);
      }
      for (std::size_t i = 0; i < batch.size(); ++i) {
        ASSERT_EQ(batch[i].logits, alone[i])
            << shape.architecture << " agent " << i << ", " << threads << " threads, round "
            << round << ", seed " << kSeed;
      }
    }
  }
}

TEST_P(SharedPrefix, ChangesNoBit) {
  check({}, 6);
}

TEST_P(SharedPrefix, ChangesNoBitWithAWindow) {
  for (const TestModel& shape : family_models()) {
    if (shape.window > 0) {
      next_page_ = 0;
      check(shape, 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         SharedPrefix,
                         testing::Values(Mode{Precision::kQuantized, KvFormat::kInt8},
                                         Mode{Precision::kQuantized, KvFormat::kHalf},
                                         Mode{Precision::kFp32, KvFormat::kFloat}),
                         [](const auto& info) {
                           return std::string(info.param.precision == Precision::kFp32
                                                  ? "fp32"
                                                  : kv_format_name(info.param.format));
                         });

}  // namespace
}  // namespace genesis::model
