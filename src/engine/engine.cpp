// The engine: a door that any thread may knock at (submit, abort, stats) and one step thread that
// owns the scheduler, the samplers and the runner. They meet in Door, under its mutex.
#include "engine/engine.h"

#include "base/check.h"
#include "base/log.h"
#include "engine/admission.h"
#include "engine/drafter.h"
#include "engine/drain_meter.h"
#include "engine/engine_metrics.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/step_budget.h"
#include "text/grammar/matcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace genesis::engine {

namespace {

// The heartbeat moves at least this often when idle.
constexpr std::chrono::milliseconds kIdleTick{400};
// Failed steps in a row after which the engine calls itself unhealthy.
constexpr int kFailuresUntilUnhealthy = 3;
// Rows of logits per step for a prompt with logprobs: 32 rows of a 150,000 token vocabulary are 19
// MB.
constexpr std::int32_t kPromptLogprobRows = 32;

SchedulerOptions scheduler_options(const RunnerInfo& info, const EngineOptions& options) {
  return {.max_batch = options.max_batch,
          .prefill_chunk = options.prefill_chunk,
          .page_tokens = info.page_tokens,
          .num_pages = info.num_pages,
          .prefix_cache = options.prefix_cache};
}

}  // namespace

struct Engine::Impl {
  Impl(std::unique_ptr<Runner> model_runner,
       EngineOptions engine_options,
       MetricsRegistry& registry,
       std::unique_ptr<Runner> draft_model)
      : runner(std::move(model_runner)),
        info(runner->info()),
        options(engine_options),
        metrics(registry),
        scheduler(scheduler_options(info, options)),
        budget(options.step_target, info.page_tokens, options.prefill_chunk) {
    if (draft_model) {
      drafter.emplace(std::move(draft_model));
    }
    GENESIS_CHECK(info.vocab_size > 0 && info.max_context > 1 && options.max_queue >= 0);
    door.stats.total_pages = info.num_pages;
    door.stats.free_pages = info.num_pages;
    door.stats.last_step_unix_ms = clock.unix_ms();
    thread = std::thread([this] { step_loop(); });
  }

  ~Impl() {
    {
      const std::scoped_lock lock(door.mutex);
      door.stopping = true;
    }
    door.knocked.notify_one();
    thread.join();
  }

  // Any thread.
  Result<SequenceId> submit(GenerateRequest request, GenerateListener listener);
  void abort(SequenceId id);
  EngineStats stats() const;
  Result<AdapterInfo> load_adapter(const std::filesystem::path& folder);
  void unload_adapter(std::int32_t id);

  // The step thread.
  void step_loop();
  bool collect_commands();
  Result<void> run(std::span<const StepPart> parts);
  Result<void> run_batch(std::size_t rows);
  void note_cost(std::span<const StepPart> parts, StepBudget::Seconds time);
  void sample_and_emit(std::span<const StepPart> parts);
  void take_logits(Sequence& sequence, const StepPart& part, std::span<const float> rows);
  Result<TokenInfo> choose(Sequence& sequence, std::span<const float> row);
  bool emit_forced(Sequence& sequence);
  std::int64_t note_cache_use(Sequence& sequence);
  bool emit_token(Sequence& sequence, TokenInfo token);
  void guess(Sequence& sequence);
  void propose(Sequence& sequence, std::span<const std::int32_t> drafts, DraftSource source);
  void ask_draft_model(std::span<const StepPart> parts);
  void fail_step(std::span<const StepPart> parts, const Error& error);
  void fail_sequence(SequenceId id, Error error);
  void end_sequence(SequenceId id, GenerateEvent event);
  void account();

  // A loaded adapter: how many requests use it, and whether it goes with the last of them.
  struct AdapterUses {
    int requests = 0;
    bool retired = false;
  };

  struct Door {
    mutable std::mutex mutex;
    std::condition_variable knocked;
    std::vector<Sequence> arrivals;
    std::vector<SequenceId> aborts;
    std::unordered_set<SequenceId> alive;      // submitted, last event not sent
    std::unordered_set<SequenceId> abortable;  // of these, not asked to stop yet
    std::unordered_map<std::int32_t, AdapterUses> adapters;
    SequenceId next_id = 1;
    bool stopping = false;
    DrainMeter drain;
    EngineStats stats;
  };

