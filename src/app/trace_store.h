// TraceStore: keeps the traces of finished requests in the database, for `genesis explain`. Money
// goes first: traces wait in a bounded queue, are written in one piece now and then, and are
// dropped and counted when there are too many.
#pragma once

#include "api/routing.h"
#include "base/cancel.h"
#include "base/metrics.h"
#include "base/task.h"
#include "store/database.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace genesis::app {

// Table `traces`: request_id, unix_ms, body (trace_json()).
store::Schema trace_schema();

struct TraceStoreOptions {
  std::int64_t max_requests = 50'000;  // kept; 0 = nothing is written
  std::chrono::milliseconds max_age{std::chrono::hours(7 * 24)};
  std::size_t max_pending = 512;  // waiting to be written
};

// Lives on the io thread; `database` and `metrics` outlive it.
class TraceStore final : public RequestObserver {
 public:
  TraceStore(Executor executor,
             store::Database& database,
             MetricsRegistry& metrics,
             TraceStoreOptions options);

  void on_dispatch(const RouteFeatures&, const EndpointSnapshot&) override {}

  // A delivered answer at the first attempt is routine and may take half of the queue only, so that
  // what went wrong is kept when much goes right.
  void on_finished(const RequestTrace& trace) override;

  // Holds from the next write on.
  void configure(TraceStoreOptions options) { options_ = options; }

  // Writes what waits, unless the previous writing still runs.
  void flush();
  // Flushes now and then until `stop`, then writes the rest.
  Task<void> run(CancelToken stop);

 private:
  struct Row {
    std::string request_id;
    std::int64_t unix_ms = 0;
    std::string body;
  };

  static Result<void> write(store::Transaction& tx,
                            const std::vector<Row>& rows,
                            const TraceStoreOptions& options);
  static Result<void> prune(store::Transaction& tx,
                            std::int64_t newest_ms,
                            const TraceStoreOptions& options);

  Executor executor_;
  store::Database& database_;
  TraceStoreOptions options_;
  Metric& kept_;
  Metric& dropped_;
  std::vector<Row> pending_;
  std::shared_ptr<std::atomic<bool>> writing_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace genesis::app
