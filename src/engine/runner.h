// Runner: the port between the scheduler and a model executor. Plain numbers and pointers in,
// logits out; the scheduler never sees a tensor and the executor never sees a request.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace genesis::engine {

// What a runner tells once, after loading.
struct RunnerInfo {
  std::string model_name;
  std::string weights_sha256;
  std::string isa;  // e.g. "avx2", "scalar"
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
};

// Not thread-safe: one step thread calls it. An implementation may use worker threads inside run().
// Contract: a sequence's logits depend on its own tokens only, bit for bit: not on the neighbours
// in the batch, on how a prompt was cut into steps, or on the number of threads.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual const RunnerInfo& info() const = 0;
  // `logits` has room for the sum of logit_rows times vocab_size floats, filled in batch order.
  virtual Result<void> run(std::span<const SequenceStep> batch, std::span<float> logits) = 0;
};

}  // namespace genesis::engine
