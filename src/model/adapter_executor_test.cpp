// Adapters in the executor: a sequence's bits are its own whatever its neighbours use, and without
// an adapter they are the base model's. Agreement with PEFT: tests/parity/test_adapters.py.
#include "model/executor.h"
#include "model/gguf_spec.h"
#include "model/test_adapter.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace genesis::model {
namespace {

struct Sequence {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> pages;
  std::int32_t adapter = 0;
  std::int32_t from = 0;
  std::size_t done = 0;
  std::vector<float> logits;
};

class AdapterExecutor : public testing::TestWithParam<Precision> {
 protected:
  std::unique_ptr<CpuExecutor> make(LoadOptions options) {
    options.precision = GetParam();
    options.kv_bytes = 16 << 20;
    auto model = CpuExecutor::create(*opened_->file, spec_, options);
    GENESIS_CHECK(model.has_value());
    for (const auto& [seed, rank] : {std::pair{1, 4}, std::pair{2, 16}, std::pair{3, 33}}) {
      TestAdapter test;
      test.seed = static_cast<std::uint64_t>(seed);
      test.rank = rank;
      auto adapter = test.build(spec_, GetParam() == Precision::kFp32);
      GENESIS_CHECK(adapter.has_value());
      ids_.push_back((*model)->add_adapter(std::move(*adapter)).id);
    }
    return std::move(*model);
  }

  static Sequence sequence(std::size_t length,
                           int index,
                           std::int32_t adapter,
                           std::int32_t from = 0) {
    Sequence s{.adapter = adapter, .from = from};
    Random random(static_cast<std::uint64_t>(100 + index));
    for (std::size_t i = 0; i < length; ++i) {
      s.ids.push_back(static_cast<std::int32_t>(random.below(101)));
    }
    s.pages.resize(length / kPageTokens + 1);
    std::iota(s.pages.begin(), s.pages.end(), index * 8);
    return s;
  }

  // All together, `chunk` tokens of each a step.
  static void run(CpuExecutor& model, const std::vector<Sequence*>& all, std::size_t chunk) {
    const auto vocab = static_cast<std::size_t>(model.info().vocab_size);
    while (true) {
      std::vector<engine::SequenceStep> batch;
      std::vector<Sequence*> owners;
      std::size_t rows = 0;
      for (Sequence* s : all) {
        const std::size_t count = std::min(chunk, s->ids.size() - s->done);
        if (count == 0) {
          continue;
        }
        engine::SequenceStep step;
        step.tokens = std::span(s->ids).subspan(s->done, count);
        step.start = static_cast<std::int32_t>(s->done);
        step.pages = s->pages;
        step.logit_rows = static_cast<std::int32_t>(count);
        step.adapter = s->adapter;
        step.adapter_from = s->from;
        batch.push_back(step);
        owners.push_back(s);
        rows += count;
      }
      if (batch.empty()) {
        return;
      }
      std::vector<float> logits(rows * vocab);
      const auto ran = model.run(batch, logits);
      ASSERT_TRUE(ran) << ran.error().message;
      auto at = logits.begin();
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const auto count = static_cast<std::ptrdiff_t>(batch[i].tokens.size() * vocab);
        owners[i]->logits.insert(owners[i]->logits.end(), at, at + count);
        owners[i]->done += batch[i].tokens.size();
        at += count;
      }
    }
  }

  static std::vector<float> alone(CpuExecutor& model, Sequence s, std::size_t chunk) {
    run(model, {&s}, chunk);
    return s.logits;
  }

  std::unique_ptr<OpenedModel> opened_ = open_test_model({});
  ModelSpec spec_ = *spec_from_gguf(*opened_->file);
  std::vector<std::int32_t> ids_;
};

TEST_P(AdapterExecutor, BitsAreTheSequencesOwn) {
  const auto model = make({.threads = 1});
  std::vector<Sequence> all{sequence(40, 0, ids_[0]),
                            sequence(33, 1, 0),
                            sequence(21, 2, ids_[1], 9),
                            sequence(37, 3, ids_[2]),
                            sequence(5, 4, ids_[0], 3),
                            sequence(40, 5, ids_[1])};
  std::vector<std::vector<float>> expected;
  for (const Sequence& s : all) {
    expected.push_back(alone(*model, s, 64));
  }
  for (const char* isa : {"scalar", ""}) {
    for (const int threads : {1, 2}) {
      ids_.clear();
      const auto other = make({.threads = threads, .isa = isa});
      for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, std::size_t{64}}) {
        std::vector<Sequence> copies = all;
        std::vector<Sequence*> pointers;
        for (Sequence& s : copies) {
          pointers.push_back(&s);
        }
        run(*other, pointers, chunk);
        for (std::size_t i = 0; i < copies.size(); ++i) {
          ASSERT_EQ(copies[i].logits, expected[i]) << "sequence " << i << " isa '" << isa
                                                   << "' threads " << threads << " chunk " << chunk;
        }
      }
    }
  }
}

TEST_P(AdapterExecutor, PositionsBeforeItsActivationAreTheBaseModels) {
  const auto model = make({.threads = 1});
  const auto vocab = static_cast<std::ptrdiff_t>(spec_.vocab);
  const std::vector<float> base = alone(*model, sequence(30, 0, 0), 64);
  for (const std::int32_t from : {0, 11, 30}) {
    const std::vector<float> ours = alone(*model, sequence(30, 0, ids_[1], from), 64);
    EXPECT_TRUE(std::equal(base.begin(), base.begin() + from * vocab, ours.begin())) << from;
    for (std::int32_t row = from; row < 30; ++row) {
      EXPECT_FALSE(std::equal(
          base.begin() + row * vocab, base.begin() + (row + 1) * vocab, ours.begin() + row * vocab))
          << "the adapter does nothing at " << row;
    }
  }
}

TEST_P(AdapterExecutor, WhatIsNotLoadedIsRefusedBeforeAnyWork) {
  const auto model = make({.threads = 1});
  Sequence s = sequence(4, 0, ids_[0]);
  model->unload_adapter(ids_[0]);
  std::vector<float> logits(4 * static_cast<std::size_t>(spec_.vocab));
  engine::SequenceStep step{std::span<const std::int32_t>(s.ids), 0, s.pages, 4};
  for (const auto& [adapter, from] : {std::pair{ids_[0], 0}, std::pair{77, 0}, std::pair{0, -1}}) {
    step.adapter = adapter;
    step.adapter_from = from;
    EXPECT_FALSE(model->run({&step, 1}, logits)) << adapter << " from " << from;
  }
  step.adapter = ids_[1];
  step.adapter_from = 0;
  EXPECT_TRUE(model->run({&step, 1}, logits));
}

INSTANTIATE_TEST_SUITE_P(Precisions,
                         AdapterExecutor,
                         testing::Values(Precision::kFp32, Precision::kQuantized));

}  // namespace
}  // namespace genesis::model