  const std::unique_ptr<Runner> runner;
  const RunnerInfo info;
  const EngineOptions options;
  const SystemClock clock;
  EngineMetrics metrics;
  Door door;

  // Only the step thread touches what follows.
  Scheduler scheduler;
  StepBudget budget;
  std::unordered_map<SequenceId, Sequence> sequences;
  std::vector<SequenceStep> batch;
  std::vector<float> logits;
  SamplerScratch scratch;
  int failures_in_a_row = 0;
  double guess_cost = 1.0;  // of the last step, see StepBudget
  int decodes = 1;          // in the last step
  std::optional<Drafter> drafter;
  StepBudget::Seconds draft_time{0};  // of a guess of the draft model, a moving average
  EngineStats counts;                 // the counters; copied into door.stats once a step
  std::thread thread;
};

Result<SequenceId> Engine::Impl::submit(GenerateRequest request, GenerateListener listener) {
  GENESIS_TRY(const std::int32_t max_output, admit(info, request));
  // Built outside the lock: a long prompt's penalties and block names take a while.
  Sequence sequence(std::move(request), info, max_output, std::move(listener));
  SequenceId id = 0;
  {
    const std::scoped_lock lock(door.mutex);
    if (door.stopping) {
      return fail(ErrorCode::kUnavailable, "the engine is shutting down");
    }
    const auto alive = static_cast<int>(door.alive.size());
    if (alive >= options.max_batch + options.max_queue) {
      const int waiting = std::max(alive - options.max_batch, 0);
      Error error;
      error.code = ErrorCode::kOverloaded;
      error.message = fmt::format("the engine is full: {} requests run or wait", alive);
      error.retry_after = door.drain.retry_after(waiting, clock.steady());
      error.hint = fmt::format("try again in {} s", (error.retry_after->count() + 999) / 1000);
      return std::unexpected(std::move(error));
    }
    if (sequence.adapter.id != 0) {
      const auto uses = door.adapters.find(sequence.adapter.id);
      if (uses == door.adapters.end() || uses->second.retired) {
        return fail_param("model", "the adapter is not loaded any more", ErrorCode::kNotFound);
      }
      ++uses->second.requests;
    }
    id = door.next_id++;
    sequence.id = id;
    door.alive.insert(id);
    door.abortable.insert(id);
    door.arrivals.push_back(std::move(sequence));
  }
  door.knocked.notify_one();
  return id;
}

void Engine::Impl::abort(SequenceId id) {
  {
    const std::scoped_lock lock(door.mutex);
    if (door.abortable.erase(id) == 0) {
      return;
    }
    door.aborts.push_back(id);
  }
  door.knocked.notify_one();
}

Result<AdapterInfo> Engine::Impl::load_adapter(const std::filesystem::path& folder) {
  GENESIS_TRY(AdapterInfo loaded, runner->load_adapter(folder));
  const std::scoped_lock lock(door.mutex);
  door.adapters[loaded.id] = {};
  return loaded;
}

void Engine::Impl::unload_adapter(std::int32_t id) {
  {
    const std::scoped_lock lock(door.mutex);
    const auto uses = door.adapters.find(id);
    if (uses == door.adapters.end()) {
      return;
    }
    uses->second.retired = true;
    if (uses->second.requests > 0) {
      return;
    }
    door.adapters.erase(uses);
  }
  runner->unload_adapter(id);
}

EngineStats Engine::Impl::stats() const {
  const std::scoped_lock lock(door.mutex);
  EngineStats stats = door.stats;
  stats.waiting += static_cast<int>(door.arrivals.size());
  return stats;
}

void Engine::Impl::step_loop() {
  while (collect_commands()) {
    const std::vector<StepPart> parts = scheduler.plan(budget.tokens());
    if (!parts.empty()) {
      if (const Result<void> done = run(parts)) {
        sample_and_emit(parts);
        ask_draft_model(parts);
      } else {
        fail_step(parts, done.error());
      }
    }
    account();
  }
  while (!sequences.empty()) {
    Error error;
    error.code = ErrorCode::kCancelled;
    error.message = "the engine is shutting down";
    fail_sequence(sequences.begin()->first, std::move(error));
  }
}

