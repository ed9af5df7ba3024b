// The series the engine shows under /metrics: TGI's names where TGI has one, ours beside them.
#pragma once

#include "base/metrics.h"

#include <string_view>

namespace genesis::engine {

// References into a registry that outlives this.
struct EngineMetrics {
  explicit EngineMetrics(MetricsRegistry& registry)
      : queue_size(registry.gauge("tgi_queue_size", "Sequences waiting for the batch")),
        batch_size(registry.gauge("tgi_batch_current_size", "Sequences in the batch")),
        running(registry.gauge("genesis_engine_running", "Sequences in the batch")),
        waiting(registry.gauge("genesis_engine_waiting", "Sequences waiting for the batch")),
        free_pages(registry.gauge("genesis_engine_free_pages", "KV pages nobody holds")),
        kept_pages(registry.gauge("genesis_engine_kept_pages",
                                  "Of the free KV pages, those with a block of the prefix cache")),
        steps(registry.counter("genesis_engine_steps_total", "Steps run")),
        generated(registry.counter("genesis_engine_generated_tokens_total", "Tokens generated")),
        prompt(registry.counter("genesis_engine_prompt_tokens_total", "Prompt tokens accepted")),
        cached(registry.counter("genesis_engine_cached_tokens_total",
                                "Prompt tokens taken from the prefix cache")),
        guessed(
            registry.counter("genesis_engine_guessed_tokens_total", "Tokens computed as guesses")),
        accepted(registry.counter("genesis_engine_accepted_tokens_total",
                                  "Guessed tokens that proved right")),
        evictions(registry.counter("genesis_engine_evictions_total",
                                   "Blocks of the prefix cache that made room")),
        preemptions(registry.counter("genesis_engine_preemptions_total",
                                     "Sequences that gave their KV pages back to be recomputed")),
        step_seconds(registry.histogram(
            "genesis_engine_step_duration_seconds",
            "Duration of one step of the batch",
            {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0})),
        registry_(registry) {}

  // A prompt whose reuse ended for this reason.
  void count_miss(std::string_view reason) {
    registry_
        .counter("genesis_engine_prefix_misses_total",
                 "Prompts by why the rest of them was computed",
                 prometheus_label("reason", reason))
        .add();
  }

  Metric& queue_size;
  Metric& batch_size;
  Metric& running;
  Metric& waiting;
  Metric& free_pages;
  Metric& kept_pages;
  Metric& steps;
  Metric& generated;
  Metric& prompt;
  Metric& cached;
  Metric& guessed;
  Metric& accepted;
  Metric& evictions;
  Metric& preemptions;
  Histogram& step_seconds;

 private:
  MetricsRegistry& registry_;
};

}  // namespace genesis::engine
