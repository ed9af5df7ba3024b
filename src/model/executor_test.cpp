// The executor on a small random model: against a plain double-precision forward pass, and
// bit-equal over neighbours, chunks, threads and tiers.
#include "model/executor.h"

#include "model/gguf_spec.h"
#include "model/reference_forward.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace genesis::model {
namespace {

std::unique_ptr<CpuExecutor> make_executor(const OpenedModel& opened, LoadOptions options) {
  options.kv_bytes = 16 << 20;
  Result<ModelSpec> spec = spec_from_gguf(*opened.file);
  GENESIS_CHECK(spec.has_value());
  auto executor = CpuExecutor::create(*opened.file, *spec, options);
  GENESIS_CHECK(executor.has_value());
  return std::move(*executor);
}

std::vector<std::int32_t> random_ids(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) {
    id = static_cast<std::int32_t>(random.below(101));
  }
  return ids;
}

// A sequence on its way through steps; pages are dealt in a scattered order.
struct Sequence {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> pages;
  std::size_t done = 0;
  std::vector<float> logits;
};

Sequence make_sequence(std::size_t length, int index, const CpuExecutor& model) {
  Sequence s;
  s.ids = random_ids(length, 100 + static_cast<std::uint64_t>(index));
  const int needed = static_cast<int>(length) / kPageTokens + 1;
  for (int i = 0; i < needed; ++i) {
    s.pages.push_back((index + i * 16) % model.info().num_pages);
  }
  return s;
}

// Runs all sequences together, `chunk` tokens of each a step, and keeps the logits of every token.
void run_all(CpuExecutor& model, std::vector<Sequence>& sequences, std::size_t chunk) {
  const auto vocab = static_cast<std::size_t>(model.info().vocab_size);
  while (true) {
    std::vector<engine::SequenceStep> batch;
    std::vector<Sequence*> owners;
    std::size_t rows = 0;
    for (Sequence& s : sequences) {
      const std::size_t count = std::min(chunk, s.ids.size() - s.done);
      if (count > 0) {
        batch.push_back({std::span(s.ids).subspan(s.done, count),
                         static_cast<std::int32_t>(s.done),
                         s.pages,
                         static_cast<std::int32_t>(count)});
        owners.push_back(&s);
        rows += count;
      }
    }
    if (batch.empty()) {
      return;
    }
    std::vector<float> logits(rows * vocab);
    const Result<void> ran = model.run(batch, logits);
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

std::vector<float> run_alone(CpuExecutor& model, std::size_t length, int index, std::size_t chunk) {
  std::vector<Sequence> one{make_sequence(length, index, model)};
  run_all(model, one, chunk);
  return one[0].logits;
}

TEST(Executor, Fp32AgreesWithADoubleForwardPass) {
  for (const bool variant : {false, true}) {
    TestModel shape;
    shape.tied = variant;
    shape.biases = variant;
    const auto opened = open_test_model(shape);
    const auto model = make_executor(*opened, {.precision = Precision::kFp32, .threads = 1});
    const std::vector<float> ours = run_alone(*model, 90, 3, 256);
    const Sequence sequence = make_sequence(90, 3, *model);
    const std::vector<double> exact =
        reference_forward(*opened->file, *spec_from_gguf(*opened->file), sequence.ids);
    ASSERT_EQ(ours.size(), exact.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(ours[i]), exact[i], 2e-4)
          << "at " << i << " variant " << variant;
    }
  }
}

TEST(Executor, FamiliesAgreeWithADoubleForwardPass) {
  for (const TestModel& shape : family_models()) {
    const auto opened = open_test_model(shape);
    const ModelSpec spec = *spec_from_gguf(*opened->file);
    const auto model = make_executor(*opened, {.precision = Precision::kFp32, .threads = 1});
    const std::size_t length = spec.window > 256 ? 330 : 120;
    const std::vector<float> ours = run_alone(*model, length, 3, 50);
    const std::vector<double> exact =
        reference_forward(*opened->file, spec, make_sequence(length, 3, *model).ids);
    ASSERT_EQ(ours.size(), exact.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(ours[i]), exact[i], 2e-4)
          << "at " << i << " of " << shape.architecture;
    }
  }
}

