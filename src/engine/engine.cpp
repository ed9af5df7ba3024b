// The engine: a door that any thread may knock at (submit, abort, stats) and one step thread that
// owns the scheduler, the samplers and the runner. They meet in Door, under its mutex.
#include "engine/engine.h"

#include "base/check.h"
#include "base/log.h"
#include "engine/admission.h"
#include "engine/drain_meter.h"
#include "engine/engine_metrics.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
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
          .num_pages = info.num_pages};
}

}  // namespace

struct Engine::Impl {
  Impl(std::unique_ptr<Runner> model_runner,
       EngineOptions engine_options,
       MetricsRegistry& registry)
      : runner(std::move(model_runner)),
        info(runner->info()),
        options(engine_options),
        metrics(registry),
        scheduler(scheduler_options(info, options)) {
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

  // The step thread.
  void step_loop();
  bool collect_commands();
  Result<void> run(std::span<const StepPart> parts);
  void sample_and_emit(std::span<const StepPart> parts);
  void take_logits(Sequence& sequence, const StepPart& part, std::span<const float> rows);
  void emit_token(Sequence& sequence, TokenInfo token);
  void fail_step(std::span<const StepPart> parts, const Error& error);
  void fail_sequence(SequenceId id, Error error);
  void end_sequence(SequenceId id, GenerateEvent event);
  void account();

  struct Door {
    mutable std::mutex mutex;
    std::condition_variable knocked;
    std::vector<Sequence> arrivals;
    std::vector<SequenceId> aborts;
    std::unordered_set<SequenceId> alive;      // submitted, last event not sent
    std::unordered_set<SequenceId> abortable;  // of these, not asked to stop yet
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
  std::unordered_map<SequenceId, Sequence> sequences;
  std::vector<SequenceStep> batch;
  std::vector<float> logits;
  SamplerScratch scratch;
  int failures_in_a_row = 0;
  EngineStats counts;  // the counters; copied into door.stats once a step
  std::thread thread;
};

Result<SequenceId> Engine::Impl::submit(GenerateRequest request, GenerateListener listener) {
  GENESIS_TRY(const std::int32_t max_output, admit(info, request));
  // Built outside the lock: copying a long prompt's penalties takes a while.
  Sequence sequence(std::move(request), max_output, std::move(listener));
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

EngineStats Engine::Impl::stats() const {
  const std::scoped_lock lock(door.mutex);
  EngineStats stats = door.stats;
  stats.waiting += static_cast<int>(door.arrivals.size());
  return stats;
}

void Engine::Impl::step_loop() {
  while (collect_commands()) {
    const std::vector<StepPart> parts = scheduler.plan();
    if (!parts.empty()) {
      if (const Result<void> done = run(parts)) {
        sample_and_emit(parts);
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
    scheduler.add(sequence.id, tokens, chunk);
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
    const auto start = static_cast<std::size_t>(part.start);
    batch.push_back(
        {.tokens = std::span(sequence.tokens).subspan(start, static_cast<std::size_t>(part.count)),
         .start = part.start,
         .pages = scheduler.pages(part.id),
         .logit_rows = sequence.logit_rows(part)});
    rows += static_cast<std::size_t>(batch.back().logit_rows);
  }
  logits.resize(rows * static_cast<std::size_t>(info.vocab_size));
  const SteadyTime begin = clock.steady();
  Result<void> done = runner->run(batch, logits);
  metrics.step_seconds.observe(std::chrono::duration<double>(clock.steady() - begin).count());
  metrics.steps.add();
  ++counts.steps;
  return done;
}

void Engine::Impl::sample_and_emit(std::span<const StepPart> parts) {
  failures_in_a_row = 0;
  counts.healthy = true;
  std::size_t at = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t size =
        static_cast<std::size_t>(batch[i].logit_rows) * static_cast<std::size_t>(info.vocab_size);
    scheduler.advance(parts[i].id, parts[i].count);
    take_logits(sequences.at(parts[i].id), parts[i], std::span(logits).subspan(at, size));
    at += size;
  }
}

void Engine::Impl::take_logits(Sequence& sequence,
                               const StepPart& part,
                               std::span<const float> rows) {
  if (const Result<void> finite = check_finite(rows); !finite) {
    fail_sequence(sequence.id, finite.error());
    return;
  }
  sequence.note_prompt_logprobs(part, rows, static_cast<std::size_t>(info.vocab_size));
  if (!part.completes) {
    return;
  }
  Result<TokenInfo> token = sequence.sampler.next(
      rows.last(static_cast<std::size_t>(info.vocab_size)), sequence.tokens.size(), scratch);
  if (!token) {
    fail_sequence(sequence.id, std::move(token).error());
    return;
  }
  emit_token(sequence, *std::move(token));
}

void Engine::Impl::emit_token(Sequence& sequence, TokenInfo token) {
  sequence.tokens.push_back(token.id);
  ++counts.generated_tokens;
  metrics.generated.add();
  GenerateEvent event;
  event.finish = sequence.finish_after(token.id);
  event.token = std::move(token);
  event.prompt_tokens = std::exchange(sequence.prompt_infos, {});
  event.prompt_tokens_count = static_cast<std::int64_t>(sequence.prompt_size);
  sequence.want_prompt_logprobs = false;  // told once; a recomputed prompt does not need them again
  if (event.finish) {
    end_sequence(sequence.id, std::move(event));
    return;
  }
  scheduler.append(sequence.id);
  sequence.listener(std::move(event));
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
  scheduler.remove(id);
  {
    // The place is free before the listener hears of the end, so that it may submit the next.
    const std::scoped_lock lock(door.mutex);
    door.alive.erase(id);
    door.abortable.erase(id);
    door.drain.left(clock.steady());
    if (door.alive.empty()) {
      door.drain.idle();
    }
  }
  node.mapped().listener(std::move(event));
}

void Engine::Impl::account() {
  counts.running = scheduler.running();
  counts.waiting = scheduler.waiting();
  counts.free_pages = scheduler.free_pages();
  counts.total_pages = info.num_pages;
  counts.last_step_unix_ms = clock.unix_ms();
  metrics.preemptions.add(static_cast<double>(scheduler.preemptions() - counts.preemptions));
  counts.preemptions = scheduler.preemptions();
  metrics.running.set(counts.running);
  metrics.batch_size.set(counts.running);
  metrics.free_pages.set(counts.free_pages);
  const std::scoped_lock lock(door.mutex);
  door.stats = counts;
  const auto waiting = counts.waiting + static_cast<int>(door.arrivals.size());
  metrics.waiting.set(waiting);
  metrics.queue_size.set(waiting);
}

Engine::Engine(std::unique_ptr<Runner> runner, EngineOptions options, MetricsRegistry& metrics)
    : impl_(std::make_unique<Impl>(std::move(runner), options, metrics)) {}

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

}  // namespace genesis::engine
