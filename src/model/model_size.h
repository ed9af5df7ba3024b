// What a model will take in memory, by its description alone: before any weight is read.
#pragma once

#include "kernel/layout.h"
#include "model/kv_pool.h"
#include "model/model_spec.h"

#include <cstdint>

namespace genesis::model {

// Weights of the model, as their makers count them: a tied head counts once.
std::int64_t parameter_count(const ModelSpec& spec);

// Bytes of all matrices packed to one format. Files of mixed types give their own mix.
std::int64_t weight_bytes(const ModelSpec& spec, kernel::Format format);

// Bytes of one token's keys and values in all layers.
std::int64_t kv_token_bytes(const ModelSpec& spec, KvFormat format);

}  // namespace genesis::model