// Takes what came through the door; waits while there is nothing to do. False: stop.
bool Engine::Impl::collect_commands() {
  std::vector<Sequence> arrivals;
  std::vector<SequenceId> aborts;
  bool stopping = false;
  {
    std::unique_lock lock(door.mutex);
    if (sequences.empty()) {
      door.knocked.wait_for(lock, kIdleTick, [this] {
        return door.stopping || !door.arrivals.empty() || !door.aborts.empty();
      });
    }
    arrivals.swap(door.arrivals);
    aborts.swap(door.aborts);
    stopping = door.stopping;
  }
  for (Sequence& sequence : arrivals) {
    const auto tokens = static_cast<std::int32_t>(sequence.prompt_size);
    const std::int32_t chunk =
        sequence.want_prompt_logprobs ? kPromptLogprobRows : options.prefill_chunk;
    scheduler.add({.id = sequence.id,
                   .tokens = tokens,
                   .chunk_limit = chunk,
                   .namer = std::move(sequence.namer),
                   .names = std::move(sequence.block_names),
                   .prompt = std::make_shared<const std::vector<std::int32_t>>(sequence.tokens),
                   .reuse = !sequence.want_prompt_logprobs,
                   .flow = std::move(sequence.flow),
                   .priority = sequence.priority});
    counts.prompt_tokens += sequence.prompt_size;
    metrics.prompt.add(static_cast<double>(sequence.prompt_size));
    const SequenceId id = sequence.id;
    sequences.emplace(id, std::move(sequence));
  }
  for (const SequenceId id : aborts) {
    if (sequences.contains(id)) {
      Error error;
      error.code = ErrorCode::kCancelled;
      error.message = "the request was aborted";
      fail_sequence(id, std::move(error));
    }
  }
  return !stopping;
}

Result<void> Engine::Impl::run(std::span<const StepPart> parts) {
  batch.clear();
  std::size_t rows = 0;
  for (const StepPart& part : parts) {
    const Sequence& sequence = sequences.at(part.id);
    batch.push_back({.tokens = sequence.step_tokens(part),
                     .start = part.start,
                     .pages = scheduler.pages(part.id),
                     .logit_rows = sequence.logit_rows(part),
                     .adapter = sequence.adapter.id,
                     .adapter_from = sequence.adapter.from});
    rows += static_cast<std::size_t>(batch.back().logit_rows);
  }
  const SteadyTime begin = clock.steady();
  Result<void> done = run_batch(rows);
  const StepBudget::Seconds time = clock.steady() - begin;
  metrics.step_seconds.observe(time.count());
  note_cost(parts, time);
  metrics.steps.add();
  ++counts.steps;
  return done;
}

// Out of memory is the end of this step, not of the process.
Result<void> Engine::Impl::run_batch(std::size_t rows) {
  try {
    logits.resize(rows * static_cast<std::size_t>(info.vocab_size));
    return runner->run(batch, logits);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kResourceExhausted, "the engine is out of memory");
  }
}

void Engine::Impl::note_cost(std::span<const StepPart> parts, StepBudget::Seconds time) {
  std::int32_t prompt_tokens = 0;
  decodes = 0;
  for (const StepPart& part : parts) {
    // A guess costs what a prompt token costs.
    const bool decode = part.count == 1 + part.drafts;
    decodes += decode ? 1 : 0;
    prompt_tokens += part.count - (decode ? 1 : 0);
    counts.guessed_tokens += static_cast<std::uint64_t>(part.drafts);
    metrics.guessed.add(part.drafts);
  }
  budget.observe(prompt_tokens, decodes, time);
  guess_cost = options.guess_cost.value_or(budget.guess_cost(std::max(decodes, 1)));
}

