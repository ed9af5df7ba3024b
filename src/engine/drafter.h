// Drafter: guesses by a smaller model that shares the vocabulary (Leviathan et al. 2023, "Fast
// Inference from Transformers via Speculative Decoding"). The small model writes a few tokens one
// by one, the large one reads them in one step and keeps those that it would have chosen; so the
// answer is the large model's, whatever was guessed.
#pragma once

#include "engine/runner.h"
#include "engine/sequence_id.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

namespace genesis::engine {

// What the small model reads at most in one round of what it has not seen yet, over all sequences:
// prompts must not hold up those who wait for their next token.
inline constexpr std::int32_t kDraftReadAhead = 256;

// Not thread-safe: the step thread owns it.
class Drafter {
 public:
  explicit Drafter(std::unique_ptr<Runner> runner);

  // One sequence that wants guesses behind `tokens`, all that is known of it.
  struct Ask {
    SequenceId id = 0;
    std::span<const std::int32_t> tokens;
    std::int32_t most = 0;
  };

  // What the small model would say next, most likely tokens, at most `most` of them for each ask.
  // None where it has not read the prompt yet, has no room, or does not know a token. An error of
  // the small model is an answer without guesses, and the last: the large one needs none.
  std::vector<std::vector<std::int32_t>> draft(std::span<const Ask> asks);

  // The sequence has ended.
  void forget(SequenceId id);

  bool broken() const { return broken_; }

  std::int32_t free_pages() const { return static_cast<std::int32_t>(free_.size()); }

 private:
  struct Reader {
    std::vector<std::int32_t> read;  // tokens whose keys and values are in `pages`
    std::vector<std::int32_t> pages;
    std::uint64_t used = 0;  // round in which it was wanted last
  };

  bool follow(const Ask& ask, Reader& reader, std::int32_t& left);
  bool make_room(Reader& reader, std::size_t tokens);
  bool release_idle();
  void release(Reader& reader);
  bool run_round(std::span<const SequenceStep> batch);

  std::unique_ptr<Runner> runner_;
  RunnerInfo info_;
  std::unordered_map<SequenceId, Reader> readers_;
  std::vector<std::int32_t> free_;
  std::vector<float> logits_;
  std::uint64_t round_ = 0;
  bool broken_ = false;
};

}  // namespace genesis::engine
