// Loads a chat model from one weights file: ModelSpec, executor and text assets. The only door into
// this room for the composition root.
#pragma once

#include "base/result.h"
#include "engine/runner.h"
#include "engine/text_assets.h"
#include "model/kv_pool.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace genesis::model {

enum class Precision : std::uint8_t {
  kQuantized,  // packed weights, int8 activations scaled per 32 values
  kFp32,       // weights expanded to float, float activations: the parity mode
};

struct LoadOptions {
  Precision precision = Precision::kQuantized;
  int threads = 0;                              // 0 = physical cores
  std::int64_t kv_bytes = 512LL * 1024 * 1024;  // for the page pool
  KvFormat kv_format = KvFormat::kInt8;         // kFp32 weights always have fp32 pages
  int max_context = 0;  // 0 = what the model declares, cut to what the pool holds
  std::string isa;      // "" = best available; otherwise the name of a kernel tier
  // Keeps packed weights and hashes of files (packed_cache.h); empty = nothing is kept.
  std::filesystem::path cache_folder;
  std::int64_t cache_bytes = 64LL << 30;  // of all entries together
  // Smaller models are packed in less time than a file is worth (SmolLM2-135M: 0.1 s).
  std::int64_t cache_from_bytes = 256LL << 20;
  bool force = false;  // load although memory seems too small
};

struct LoadedModel {
  std::unique_ptr<engine::Runner> runner;
  engine::TextAssets text;
};

// Errors: kDataLoss (hostile or truncated file), kUnsupported (architecture or tensor type, named),
// kResourceExhausted (says how much memory is needed).
Result<LoadedModel> load_model(const std::filesystem::path& path, const LoadOptions& options);

}  // namespace genesis::model
