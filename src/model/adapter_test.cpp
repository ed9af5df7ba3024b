// Adapters read from hostile and honest files.
#include "model/adapter.h"

#include "model/gguf_spec.h"
#include "model/test_adapter.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace genesis::model {
namespace {

const std::string kFirstA = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";

ModelSpec small_spec() {
  const auto opened = open_test_model({});
  return *spec_from_gguf(*opened->file);
}

TEST(Adapter, IsPackedInBlocksOfSixteen) {
  const ModelSpec spec = small_spec();
  TestAdapter test;
  std::vector<float> first;
  test.edit = [&](const std::string& name, std::vector<float>& values) {
    if (name == kFirstA) {
      first = values;
    }
  };
  const auto adapter = test.build(spec, true);
  ASSERT_TRUE(adapter) << adapter.error().message;
  const AdapterMatrices& q = (*adapter)->layers[0][static_cast<std::size_t>(Linear::kQ)];
  EXPECT_EQ(q.rank, 4);
  EXPECT_EQ(q.inputs, spec.hidden);
  EXPECT_EQ(q.outputs, spec.query_size());
  EXPECT_FLOAT_EQ(q.scale, 2.0F);
  EXPECT_EQ((*adapter)->max_rank, 4);
  EXPECT_EQ((*adapter)->layers[1][static_cast<std::size_t>(Linear::kK)].rank, 0);
  const auto* a = reinterpret_cast<const float*>(q.a);
  for (int j = 0; j < 16; ++j) {
    for (int k = 0; k < spec.hidden; ++k) {
      const float expected = j < 4 ? first[static_cast<std::size_t>(j * spec.hidden + k)] : 0.0F;
      ASSERT_EQ(a[k * 16 + j], expected) << j << " " << k;
    }
  }
}

TEST(Adapter, HalfKeepsElevenBitsOfAnySize) {
  const ModelSpec spec = small_spec();
  for (const float size : {1e-6F, 1.0F, 1e6F}) {
    TestAdapter test;
    test.size = size;
    std::vector<float> first;
    test.edit = [&](const std::string& name, std::vector<float>& values) {
      if (name == kFirstA) {
        first = values;
      }
    };
    const auto half = test.build(spec, false);
    ASSERT_TRUE(half) << half.error().message;
    const AdapterMatrices& q = (*half)->layers[0][0];
    const auto* a = reinterpret_cast<const std::uint16_t*>(q.a);
    float largest = 0.0F;
    for (const float v : first) {
      largest = std::max(largest, std::abs(v));
    }
    const float factor = std::ldexp(1.0F, 14 - std::ilogb(largest));
    EXPECT_TRUE(std::isfinite(q.scale));
    EXPECT_GT(q.scale, 0.0F);
    EXPECT_NEAR(weights::half_to_float(a[0]) / factor, first[0], largest / 2048);
  }
}

TEST(Adapter, FusedProjectionsAreCutIntoTheirLayers) {
  const auto opened = open_test_model({.architecture = "phi3"});
  const ModelSpec spec = *spec_from_gguf(*opened->file);
  TestAdapter test;
  std::vector<float> b;
  test.edit = [&](const std::string& name, std::vector<float>& values) {
    if (name.ends_with("layers.1.self_attn.qkv_proj.lora_B.weight")) {
      b = values;
    }
  };
  const auto adapter = test.build(spec, true);
  ASSERT_TRUE(adapter) << adapter.error().message;
  const auto& layer = (*adapter)->layers[1];
  const auto first_row = [&](Linear linear, std::int32_t row) {
    const AdapterMatrices& m = layer[static_cast<std::size_t>(linear)];
    for (std::int32_t d = 0; d < 4; ++d) {
      EXPECT_EQ(reinterpret_cast<const float*>(m.b)[d * 16],
                b[static_cast<std::size_t>(row * 4 + d)]);
    }
  };
  first_row(Linear::kQ, 0);
  first_row(Linear::kK, spec.query_size());
  first_row(Linear::kV, spec.query_size() + spec.kv_size());
  EXPECT_EQ(layer[static_cast<std::size_t>(Linear::kUp)].outputs, spec.mlp);
  test.extra = R"(,"exclude_modules":["q_proj"])";
  EXPECT_TRUE(test.build(spec)) << "no module of this model has that name";
}

TEST(Adapter, HashIsOfWhatItDoes) {
  const ModelSpec spec = small_spec();
  const auto hash = [&](const TestAdapter& test) { return (*test.build(spec))->content_hash; };
  const TestAdapter one;
  TestAdapter described = one;
  described.extra = R"(,"base_model_name_or_path":"x","lora_dropout":0.05)";
  EXPECT_EQ(hash(one), hash(described));
  TestAdapter other = one;
  other.seed = 2;
  EXPECT_NE(hash(one), hash(other));
  TestAdapter scaled = one;
  scaled.extra = R"(,"use_rslora":true)";
  EXPECT_NE(hash(one), hash(scaled));
  TestAdapter activated = one;
  activated.extra = R"(,"alora_invocation_tokens":[3])";
  EXPECT_NE(hash(one), hash(activated));
}

TEST(Adapter, HostileFilesNameTheirTensor) {
  const ModelSpec spec = small_spec();
  const auto refused = [&](const TestAdapter& test, ErrorCode code) {
    const auto adapter = test.build(spec);
    ASSERT_FALSE(adapter);
    EXPECT_EQ(adapter.error().param, kFirstA) << adapter.error().message;
    EXPECT_EQ(adapter.error().code, code) << adapter.error().message;
  };
  TestAdapter missing;
  missing.skip = kFirstA;
  refused(missing, ErrorCode::kDataLoss);
  TestAdapter wrong;
  wrong.outer_too_many = 1;
  refused(wrong, ErrorCode::kDataLoss);
  TestAdapter integers;
  integers.type = "I32";
  refused(integers, ErrorCode::kDataLoss);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    TestAdapter poisoned;
    poisoned.edit = [&](const std::string& name, std::vector<float>& values) {
      if (name == kFirstA) {
        values[7] = bad;
      }
    };
    refused(poisoned, ErrorCode::kDataLoss);
  }
}

TEST(Adapter, WhatNoTargetNamesIsRefused) {
  const ModelSpec spec = small_spec();
  TestAdapter test;
  test.extra = R"(,"exclude_modules":["model.layers.0.self_attn.q_proj"])";
  const auto adapter = test.build(spec);
  ASSERT_FALSE(adapter);
  EXPECT_EQ(adapter.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(adapter.error().param, kFirstA);
}

// Every prefix and many bit flips: an error or an adapter, never anything else.
TEST(Adapter, SurvivesDamagedBytes) {
  const ModelSpec spec = small_spec();
  const TestAdapter test;
  const std::string whole = test.safetensors(spec);
  Random random(5);
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string bytes = whole;
    if (i % 2 == 0) {
      bytes.resize(random.below(whole.size()));
    } else {
      bytes[random.below(1500)] ^= static_cast<char>(1U << random.below(8));
    }
    const auto file = weights::TensorFile::from_bytes(weights::testing::as_bytes(bytes));
    if (!file || !build_adapter(test.config(), **file, spec, false)) {
      ++refused;
    }
  }
  EXPECT_GE(refused, 200) << "every truncated file is refused";
}

}  // namespace
}  // namespace genesis::model
