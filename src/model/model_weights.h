// The weights of one model, packed for the kernels, in one memory region.
#pragma once

#include "base/result.h"
#include "kernel/layout.h"
#include "model/memory_region.h"
#include "model/model_spec.h"
#include "model/packed_file.h"
#include "model/thread_pool.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
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

// Immutable after loading. Panels point into `memory`, or into the packed file that `owner` keeps.
struct ModelWeights {
  MemoryRegion memory;
  std::shared_ptr<const weights::TensorFile> owner;
  kernel::Panels embedding;
  kernel::Panels head;  // equal to `embedding` when tied
  std::vector<float> output_norm;
  std::vector<LayerWeights> layers;
};

// Where packed weights come from and go to besides plain memory (packed_cache.h). Owned by the
// caller; null members: packed into memory of this process.
struct PanelPlace {
  bool fp32 = false;
  const PackedPanels* ready = nullptr;  // packed before: nothing is packed, they are used in place
  // Gives the region to pack into, told the formats of all matrices and their bytes.
  std::function<Result<MemoryRegion>(std::span<const kernel::Format>, std::size_t)> allocate;
};

// Packs every tensor that the spec asks for; nothing points into `file` afterwards. kDataLoss names
// a tensor that is missing, of a wrong shape or not finite, or says that ready panels are of
// another model.
Result<ModelWeights> load_weights(const weights::TensorFile& file,
                                  const ModelSpec& spec,
                                  const PanelPlace& place,
                                  ThreadPool& pool);

}  // namespace genesis::model
