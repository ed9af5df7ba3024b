// Runner: the port between the scheduler and a model executor. Plain numbers and pointers in,
// logits out; the scheduler never sees a tensor and the executor never sees a request.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace genesis::engine {

// What a runner tells once, after loading.
struct RunnerInfo {
  std::string model_name;
  std::string weights_sha256;
  std::string isa;        // e.g. "avx2", "scalar"
  std::string kv_format;  // "int8", "fp16", "fp32"
  std::int32_t vocab_size = 0;
  std::int32_t max_context = 0;  // tokens per sequence, prompt plus output
  std::int32_t page_tokens = 0;  // tokens per KV page
  std::int32_t num_pages = 0;    // pages in the pool
  std::int64_t page_bytes = 0;   // of one page over all layers, keys and values
};

// One sequence's part of a step: `tokens` are computed at positions [start, start + size).
// `pages` are the sequence's KV pages in order and must cover start + size tokens; the runner reads
// keys and values of positions below start from them and writes the new ones.
struct SequenceStep {
  std::span<const std::int32_t> tokens;
  std::int32_t start = 0;
  std::span<const std::int32_t> pages;
  // Logits are produced for the last `logit_rows` of the tokens (0 for an unfinished prefill chunk,
  // 1 for decoding, more for prompt logprobs).
  std::int32_t logit_rows = 0;
  // Positions from adapter_from on are computed with this adapter, those before it by the base
  // model alone; 0 = no adapter. Keys and values of positions before adapter_from are therefore the
  // base model's, and may be shared with it.
  std::int32_t adapter = 0;
  std::int32_t adapter_from = 0;
};

// An adapter that a runner holds.
struct AdapterInfo {
  std::int32_t id = 0;       // never used again after unload_adapter()
  std::string content_hash;  // equal for adapters that do the same
  std::int64_t bytes = 0;    // of memory
  std::int32_t max_rank = 0;
  // An activated adapter: on from the start of the last occurrence of these tokens in the prompt,
  // nowhere if they do not occur. Empty: on everywhere.
  std::vector<std::int32_t> invocation;
};

// Not thread-safe: one step thread calls it. An implementation may use worker threads inside run().
// Contract: a sequence's logits depend on its own tokens and adapter only, bit for bit: not on the
// neighbours in the batch and their adapters, on how a prompt was cut into steps, or on the number
// of threads.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual const RunnerInfo& info() const = 0;
  // `logits` has room for the sum of logit_rows times vocab_size floats, filled in batch order.
  virtual Result<void> run(std::span<const SequenceStep> batch, std::span<float> logits) = 0;

  // These two may be called from any thread, also during run(). An unloaded adapter must not be
  // named in a later step; its memory is given back when no step uses it any more.
  virtual Result<AdapterInfo> load_adapter(const std::filesystem::path& folder) {
    return fail(ErrorCode::kUnsupported,
                "this model does not take adapters (" + folder.string() + ")");
  }

  virtual void unload_adapter(std::int32_t /*id*/) {}
};

}  // namespace genesis::engine
