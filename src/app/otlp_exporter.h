// OtlpExporter: sends the spans of finished requests to an OpenTelemetry collector over HTTP. It
// never delays a request: spans wait in a bounded queue and are dropped and counted when the
// collector does not keep up.
#pragma once

#include "api/routing.h"
#include "base/cancel.h"
#include "base/metrics.h"
#include "base/task.h"
#include "net/client.h"

#include <cstddef>
#include <deque>
#include <optional>
#include <string>

namespace genesis::app {

struct OtlpOptions {
  std::optional<net::BaseUrl> endpoint;  // "/v1/traces" is added; none: nothing is sent
  std::string header;                    // the field that carries `secret`
  std::string secret;
  double sample_ratio = 1;
};

// Lives on the io thread; `metrics` outlives it.
class OtlpExporter final : public RequestObserver {
 public:
  // Requests whose spans wait; about a kilobyte each.
  static constexpr std::size_t kMaxQueue = 4096;

  OtlpExporter(Executor executor, MetricsRegistry& metrics, std::string version);

  // For what is sent from now on.
  void configure(OtlpOptions options) { options_ = std::move(options); }

  void on_dispatch(const RouteFeatures&, const EndpointSnapshot&) override {}

  void on_finished(const RequestTrace& trace) override;

  // Sends until `stop`, then once more what waits.
  Task<void> run(CancelToken stop);

 private:
  Task<void> flush();
  Task<bool> send(std::string body);

  void count_queue() { queued_.set(static_cast<double>(queue_.size())); }

  Executor executor_;
  net::Client client_;
  std::string version_;
  OtlpOptions options_;
  std::deque<std::string> queue_;
  Metric& exported_;
  Metric& dropped_;
  Metric& queued_;
};

}  // namespace genesis::app
