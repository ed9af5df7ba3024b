#include "app/trace_store.h"

#include "app/trace_json.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFlushPeriod{200};
constexpr milliseconds kLastWritePoll{2};
// A trace lists every endpoint of its route; one that is larger than this says too little for what
// it costs.
constexpr std::size_t kMaxBodyBytes = 64 * 1024;
// Rows removed in one transaction, so that no request's rows wait behind a great clean-up.
constexpr std::int64_t kPruneRows = 2'000;

constexpr std::array<std::string_view, 1> kMigrations = {R"sql(
CREATE TABLE traces(
  request_id TEXT PRIMARY KEY,
  unix_ms BIGINT NOT NULL,
  body TEXT NOT NULL);
CREATE INDEX traces_by_time ON traces(unix_ms);
)sql"};

bool is_routine(const RequestTrace& trace) {
  return trace.outcome == "delivered" && trace.attempts.size() == 1 &&
         trace.attempts.front().tier != Tier::kCommercial;
}

}  // namespace

store::Schema trace_schema() {
  return {.component = "traces", .migrations = kMigrations};
}

TraceStore::TraceStore(Executor executor,
                       store::Database& database,
                       MetricsRegistry& metrics,
                       TraceStoreOptions options)
    : executor_(std::move(executor)),
      database_(database),
      options_(options),
      kept_(metrics.counter("genesis_traces_total",
                            "Finished requests by what became of their trace.",
                            prometheus_label("state", "kept"))),
      dropped_(metrics.counter("genesis_traces_total",
                               "Finished requests by what became of their trace.",
                               prometheus_label("state", "dropped"))) {}

void TraceStore::on_finished(const RequestTrace& trace) {
  if (options_.max_requests == 0) {
    return;
  }
  const std::size_t room = is_routine(trace) ? options_.max_pending / 2 : options_.max_pending;
  if (pending_.size() >= room) {
    dropped_.add();
    return;
  }
  std::string body = trace_json(trace);
  if (body.size() > kMaxBodyBytes) {
    dropped_.add();
    return;
  }
  pending_.push_back(
      {.request_id = trace.features.request_id, .unix_ms = trace.unix_ms, .body = std::move(body)});
}

void TraceStore::flush() {
  if (pending_.empty() || writing_->exchange(true)) {
    return;
  }
  auto rows = std::make_shared<const std::vector<Row>>(std::exchange(pending_, {}));
  database_.submit(
      [rows, options = options_](store::Transaction& tx) { return write(tx, *rows, options); },
      [rows, writing = writing_, &kept = kept_, &dropped = dropped_](const Result<void>& done) {
        (done ? kept : dropped).add(static_cast<double>(rows->size()));
        writing->store(false);
      });
}

Task<void> TraceStore::run(CancelToken stop) {
  boost::asio::steady_timer timer(executor_);
  const CancelHook wake = stop.on_cancel([&timer] { timer.cancel(); });
  while (!stop.cancelled()) {
    timer.expires_after(kFlushPeriod);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    flush();
  }
  while (!pending_.empty() || writing_->load()) {
    flush();
    timer.expires_after(kLastWritePoll);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

Result<void> TraceStore::write(store::Transaction& tx,
                               const std::vector<Row>& rows,
                               const TraceStoreOptions& options) {
  std::int64_t newest_ms = 0;
  {
    GENESIS_TRY(store::Statement insert,
                tx.prepare("INSERT INTO traces(request_id, unix_ms, body) VALUES(?1, ?2, ?3)"
                           " ON CONFLICT DO NOTHING"));
    for (const Row& row : rows) {
      insert.bind(1, row.request_id).bind(2, row.unix_ms).bind(3, row.body);
      GENESIS_TRY_VOID(insert.run());
      newest_ms = std::max(newest_ms, row.unix_ms);
    }
  }
  return prune(tx, newest_ms, options);
}

Result<void> TraceStore::prune(store::Transaction& tx,
                               std::int64_t newest_ms,
                               const TraceStoreOptions& options) {
  std::int64_t cutoff = newest_ms - options.max_age.count();
  {
    GENESIS_TRY(store::Statement select,
                tx.prepare("SELECT unix_ms FROM traces ORDER BY unix_ms DESC LIMIT 1 OFFSET ?1"));
    GENESIS_TRY(const bool more, select.bind(1, options.max_requests).step());
    if (more) {
      cutoff = std::max(cutoff, select.integer(0) + 1);
    }
  }
  GENESIS_TRY(store::Statement remove,
              tx.prepare("DELETE FROM traces WHERE request_id IN (SELECT request_id FROM traces"
                         " WHERE unix_ms < ?1 ORDER BY unix_ms LIMIT ?2)"));
  return remove.bind(1, cutoff).bind(2, kPruneRows).run();
}

}  // namespace genesis::app