TEST(Executor, QuantizedStaysNearFp32) {
  const auto opened = open_test_model({});
  const auto exact = make_executor(*opened, {.precision = Precision::kFp32, .threads = 1});
  const auto quantized = make_executor(*opened, {.threads = 1});
  const std::vector<float> a = run_alone(*exact, 64, 1, 64);
  const std::vector<float> b = run_alone(*quantized, 64, 1, 64);
  double error = 0.0;
  double power = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i] - b[i]), 2);
    power += std::pow(static_cast<double>(a[i]), 2);
  }
  EXPECT_LT(std::sqrt(error / power), 0.03);
  EXPECT_GT(std::sqrt(error / power), 1e-5) << "suspiciously equal: is this fp32?";
}

// The heart of "answers do not depend on neighbours".
struct Mode {
  Precision precision;
  KvFormat format;
};

constexpr std::array kModes{Mode{Precision::kQuantized, KvFormat::kInt8},
                            Mode{Precision::kQuantized, KvFormat::kHalf},
                            Mode{Precision::kFp32, KvFormat::kFloat}};

std::string mode_name(const testing::TestParamInfo<Mode>& info) {
  return std::string(info.param.precision == Precision::kFp32 ? "fp32"
                                                              : kv_format_name(info.param.format));
}

class Invariance : public testing::TestWithParam<Mode> {};