void Engine::Impl::sample_and_emit(std::span<const StepPart> parts) {
  failures_in_a_row = 0;
  counts.healthy = true;
  std::size_t at = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t size =
        static_cast<std::size_t>(batch[i].logit_rows) * static_cast<std::size_t>(info.vocab_size);
    const std::span<const float> rows = std::span(logits).subspan(at, size);
    Sequence& sequence = sequences.at(parts[i].id);
    at += size;
    // Before the scheduler hears of it: keys and values that give such logits must not be shared.
    if (const Result<void> finite = check_finite(rows); !finite) {
      fail_sequence(sequence.id, finite.error());
      continue;
    }
    scheduler.advance(sequence.id, parts[i].count - parts[i].drafts, sequence.tokens);
    take_logits(sequence, parts[i], rows);
  }
}

void Engine::Impl::take_logits(Sequence& sequence,
                               const StepPart& part,
                               std::span<const float> rows) {
  sequence.note_prompt_logprobs(part, rows, static_cast<std::size_t>(info.vocab_size));
  if (!part.completes) {
    return;
  }
  // One row for the last known token and one for each guess, which counts while all before it were
  // what the model chose.
  const auto vocab = static_cast<std::size_t>(info.vocab_size);
  rows = rows.last(vocab * static_cast<std::size_t>(part.drafts + 1));
  for (std::int32_t i = 0;; ++i, rows = rows.subspan(vocab)) {
    Result<TokenInfo> token = choose(sequence, rows.first(vocab));
    if (!token) {
      fail_sequence(sequence.id, std::move(token).error());
      return;
    }
    const bool right =
        i < part.drafts && token->id == sequence.drafted[static_cast<std::size_t>(i) + 1];
    counts.accepted_tokens += right ? 1 : 0;
    metrics.accepted.add(right ? 1 : 0);
    if ((i == part.drafts || !right) && sequence.draft_source != DraftSource::kForced) {
      (sequence.draft_source == DraftSource::kModel ? sequence.model_speculation
                                                    : sequence.speculation)
          .note(part.drafts, i);
    }
    if (!emit_token(sequence, *std::move(token))) {
      return;
    }
    if (i == part.drafts || !right) {
      break;
    }
    scheduler.advance(sequence.id, 1, sequence.tokens);
  }
  if (sequence.sampler.wants_logprobs() || emit_forced(sequence)) {
    guess(sequence);
  }
}

// The token that `row` gives: one that must come, or the sampler's choice among those that may.
Result<TokenInfo> Engine::Impl::choose(Sequence& sequence, std::span<const float> row) {
  if (!sequence.forced.empty()) {
    const std::int32_t id = sequence.forced.front();
    sequence.forced.pop_front();
    return sequence.sampler.take(row, id);
  }
  scratch.allowed.clear();
  if (sequence.guide) {
    scratch.allowed.resize(text::mask_words(static_cast<std::size_t>(info.vocab_size)));
    GENESIS_TRY_VOID(sequence.guide->mask(scratch.allowed, sequence.room()));
  }
  return sequence.sampler.next(row, sequence.tokens.size(), scratch, scratch.allowed);
}

// What must come needs no logits: it is known at once, and the next step computes it like a prompt.
// False when the sequence has ended.
bool Engine::Impl::emit_forced(Sequence& sequence) {
  while (!sequence.forced.empty()) {
    const std::int32_t id = sequence.forced.front();
    sequence.forced.pop_front();
    if (!emit_token(sequence, sequence.sampler.take({}, id))) {
      return false;
    }
  }
  return true;
}

// What the next step may compute beyond the token that it must.
void Engine::Impl::guess(Sequence& sequence) {
  sequence.drafted.clear();
  if (!sequence.forced.empty()) {
    // Their logprobs are wanted, so they are computed like guesses: with a row of logits for each.
    const auto most = static_cast<std::size_t>(std::min(kMostDrafts, sequence.room() - 1));
    const auto end = sequence.forced.begin() +
                     static_cast<std::ptrdiff_t>(std::min(most, sequence.forced.size()));
    const std::vector<std::int32_t> drafts(sequence.forced.begin(), end);
    propose(sequence, drafts, DraftSource::kForced);
    return;
  }
  if (!options.speculation || scheduler.behind(sequence.id) != 1) {
    return;
  }
  const std::int32_t most = std::min(sequence.speculation.drafts(guess_cost), sequence.room() - 1);
  propose(sequence, look_up_drafts(sequence.tokens, most), DraftSource::kLookup);
}

