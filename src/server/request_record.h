// What is remembered of one request, and where it goes: metrics and one log line, never a prompt.
#pragma once

#include "api/chat.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "server/answer_sink.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace genesis::server {

struct RequestRecord {
  std::string id;         // ours
  std::string client_id;  // the client's x-request-id when it is a plain word
  std::string key_id;
  std::string route;  // the table's path, so that labels stay few
  bool inference = false;
  std::string model_asked;
  Caller caller;
  std::string traceparent;  // the client's, checked; empty = none
  std::optional<ServedBy> served;
  Usage usage;
  std::shared_ptr<const Bill> bill;  // null where nobody keeps books
  int status = 0;
  std::string finish;  // "stop", "length", ..., or an error code's name
  SteadyTime started{};
  SteadyTime parsed{};
  AnswerTimes times;
};

// TGI's metric names (docs/source/reference/metrics.md there) plus our own. Series are looked up
// once.
class RequestMetrics {
 public:
  explicit RequestMetrics(MetricsRegistry& registry);

  void begin_inference() { count_.add(); }

  // Once per request of any route.
  void finish(const RequestRecord& record, SteadyTime now);

 private:
  void observe_success(const RequestRecord& record, SteadyTime now);

  MetricsRegistry& registry_;
  Metric& count_;
  Metric& success_;
  Histogram& duration_;
  Histogram& validation_duration_;
  Histogram& queue_duration_;
  Histogram& inference_duration_;
  Histogram& time_per_token_;
  Histogram& generated_tokens_;
  Histogram& input_length_;
  Histogram& first_token_;
};

// One structured line; probes (/health, /metrics, ...) only at debug level.
void log_request(const RequestRecord& record, SteadyTime now);

}  // namespace genesis::server
