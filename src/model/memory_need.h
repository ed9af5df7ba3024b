// What a model will need before it is loaded, and what the machine has.
#pragma once

#include "base/result.h"
#include "model/loader.h"
#include "model/model_spec.h"
#include "weights/tensor_file.h"

#include <cstdint>
#include <string>

namespace genesis::model {

struct MemoryNeed {
  std::int64_t weights = 0;  // packed
  std::int64_t keys_values = 0;
  std::int64_t scratch = 0;  // activations, tokenizer

  std::int64_t total() const { return weights + keys_values + scratch; }
};

// From the header alone: no tensor is read.
MemoryNeed memory_need(const weights::TensorFile& file,
                       const ModelSpec& spec,
                       const LoadOptions& options);

// What can be had without swapping: MemAvailable of /proc/meminfo, cut to what is left of the
// control group and of RLIMIT_AS. 0 = unknown.
std::int64_t memory_free();

// "weights 3.9 GiB, keys and values 0.5 GiB, scratch 0.1 GiB: needs 4.5 GiB of 20.1 GiB free"
std::string memory_sentence(const MemoryNeed& need, std::int64_t free_bytes);

// kResourceExhausted, with that sentence, when it cannot fit.
Result<void> check_memory(const MemoryNeed& need, std::int64_t free_bytes);

}  // namespace genesis::model
