// Engine: queue, continuous batching and sampling over a Runner, on one step thread of its own.
//
// submit() and abort() may be called from any thread; events come on the step thread, so a listener
// only hands them over. Everything is bounded: the queue refuses with kOverloaded and a Retry-After
// estimated from its own speed.
#pragma once

#include "api/chat.h"
#include "base/metrics.h"
#include "base/result.h"
#include "engine/guide.h"
#include "engine/runner.h"
#include "engine/sequence_id.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace genesis::engine {

// Which adapter the runner applies from which position on; id 0 = none.
struct AdapterUse {
  std::int32_t id = 0;
  std::int32_t from = 0;
  std::string content_hash;
};

// One choice to generate. Stop strings are the caller's (they need text): it aborts on a match.
struct GenerateRequest {
  std::vector<std::int32_t> prompt;
  Sampling sampling;
  std::vector<std::int32_t> end_ids;
  std::uint32_t choice = 0;  // mixed into the seed, so that n choices differ
  AdapterUse adapter;
  GuideFactory make_guide;
  // Prompts share keys and values only with prompts of the same salt: the tenant.
  std::string cache_salt;
  std::string request_id;  // for the log
  std::string flow;        // who shares the engine fairly with others
  Priority priority = Priority::kNormal;
};

// One generated token, or the end. Sent in order, the end exactly once (also after abort()). The
// last token's event carries `finish` itself; an end token is sent too. Under a guide several
// tokens may come at once; where nothing may follow any more, the answer ends as by an end token.
struct GenerateEvent {
  TokenInfo token;  // id -1 when only `finish` or `error` is told
  // On the first event, when prompt logprobs were asked for; the first token's logprob is NaN,
  // since nothing precedes it.
  std::vector<TokenInfo> prompt_tokens;
  std::optional<FinishReason> finish;
  std::optional<Error> error;
  std::int64_t prompt_tokens_count = 0;
  std::int64_t cached_tokens = 0;
};

using GenerateListener = std::function<void(GenerateEvent&&)>;

struct EngineOptions {
  int max_batch = 64;  // sequences that run together
  // Sequences that wait for a place in the batch; with max_batch + max_queue alive, the next is
  // refused with kOverloaded.
  int max_queue = 256;
  int prefill_chunk = 512;  // prompt tokens computed in one step at most, over all sequences
  // A step in which some wait for their next token takes about so long at most: prompts get the
  // rest.
  std::chrono::milliseconds step_target{50};
  bool prefix_cache = true;
  bool speculation = true;  // guess by prompt lookup and by a draft model, where it pays
  // What a guess costs of what it saves; nullopt: as the steps' times say.
  std::optional<double> guess_cost = std::nullopt;
};

struct EngineStats {
  int running = 0;
  int waiting = 0;
  int free_pages = 0;  // held by no sequence
  int kept_pages = 0;  // of the free ones, those that keep a block of the prefix cache
  int total_pages = 0;
  std::uint64_t steps = 0;
  std::int64_t last_step_unix_ms = 0;  // moves also when idle: a heartbeat
  std::uint64_t generated_tokens = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t cached_tokens = 0;  // of the prompt tokens, those taken from the prefix cache
  std::uint64_t evictions = 0;
  std::uint64_t guessed_tokens = 0;   // computed as guesses
  std::uint64_t accepted_tokens = 0;  // of them, those that proved right
  std::uint64_t preemptions = 0;
  std::uint64_t failed_steps = 0;  // steps in which the runner returned an error
  bool healthy = true;             // false after 3 failed steps in a row, until one succeeds
};

// A failed Runner step ends the sequences that were in it with kInternal; the engine goes on.
class Engine {
 public:
  // `draft_model`, which may be null, guesses what `runner` would say (drafter.h). It must have the
  // same vocabulary, but for tokens at the end that only one of them has.
  Engine(std::unique_ptr<Runner> runner,
         EngineOptions options,
         MetricsRegistry& metrics,
         std::unique_ptr<Runner> draft_model = nullptr);
  ~Engine();  // aborts everything and joins the step thread
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const RunnerInfo& info() const;
  // Errors before any work: kContextLength, kInvalidArgument, kOverloaded, kResourceExhausted,
  // kUnavailable (being destroyed). The listener is called only after a success, possibly before
  // submit() returns; it may call submit() and abort(), and must not throw.
  Result<SequenceId> submit(GenerateRequest request, GenerateListener listener);
  // The sequence leaves the batch before the next step; its last event says kCancelled. Nothing
  // happens when it has ended already.
  void abort(SequenceId id);
  EngineStats stats() const;

  // As the runner's. A request that names an adapter which is not loaded is refused with kNotFound;
  // one that is unloaded stays for the requests that use it already. Any thread; loading reads
  // files.
  Result<AdapterInfo> load_adapter(const std::filesystem::path& folder);
  void unload_adapter(std::int32_t id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace genesis::engine
