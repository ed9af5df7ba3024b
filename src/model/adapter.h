// A LoRA adapter in memory: packed for the kernels, immutable, independent of the files it came
// from. Read from what PEFT's save_pretrained() writes: adapter_config.json and
// adapter_model.safetensors.
#pragma once

#include "base/result.h"
#include "kernel/adapter.h"
#include "model/adapter_config.h"
#include "model/memory_region.h"
#include "model/model_spec.h"
#include "weights/tensor_file.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::model {

// The two matrices of one linear layer, in blocks of 16 outputs (kernel/adapter.h). In binary16
// they are stored times a power of two that brings their largest value near 2^14, so that nothing
// of a matrix is lost but bits below its eleventh; `scale` takes that back.
struct AdapterMatrices {
  std::int32_t rank = 0;  // 0: the layer is left alone
  std::int32_t inputs = 0;
  std::int32_t outputs = 0;
  float scale = 0.0F;
  const std::uint8_t* a = nullptr;
  const std::uint8_t* b = nullptr;

  std::int32_t padded_rank() const {
    return (rank + kernel::kAdapterBlock - 1) / kernel::kAdapterBlock * kernel::kAdapterBlock;
  }
};

struct Adapter {
  MemoryRegion memory;
  bool half = true;  // else float: the parity mode
  std::vector<std::array<AdapterMatrices, kLinears>> layers;
  AdapterMatrices head;
  std::vector<std::int32_t> invocation;
  std::int32_t max_rank = 0;
  // SHA-256 over what the adapter does: layers, ranks, scales, values as float, invocation. The
  // same for any storage type, order of tensors or metadata.
  std::string content_hash;

  std::size_t value_bytes() const { return half ? sizeof(std::uint16_t) : sizeof(float); }
};

// Errors name the field or tensor: kDataLoss (malformed, wrong shape, not finite, half a pair),
// kUnsupported, kNotFound, kPayloadTooLarge (files far above what this model's adapters can take).
Result<std::shared_ptr<const Adapter>> read_adapter(const std::filesystem::path& folder,
                                                    const ModelSpec& spec,
                                                    bool fp32);
// The same from what the two files hold; for tests and fuzzing too.
Result<std::shared_ptr<const Adapter>> build_adapter(std::string_view config_json,
                                                     const weights::TensorFile& file,
                                                     const ModelSpec& spec,
                                                     bool fp32);

}  // namespace genesis::model
