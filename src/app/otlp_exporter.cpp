#include "app/otlp_exporter.h"

#include "app/otlp_spans.h"
#include "base/log.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// OpenTelemetry's batch processor waits 5 s; a second is nearer to what a person watches.
constexpr milliseconds kPeriod{1'000};
constexpr milliseconds kSendLimit{10'000};
// Requests in one body: about half a megabyte.
constexpr std::size_t kBatch = 512;
constexpr std::size_t kMaxReply = 64 * 1024;

}  // namespace

OtlpExporter::OtlpExporter(Executor executor, MetricsRegistry& metrics, std::string version)
    : executor_(std::move(executor)),
      client_(executor_, {}),
      version_(std::move(version)),
      exported_(metrics.counter("genesis_otel_exported_total", "Requests whose spans were taken")),
      dropped_(metrics.counter("genesis_otel_dropped_total",
                               "Requests whose spans were lost: queue full or collector failed")),
      queued_(metrics.gauge("genesis_otel_queue", "Requests whose spans wait to be sent")) {}

void OtlpExporter::on_finished(const RequestTrace& trace) {
  if (!options_.endpoint || !is_sampled(trace, options_.sample_ratio)) {
    return;
  }
  if (queue_.size() >= kMaxQueue) {
    dropped_.add();
    return;
  }
  queue_.push_back(otlp_spans(trace));
  count_queue();
}

Task<void> OtlpExporter::run(CancelToken stop) {
  boost::asio::steady_timer timer(executor_);
  const CancelHook wake = stop.on_cancel([&timer] { timer.cancel(); });
  while (!stop.cancelled()) {
    timer.expires_after(kPeriod);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    co_await flush();
  }
}

// Everything that waits, batch by batch, until one fails: the rest waits for the next turn.
Task<void> OtlpExporter::flush() {
  bool taken = true;
  while (taken && !queue_.empty() && options_.endpoint) {
    const std::size_t count = std::min(queue_.size(), kBatch);
    std::vector<std::string> spans;
    for (std::size_t i = 0; i < count; ++i) {
      spans.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    count_queue();
    taken = co_await send(otlp_body(spans, version_));
    (taken ? exported_ : dropped_).add(static_cast<double>(count));
  }
}

Task<bool> OtlpExporter::send(std::string body) {
  net::ClientRequest request{.method = "POST",
                             .base = *options_.endpoint,
                             .target = "/v1/traces",
                             .body = std::move(body)};
  request.headers.add("Content-Type", "application/json");
  if (!options_.secret.empty()) {
    request.headers.add(options_.header, options_.secret);
  }
  CancelSource give_up;
  boost::asio::steady_timer timer(executor_, kSendLimit);
  timer.async_wait([give_up](const boost::system::error_code& error) mutable {
    if (!error) {
      give_up.cancel();
    }
  });
  const auto response = co_await client_.send(std::move(request), give_up.token());
  bool taken = false;
  if (response) {
    (void)co_await net::read_body(**response, kMaxReply);
    taken = (*response)->status() / 100 == 2;
  }
  timer.cancel();
  if (!taken) {
    log(LogLevel::kWarn,
        "the trace collector did not take a batch",
        {{"status", response ? (*response)->status() : 0},
         {"reason", response ? "" : response.error().message}});
  }
  co_return taken;
}

}  // namespace genesis::app
