// Scheduler: which sequence computes how many tokens in the next step, and on which KV pages.
//
// Pure: numbers in, numbers out; no clock, no tensor, no text, so a schedule can be replayed. Per
// step every decoding sequence gets one token, then prompts are cut into chunks under a token
// budget (decode first, as in vLLM v1 and SGLang). Pages are taken as positions are reached, never
// reserved for max_tokens; when they run out the youngest sequence gives its pages back and later
// recomputes from its own tokens (prompt and generated), which the Runner's contract makes
// invisible in the output.
//
// Who waits comes in by priority, and within one by fair share: of the flows (agents) that wait,
// the one that got the fewest tokens computed lately is next (Sheng et al. 2024, "Fairness in
// Serving Large Language Models"). Within a flow the order is that of arrival.
//
// Prefix cache: pages that are complete are named (block_hash.h) and stay after their sequence, so
// that a sequence that begins with the same blocks takes them instead of computing them. A block
// that an older sequence computes in this very step is waited for: of many prompts that begin
// alike and come together, one is computed.
#pragma once

#include "api/chat.h"
#include "engine/block_hash.h"
#include "engine/page_cache.h"
#include "engine/sequence_id.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace genesis::engine {

struct SchedulerOptions {
  std::int32_t max_batch = 64;       // sequences that run together
  std::int32_t prefill_chunk = 256;  // prompt tokens of one step, over all sequences
  std::int32_t page_tokens = 16;
  std::int32_t num_pages = 0;
  bool prefix_cache = true;
};

// A sequence as it comes.
struct Arrival {
  SequenceId id = 0;
  std::int32_t tokens = 0;       // of the prompt
  std::int32_t chunk_limit = 0;  // of them computed in one step at most
  BlockNamer namer;
  std::vector<BlockHash> names;  // of the prompt's whole pages
  // The prompt itself, where a page that is not full may be gone on with; may be null.
  std::shared_ptr<const std::vector<std::int32_t>> prompt = nullptr;
  bool reuse = true;  // false: every token is computed here (its logits are wanted)
  std::string flow;   // who shares fairly with others: an agent of a tenant
  Priority priority = Priority::kNormal;
};

// Why the rest of a prompt had to be computed.
enum class CacheMiss : std::uint8_t {
  kNone,            // all whole pages were there, but for what the last token needs
  kNew,             // nothing known begins with the first page
  kDiverged,        // known up to there, then different or longer than what was kept
  kEvicted,         // was there, and had to make room
  kPromptLogprobs,  // the request wants the logits of its prompt
  kOff,
};
std::string_view cache_miss_name(CacheMiss miss);

// What the cache did for a prompt.
struct CacheUse {
  std::int32_t cached = 0;  // tokens that were not computed for this sequence
  CacheMiss miss = CacheMiss::kNone;
  std::int32_t miss_at = 0;  // position of the first token computed
};

// Tokens [start, start + count) of one sequence are computed in this step.
struct StepPart {
  SequenceId id = 0;
  std::int32_t start = 0;
  std::int32_t count = 0;
  bool completes = false;   // the last known token is among them: its logits give the next token
  std::int32_t drafts = 0;  // of `count`, those behind the known ones: guesses
};

// Not thread-safe: the step thread owns it. The order of calls per step: plan(), then for each part
// advance(), then append() or remove().
class Scheduler {
 public:
  explicit Scheduler(SchedulerOptions options);

  // Ids are never used again. The sequence must fit the pool alone at its longest: the caller has
  // checked that.
  void add(Arrival arrival);
  // Finished or aborted, in whatever phase; its pages are free at once.
  void remove(SequenceId id);
  // The same; the page that is not full is kept. `tokens` are all that the sequence knows.
  void remove(SequenceId id, std::span<const std::int32_t> tokens);
  // Empty only when there is no sequence: the oldest one always moves on. `beside` bounds the
  // prompt tokens of a step in which others wait for their next token.
  std::vector<StepPart> plan(std::int32_t beside);

  std::vector<StepPart> plan() { return plan(options_.prefill_chunk); }

  // `count` further tokens have keys and values now, which are to be trusted. `tokens` are all that
  // the sequence knows.
  void advance(SequenceId id, std::int32_t count, std::span<const std::int32_t> tokens);
  // One more token is known (sampled, or forced behind a sampled one), not computed yet.
  void append(SequenceId id);
  // So many guesses may be computed behind the last known token in the next step. Those that prove
  // right become known and computed by append() and advance(), one by one.
  void propose(SequenceId id, std::int32_t drafts);

