// What is told beforehand is what loading takes.
#include "model/model_size.h"

#include "model/gguf_spec.h"
#include "model/model_weights.h"
#include "model/test_model.h"

#include <gtest/gtest.h>

namespace genesis::model {
namespace {

TEST(ModelSize, WeightsTakeWhatWasTold) {
  ThreadPool pool(1);
  for (TestModel shape : family_models()) {
    for (const bool fp32 : {false, true}) {
      shape.type_of = [](const std::string&) { return kGgufQ8_0; };
      const auto opened = open_test_model(shape);
      const ModelSpec spec = *spec_from_gguf(*opened->file);
      const auto weights = load_weights(*opened->file, spec, {.fp32 = fp32}, pool);
      ASSERT_TRUE(weights) << weights.error().message;
      const auto told = weight_bytes(spec, fp32 ? kernel::Format::kF32 : kernel::Format::kQ8);
      EXPECT_EQ(weights->memory.size(), static_cast<std::size_t>(told)) << shape.architecture;
      std::int64_t elements = 0;
      for (const weights::TensorView& tensor : opened->file->tensors()) {
        elements += tensor.elements();
      }
      EXPECT_EQ(parameter_count(spec), elements) << shape.architecture;
    }
  }
}

TEST(ModelSize, PagesTakeWhatWasTold) {
  const auto opened = open_test_model({});
  const ModelSpec spec = *spec_from_gguf(*opened->file);
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kHalf, KvFormat::kFloat}) {
    const auto pool = KvPool::create(spec, format, 1 << 20);
    ASSERT_TRUE(pool);
    EXPECT_EQ(kv_token_bytes(spec, format) * kPageTokens, pool->page_bytes());
  }
}

}  // namespace
}  // namespace genesis::model
