// The weights of one model, packed for the kernels, in one memory region.
#pragma once

#include "base/result.h"
#include "kernel/layout.h"
#include "model/memory_region.h"
#include "model/model_spec.h"
#include "model/thread_pool.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <vector>

namespace genesis::model {

struct LayerWeights {
  kernel::Panels q;
  kernel::Panels k;
  kernel::Panels v;
  kernel::Panels o;
  kernel::Panels gate;
  kernel::Panels up;
  kernel::Panels down;
  std::vector<float> attention_norm;
  std::vector<float> mlp_norm;
  std::vector<float> attention_post_norm;  // empty unless the spec says post_norms
  std::vector<float> mlp_post_norm;        // likewise
  std::vector<float> q_norm;               // empty unless the spec says qk_norm; of one head
  std::vector<float> k_norm;
  std::vector<float> q_bias;  // empty unless the spec says attention_bias
  std::vector<float> k_bias;
  std::vector<float> v_bias;
};

// Immutable after loading. Panels point into `memory`.
struct ModelWeights {
  MemoryRegion memory;
  kernel::Panels embedding;
  kernel::Panels head;  // equal to `embedding` when tied
  std::vector<float> output_norm;
  std::vector<LayerWeights> layers;
};

// Packs every tensor that the spec asks for; nothing points into `file` afterwards. kDataLoss names
// a tensor that is missing, of a wrong shape or not finite.
Result<ModelWeights> load_weights(const weights::TensorFile& file,
                                  const ModelSpec& spec,
                                  bool fp32,
                                  ThreadPool& pool);

}  // namespace genesis::model
