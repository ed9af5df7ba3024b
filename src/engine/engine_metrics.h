// The series the engine shows under /metrics: TGI's names where TGI has one, ours beside them.
#pragma once

#include "base/metrics.h"

namespace genesis::engine {

// References into a registry that outlives this.
struct EngineMetrics {
  explicit EngineMetrics(MetricsRegistry& registry)
      : queue_size(registry.gauge("tgi_queue_size", "Sequences waiting for the batch")),
        batch_size(registry.gauge("tgi_batch_current_size", "Sequences in the batch")),
        running(registry.gauge("genesis_engine_running", "Sequences in the batch")),
        waiting(registry.gauge("genesis_engine_waiting", "Sequences waiting for the batch")),
        free_pages(registry.gauge("genesis_engine_free_pages", "KV pages nobody holds")),
        steps(registry.counter("genesis_engine_steps_total", "Steps run")),
        generated(registry.counter("genesis_engine_generated_tokens_total", "Tokens generated")),
        prompt(registry.counter("genesis_engine_prompt_tokens_total", "Prompt tokens accepted")),
        preemptions(registry.counter("genesis_engine_preemptions_total",
                                     "Sequences that gave their KV pages back to be recomputed")),
        step_seconds(registry.histogram(
            "genesis_engine_step_duration_seconds",
            "Duration of one step of the batch",
            {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0})) {}

  Metric& queue_size;
  Metric& batch_size;
  Metric& running;
  Metric& waiting;
  Metric& free_pages;
  Metric& steps;
  Metric& generated;
  Metric& prompt;
  Metric& preemptions;
  Histogram& step_seconds;
};

}  // namespace genesis::engine
