// A Runner for tests: logits are a pure function of the sequence's tokens, and every call is
// checked against the port's contract, with a KV cache that notices a page used by two sequences.
#pragma once

#include "engine/runner.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace genesis::engine {

// What a test may do to a runner that the engine owns; any thread.
struct FakeControl {
  std::atomic<int> fail_steps{0};     // the next so many steps return an error
  std::atomic<int> no_memory{0};      // the next so many steps throw std::bad_alloc
  std::atomic<int> broken_logits{0};  // the next so many steps give NaN in the first row
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::uint64_t> tokens{0};
  std::atomic<int> largest_batch{0};
  std::atomic<int> loaded{0};  // adapters
  std::atomic<int> unloaded{0};
  std::atomic<int> most_prompt_tokens{0};  // in parts of more than one token, in one step

  // run() may begin `more` times yet, then waits at its beginning until the gate is open.
  void close_gate(int more = 0);
  void open_gate();
  void pass_gate();
  // Returns when a run() stands at the gate.
  void wait_until_at_gate();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<int> passes_;  // unset: open
  bool at_gate_ = false;
};

struct FakeShape {
  std::int32_t vocab_size = 40;
  std::int32_t max_context = 200;
  std::int32_t page_tokens = 4;
  std::int32_t num_pages = 64;
  // The next token depends on the last one alone: answers run in circles, so guesses are often
  // right.
  bool circles = false;
};

// What a model is here: a hash of the tokens so far, and logits drawn from it.
// An adapter makes another model of it, from its position on.
std::uint64_t fake_state(std::uint64_t before, std::int32_t token, std::int32_t adapter = 0);
void fake_logits(std::uint64_t state, std::span<float> row);
// What fake_logits() takes after `token`, which led to `state`.
std::uint64_t fake_source(const FakeShape& shape, std::uint64_t state, std::int32_t token);

class FakeRunner final : public Runner {
 public:
  FakeRunner(const FakeShape& shape, std::shared_ptr<FakeControl> control);

  const RunnerInfo& info() const override { return info_; }

  Result<void> run(std::span<const SequenceStep> batch, std::span<float> logits) override;
  Result<AdapterInfo> load_adapter(const std::filesystem::path& folder) override;
  void unload_adapter(std::int32_t id) override;

 private:
  struct Cell {
    std::int32_t position = -1;
    std::int32_t token = -1;
    std::uint64_t state = 0;
  };

  Cell& cell(std::span<const std::int32_t> pages, std::int32_t position);
  std::uint64_t read_prefix(const SequenceStep& step);
  void check_batch(std::span<const SequenceStep> batch, std::size_t logits) const;

  FakeShape shape_;
  RunnerInfo info_;
  std::shared_ptr<FakeControl> control_;
  std::vector<Cell> cache_;
};

}  // namespace genesis::engine
