// Scheduler: which sequence computes how many tokens in the next step, and on which KV pages.
//
// Pure: numbers in, numbers out; no clock, no tensor, no text, so a schedule can be replayed. Per
// step every decoding sequence gets one token, then prompts are cut into chunks under a token
// budget (decode first, as in vLLM v1 and SGLang). Pages are taken as positions are reached, never
// reserved for max_tokens; when they run out the youngest sequence gives its pages back and later
// recomputes from its own tokens (prompt and generated), which the Runner's contract makes
// invisible in the output.
#pragma once

#include "engine/block_pool.h"
#include "engine/sequence_id.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

namespace genesis::engine {

struct SchedulerOptions {
  std::int32_t max_batch = 64;       // sequences that run together
  std::int32_t prefill_chunk = 256;  // prompt tokens of one step, over all sequences
  std::int32_t page_tokens = 16;
  std::int32_t num_pages = 0;
};

// Tokens [start, start + count) of one sequence are computed in this step.
struct StepPart {
  SequenceId id = 0;
  std::int32_t start = 0;
  std::int32_t count = 0;
  bool completes = false;  // the last known token is among them: its logits give the next token
};

// Not thread-safe: the step thread owns it. The order of calls per step: plan(), then for each part
// advance(), then append() or remove().
class Scheduler {
 public:
  explicit Scheduler(SchedulerOptions options);

  // `tokens` are known (the prompt); of them at most `chunk_limit` are computed in one step. Ids
  // must grow. The sequence must fit the pool alone at its longest: the caller has checked that.
  void add(SequenceId id, std::int32_t tokens, std::int32_t chunk_limit);
  // Finished or aborted, in whatever phase; its pages are free at once.
  void remove(SequenceId id);
  // Empty only when there is no sequence: the oldest one always moves on.
  std::vector<StepPart> plan();
  // `count` further tokens have keys and values now.
  void advance(SequenceId id, std::int32_t count);
  // One more token is known (sampled), not computed yet.
  void append(SequenceId id);

  // Valid until the next plan() or remove().
  std::span<const std::int32_t> pages(SequenceId id) const;

  std::int32_t running() const { return static_cast<std::int32_t>(running_.size()); }

  std::int32_t waiting() const { return static_cast<std::int32_t>(waiting_.size()); }

  std::int32_t free_pages() const { return pool_.free_pages(); }

  std::uint64_t preemptions() const { return preemptions_; }

  // Stops the process when pages, queue order or counts do not add up. For tests: it walks
  // everything.
  void check_invariants() const;

 private:
  struct Entry {
    std::int32_t known = 0;     // tokens that exist
    std::int32_t computed = 0;  // of them, with keys and values in `pages`
    std::int32_t chunk_limit = 0;
    std::vector<std::int32_t> pages;
  };

  void plan_decodes(std::vector<StepPart>& parts);
  std::int32_t plan_prompts(std::vector<StepPart>& parts);
  void admit(std::vector<StepPart>& parts, std::int32_t budget);
  void add_part(std::vector<StepPart>& parts, SequenceId id, std::int32_t count);
  SequenceId preempt_youngest();
  void take_pages(Entry& entry, std::int32_t tokens);
  void release(Entry& entry);
  std::int32_t pages_for(std::int32_t tokens) const;
  std::int32_t room_in(const Entry& entry) const;
  std::int32_t pages_spoken_for() const;

  SchedulerOptions options_;
  BlockPool pool_;
  std::unordered_map<SequenceId, Entry> entries_;
  std::vector<SequenceId> running_;  // oldest first; every one is older than all waiting ones
  std::deque<SequenceId> waiting_;   // oldest first
  std::uint64_t preemptions_ = 0;
};

}  // namespace genesis::engine
