// AttemptMetrics: what the traces of finished requests and the endpoints' snapshots say, as
// Prometheus series; names of OpenTelemetry's GenAI conventions where it has one.
#pragma once

#include "api/routing.h"
#include "base/metrics.h"

namespace genesis::app {

// Lives on the io thread; `metrics` outlives it. Labels come from the configuration, never from
// what a client sent, so that the series stay few.
class AttemptMetrics final : public RequestObserver {
 public:
  explicit AttemptMetrics(MetricsRegistry& metrics);

  void on_dispatch(const RouteFeatures&, const EndpointSnapshot&) override {}

  void on_finished(const RequestTrace& trace) override;

  // The endpoints as they are now; called now and then.
  void look_at(const EndpointSnapshot& endpoint);

 private:
  void count_attempt(const AttemptRecord& attempt);
  void measure_answer(const RequestTrace& trace, const AttemptRecord& answer);

  MetricsRegistry& metrics_;
};

}  // namespace genesis::app