void Engine::Impl::propose(Sequence& sequence,
                           std::span<const std::int32_t> drafts,
                           DraftSource source) {
  if (drafts.empty()) {
    return;
  }
  sequence.draft_source = source;
  sequence.drafted.push_back(sequence.tokens.back());
  sequence.drafted.insert(sequence.drafted.end(), drafts.begin(), drafts.end());
  scheduler.propose(sequence.id, static_cast<std::int32_t>(drafts.size()));
}

// What was said before costs nothing to look up; the draft model is asked where nothing was found.
void Engine::Impl::ask_draft_model(std::span<const StepPart> parts) {
  if (!drafter || drafter->broken() || !options.speculation) {
    return;
  }
  const double cost = options.guess_cost.value_or(
      std::min(1.0, guess_cost + budget.share_of_decode(draft_time, decodes)));
  std::vector<Drafter::Ask> asks;
  for (const StepPart& part : parts) {
    const auto found = sequences.find(part.id);
    if (!part.completes || found == sequences.end() || !found->second.drafted.empty()) {
      continue;
    }
    Sequence& sequence = found->second;
    if (scheduler.behind(part.id) != 1) {
      continue;
    }
    const std::int32_t most =
        std::min(sequence.model_speculation.drafts(cost), sequence.room() - 1);
    if (most > 0) {
      asks.push_back({.id = part.id, .tokens = sequence.tokens, .most = most});
    }
  }
  if (asks.empty()) {
    return;
  }
  const SteadyTime begin = clock.steady();
  const auto guesses = drafter->draft(asks);
  const auto foreign = [this](std::int32_t token) { return token >= info.vocab_size; };
  std::size_t count = 0;
  for (std::size_t i = 0; i < asks.size(); ++i) {
    count += guesses[i].size();
    const auto known = std::ranges::find_if(guesses[i], foreign) - guesses[i].begin();
    const auto usable = std::span(guesses[i]).first(static_cast<std::size_t>(known));
    propose(sequences.at(asks[i].id), usable, DraftSource::kModel);
  }
  if (count > 0) {
    const StepBudget::Seconds each = StepBudget::Seconds(clock.steady() - begin) / count;
    draft_time = draft_time.count() == 0 ? each : 0.8 * draft_time + 0.2 * each;
  }
}

// False when that was the last one: the sequence is gone.
bool Engine::Impl::emit_token(Sequence& sequence, TokenInfo token) {
  sequence.tokens.push_back(token.id);
  if (!sequence.follow_guide(token.id)) {
    Error error;
    error.code = ErrorCode::kInternal;
    error.message = fmt::format("token {} does not fit the answer's form", token.id);
    fail_sequence(sequence.id, std::move(error));
    return false;
  }
  ++counts.generated_tokens;
  metrics.generated.add();
  GenerateEvent event;
  event.finish = sequence.finish_after(token.id);
  event.token = std::move(token);
  event.prompt_tokens = std::exchange(sequence.prompt_infos, {});
  event.prompt_tokens_count = static_cast<std::int64_t>(sequence.prompt_size);
  event.cached_tokens = note_cache_use(sequence);
  sequence.want_prompt_logprobs = false;  // told once; a recomputed prompt does not need them again
  if (event.finish) {
    end_sequence(sequence.id, std::move(event));
    return false;
  }
  scheduler.append(sequence.id);
  sequence.listener(std::move(event));
  return true;
}

std::int64_t Engine::Impl::note_cache_use(Sequence& sequence) {
  const CacheUse& use = scheduler.cache_use(sequence.id);
  if (std::exchange(sequence.answered, true)) {
    return use.cached;
  }
  counts.cached_tokens += static_cast<std::uint64_t>(use.cached);
  metrics.cached.add(use.cached);
  metrics.count_miss(cache_miss_name(use.miss));
  if (use.miss != CacheMiss::kNone && use.miss != CacheMiss::kOff) {
    log(LogLevel::kInfo,
        "prefix cache miss",
        {{"request_id", sequence.request_id},
         {"reason", cache_miss_name(use.miss)},
         {"at_token", use.miss_at},
         {"cached_tokens", use.cached},
         {"prompt_tokens", sequence.prompt_size}});
  }
  return use.cached;
}