TEST_P(Invariance, NeighboursChunksAndThreadsChangeNoBit) {
  const auto opened = open_test_model({});
  const auto first = make_executor(
      *opened, {.precision = GetParam().precision, .threads = 1, .kv_format = GetParam().format});
  constexpr std::size_t kLength = 300;  // crosses a split and several pages
  std::vector<std::vector<float>> alone;
  for (int i = 0; i < 8; ++i) {
    alone.push_back(run_alone(*first, kLength - static_cast<std::size_t>(7 * i), i, 64));
  }
  for (const int threads : {1, 2, 3}) {
    const auto model = make_executor(
        *opened,
        {.precision = GetParam().precision, .threads = threads, .kv_format = GetParam().format});
    for (const std::size_t chunk :
         {std::size_t{1}, std::size_t{16}, std::size_t{64}, std::size_t{512}}) {
      for (const int batch : {1, 2, 5, 8}) {
        if (chunk == 1 && batch > 2) {
          continue;  // long and says nothing new
        }
        std::vector<Sequence> sequences;
        for (int i = 0; i < batch; ++i) {
          sequences.push_back(make_sequence(kLength - static_cast<std::size_t>(7 * i), i, *model));
        }
        run_all(*model, sequences, chunk);
        for (int i = 0; i < batch; ++i) {
          ASSERT_EQ(sequences[static_cast<std::size_t>(i)].logits,
                    alone[static_cast<std::size_t>(i)])
              << threads << " threads, chunk " << chunk << ", batch " << batch << ", sequence "
              << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Invariance, testing::ValuesIn(kModes), mode_name);

class FamilyInvariance : public testing::TestWithParam<Mode> {};

TEST_P(FamilyInvariance, NeighboursChunksAndThreadsChangeNoBit) {
  for (const TestModel& shape : family_models()) {
    const auto opened = open_test_model(shape);
    std::vector<std::vector<float>> alone;
    for (const int threads : {1, 2}) {
      const auto model = make_executor(
          *opened,
          {.precision = GetParam().precision, .threads = threads, .kv_format = GetParam().format});
      for (const std::size_t chunk : {std::size_t{300}, std::size_t{1}, std::size_t{37}}) {
        const bool first = alone.empty();
        std::vector<Sequence> sequences;
        for (int i = 0; i < 3; ++i) {
          const std::size_t length = 330 - static_cast<std::size_t>(90 * i);
          if (first) {
            alone.push_back(run_alone(*model, length, i, chunk));
          }
          sequences.push_back(make_sequence(length, i, *model));
        }
        run_all(*model, sequences, chunk);
        for (std::size_t i = 0; i < sequences.size(); ++i) {
          ASSERT_EQ(sequences[i].logits, alone[i])
              << shape.architecture << ", " << threads << " threads, chunk " << chunk;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, FamilyInvariance, testing::ValuesIn(kModes), mode_name);

TEST(Executor, AllTiersGiveTheSameBitsForAllFamilies) {
  for (const TestModel& shape : family_models()) {
    const auto opened = open_test_model(shape);
    for (const Precision precision : {Precision::kFp32, Precision::kQuantized}) {
      std::vector<float> first;
      for (const kernel::Tier tier : kernel::usable_tiers()) {
        const std::string name(kernel::tier_name(tier));
        const auto model =
            make_executor(*opened, {.precision = precision, .threads = 1, .isa = name});
        const std::vector<float> logits = run_alone(*model, 100, 2, 64);
        first = first.empty() ? logits : first;
        EXPECT_EQ(logits, first) << name << ", " << shape.architecture;
      }
    }
  }
}

TEST(Executor, AllTiersGiveTheSameBits) {
  const auto opened = open_test_model({});
  for (const Mode mode : {Mode{Precision::kFp32, KvFormat::kFloat},
                          Mode{Precision::kQuantized, KvFormat::kHalf},
                          Mode{Precision::kQuantized, KvFormat::kInt8}}) {
    std::vector<float> first;
    for (const kernel::Tier tier : kernel::usable_tiers()) {
      const std::string name(kernel::tier_name(tier));
      const auto model = make_executor(
          *opened,
          {.precision = mode.precision, .threads = 1, .kv_format = mode.format, .isa = name});
      EXPECT_EQ(model->info().isa, name);
      const std::vector<float> logits = run_alone(*model, 290, 2, 64);
      first = first.empty() ? logits : first;
      EXPECT_EQ(logits, first) << name;
    }
  }
}

TEST(Executor, StalePagesOfOthersAreInvisible) {
  const auto opened = open_test_model({});
  const auto model = make_executor(*opened, {.threads = 1});
  const std::vector<float> clean = run_alone(*model, 40, 5, 40);
  // Another sequence leaves its keys in the same pages, also beyond the 40 tokens.
  std::vector<Sequence> other{make_sequence(63, 6, *model)};
  other[0].pages = make_sequence(40, 5, *model).pages;
  run_all(*model, other, 63);
  EXPECT_EQ(run_alone(*model, 40, 5, 40), clean);
}

TEST(Executor, RefusesBatchesThatBreakTheContract) {
  const auto opened = open_test_model({});
  const auto model = make_executor(*opened, {.threads = 1});
  const std::vector<std::int32_t> ids{1, 2, 3};
  const std::vector<std::int32_t> pages{0};
  std::vector<float> logits(101);
  const engine::SequenceStep good{ids, 0, pages, 1};
  EXPECT_TRUE(model->run({&good, 1}, logits));
  const std::vector<std::int32_t> bad_ids{1, 101};
  const std::vector<std::int32_t> negative_ids{-1};
  const std::vector<std::int32_t> bad_pages{model->info().num_pages};
  const std::vector<engine::SequenceStep> bad{{bad_ids, 0, pages, 1},
                                              {negative_ids, 0, pages, 1},
                                              {ids, 0, bad_pages, 1},
                                              {ids, 30, pages, 1},
                                              {ids, -1, pages, 1},
                                              {ids, 0, {}, 1},
                                              {{}, 0, pages, 0},
                                              {ids, 0, pages, 4},
                                              {ids, 0, pages, 2},
                                              {ids, 2147483647, pages, 1}};
  for (const engine::SequenceStep& step : bad) {
    const Result<void> ran = model->run({&step, 1}, logits);
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(Executor, LongStepsAreCutWithoutATrace) {
  const auto opened = open_test_model({.context = 4096});
  const auto model = make_executor(*opened, {.threads = 2});
  EXPECT_EQ(run_alone(*model, 1100, 1, 2000), run_alone(*model, 1100, 1, 100));
}

TEST(Executor, ReportsWhatItLoaded) {
  const auto opened = open_test_model({});
  Result<ModelSpec> spec = spec_from_gguf(*opened->file);
  ASSERT_TRUE(spec);
  LoadOptions options{.threads = 1, .kv_bytes = 100'000};
  const auto model = CpuExecutor::create(*opened->file, *spec, options);
  ASSERT_TRUE(model);
  const engine::RunnerInfo& info = (*model)->info();
  // 2 layers x 2 KV heads x 32 tokens x (key + value) x (32 values of a byte + a float).
  EXPECT_EQ(info.kv_format, "int8");
  EXPECT_EQ(info.page_bytes, 9216);
  EXPECT_EQ(info.num_pages, 10);
  EXPECT_EQ(info.max_context, 320) << "cut to what the pool holds";
  EXPECT_EQ(info.vocab_size, 101);
  options.kv_format = KvFormat::kHalf;
  const auto half = CpuExecutor::create(*opened->file, *spec, options);
  ASSERT_TRUE(half);
  EXPECT_EQ((*half)->info().kv_format, "fp16");
  EXPECT_EQ((*half)->info().page_bytes, 16384);
  options.kv_bytes = 16383;
  const auto none = CpuExecutor::create(*opened->file, *spec, options);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kResourceExhausted);
}

}  // namespace
}  // namespace genesis::model