  // Valid until the next plan() or remove().
  std::span<const std::int32_t> pages(SequenceId id) const;

  // Tokens that exist and are not computed.
  std::int32_t behind(SequenceId id) const {
    const Entry& entry = entries_.at(id);
    return entry.known - entry.computed;
  }

  // Tokens that exist, computed or not.
  std::int32_t known(SequenceId id) const { return entries_.at(id).known; }

  // Of the prompt, as it was when its first token was computed.
  const CacheUse& cache_use(SequenceId id) const;

  std::int32_t running() const { return static_cast<std::int32_t>(running_.size()); }

  std::int32_t waiting() const { return static_cast<std::int32_t>(waiting_.size()); }

  // Pages that nobody holds, and of them those that keep a block.
  std::int32_t free_pages() const { return pages_.available(); }

  std::int32_t kept_pages() const { return pages_.kept(); }

  std::uint64_t evictions() const { return pages_.evictions(); }

  std::uint64_t preemptions() const { return preemptions_; }

  // Stops the process when pages, queue order or counts do not add up. For tests: it walks
  // everything.
  void check_invariants() const;

 private:
  struct Entry {
    std::int32_t known = 0;     // tokens that exist
    std::int32_t computed = 0;  // of them, with keys and values in `pages`
    std::int32_t chunk_limit = 0;
    BlockNamer namer;
    std::vector<BlockHash> names;  // of whole pages of known tokens, as far as needed
    std::shared_ptr<const std::vector<std::int32_t>> prompt;
    bool reuse = true;
    bool first_pass = true;  // the prompt is computed for the first time
    bool started = false;    // a token of it was computed
    std::int32_t drafts = 0;
    CacheUse use;
    std::vector<std::int32_t> pages;
    std::string flow;
    Priority priority = Priority::kNormal;
    std::uint64_t since = 0;  // the plan before which it came
  };

  // Those who share: one agent of one tenant.
  struct Flow {
    int sequences = 0;
    std::uint64_t tokens = 0;  // computed for it, and for others before it came
  };

  // Blocks that an entry could take from the cache now.
  struct Match {
    std::int32_t blocks = 0;
    std::int32_t kept = 0;  // of them, held by nobody: taking them makes pages scarcer
  };

  void plan_decodes(std::vector<StepPart>& parts);
  std::int32_t plan_prompts(std::vector<StepPart>& parts, std::int32_t budget);
  void admit(std::vector<StepPart>& parts, std::int32_t budget);
  std::size_t next_waiting() const;
  int rank(const Entry& entry) const;
  void leave_flow(const std::string& name);
  void add_part(std::vector<StepPart>& parts,
                SequenceId id,
                std::int32_t count,
                std::int32_t drafts = 0);
  std::int32_t chunk_of(const Entry& entry, std::int32_t budget) const;
  bool next_block_is_whole(const Entry& entry, std::int32_t computed) const;
  Match match(const Entry& entry) const;
  void adopt(Entry& entry);
  void adopt_part(Entry& entry);
  BlockHash place_of(const Entry& entry, std::int32_t block) const;
  bool awaits(const Entry& entry) const;
  void note_start(Entry& entry) const;
  SequenceId preempt_youngest();
  void take_pages(Entry& entry, std::int32_t tokens);
  void release(Entry& entry);
  std::int32_t pages_for(std::int32_t tokens) const;
  std::int32_t room_in(const Entry& entry) const;
  std::int32_t pages_spoken_for() const;

  SchedulerOptions options_;
  PageCache pages_;
  std::unordered_map<SequenceId, Entry> entries_;
  std::vector<SequenceId> running_;  // in the order in which they came in
  std::deque<SequenceId> waiting_;   // those that had to leave again first, then by arrival
  std::unordered_map<std::string, Flow> flows_;  // those with a sequence here
  std::uint64_t virtual_time_ = 0;  // tokens of the flow that came in last, when it did
  std::uint64_t plans_ = 0;
  std::unordered_set<BlockHash, BlockHashHasher> claimed_;  // blocks computed in this step
  std::uint64_t preemptions_ = 0;
};

}  // namespace genesis::engine