void Engine::Impl::fail_step(std::span<const StepPart> parts, const Error& error) {
  ++counts.failed_steps;
  ++failures_in_a_row;
  counts.healthy = failures_in_a_row < kFailuresUntilUnhealthy;
  log(LogLevel::kError,
      "engine step failed",
      {{"error", error.message}, {"sequences", parts.size()}, {"in_a_row", failures_in_a_row}});
  for (const StepPart& part : parts) {
    Error told = error;
    told.code = ErrorCode::kInternal;
    told.message = "the model could not compute this step: " + error.message;
    fail_sequence(part.id, std::move(told));
  }
}

void Engine::Impl::fail_sequence(SequenceId id, Error error) {
  GenerateEvent event;
  event.prompt_tokens_count = static_cast<std::int64_t>(sequences.at(id).prompt_size);
  event.error = std::move(error);
  end_sequence(id, std::move(event));
}

void Engine::Impl::end_sequence(SequenceId id, GenerateEvent event) {
  const auto node = sequences.extract(id);
  if (drafter) {
    drafter->forget(id);
  }
  const std::int32_t adapter = node.mapped().adapter.id;
  bool unload = false;
  if (event.error) {
    scheduler.remove(id);
  } else {
    scheduler.remove(id, node.mapped().tokens);
  }
  {
    // The place is free before the listener hears of the end, so that it may submit the next.
    const std::scoped_lock lock(door.mutex);
    door.alive.erase(id);
    door.abortable.erase(id);
    if (const auto uses = door.adapters.find(adapter); uses != door.adapters.end()) {
      unload = --uses->second.requests == 0 && uses->second.retired;
      if (unload) {
        door.adapters.erase(uses);
      }
    }
    door.drain.left(clock.steady());
    if (door.alive.empty()) {
      door.drain.idle();
    }
  }
  if (unload) {
    runner->unload_adapter(adapter);
  }
  node.mapped().listener(std::move(event));
}

void Engine::Impl::account() {
  counts.running = scheduler.running();
  counts.waiting = scheduler.waiting();
  counts.free_pages = scheduler.free_pages();
  counts.kept_pages = scheduler.kept_pages();
  counts.total_pages = info.num_pages;
  counts.last_step_unix_ms = clock.unix_ms();
  metrics.preemptions.add(static_cast<double>(scheduler.preemptions() - counts.preemptions));
  counts.preemptions = scheduler.preemptions();
  metrics.evictions.add(static_cast<double>(scheduler.evictions() - counts.evictions));
  counts.evictions = scheduler.evictions();
  metrics.kept_pages.set(counts.kept_pages);
  metrics.running.set(counts.running);
  metrics.batch_size.set(counts.running);
  metrics.free_pages.set(counts.free_pages);
  const std::scoped_lock lock(door.mutex);
  door.stats = counts;
  const auto waiting = counts.waiting + static_cast<int>(door.arrivals.size());
  metrics.waiting.set(waiting);
  metrics.queue_size.set(waiting);
}

Engine::Engine(std::unique_ptr<Runner> runner,
               EngineOptions options,
               MetricsRegistry& metrics,
               std::unique_ptr<Runner> draft_model)
    : impl_(std::make_unique<Impl>(std::move(runner), options, metrics, std::move(draft_model))) {}

Engine::~Engine() = default;

const RunnerInfo& Engine::info() const {
  return impl_->info;
}

Result<SequenceId> Engine::submit(GenerateRequest request, GenerateListener listener) {
  return impl_->submit(std::move(request), std::move(listener));
}

void Engine::abort(SequenceId id) {
  impl_->abort(id);
}

EngineStats Engine::stats() const {
  return impl_->stats();
}

Result<AdapterInfo> Engine::load_adapter(const std::filesystem::path& folder) {
  return impl_->load_adapter(folder);
}

void Engine::unload_adapter(std::int32_t id) {
  impl_->unload_adapter(id);
}

}  // namespace genesis::engine
