// An answer written to the client as it comes, as server-sent events with keep-alive comments.
#pragma once

#include "net/http.h"
#include "server/answer_sink.h"

#include <chrono>
#include <memory>
#include <string_view>

namespace genesis::server {

struct StreamSettings {
  Executor executor;
  std::chrono::milliseconds keep_alive{15'000};
};

// Headers go out at begin(), which is why errors before it can still be plain HTTP errors. After
// begin() close the stream with end(): until then a timer coroutine may write comments.
class StreamSink final : public AnswerSink {
 public:
  // Adds fields to the response's headers once it is known who serves.
  using HeadersFor = std::function<net::Headers(const ServedBy&)>;

  StreamSink(const AnswerMeta& meta,
             net::ResponseWriter& response,
             const Clock& clock,
             StreamSettings settings);
  ~StreamSink() override;

  void set_format(std::unique_ptr<StreamFormat> format) { format_ = std::move(format); }

  void set_headers(HeadersFor headers) { headers_ = std::move(headers); }

  // Writes the dialect's last frames, or an error event, then ends the chunked body properly.
  Task<Result<void>> end(const Usage& usage);
  Task<Result<void>> end_with_error(const Error& error, std::string_view body);
  // The client is gone: only stops the timer.
  Task<void> abandon();

 protected:
  Task<Result<void>> on_begin(const ServedBy& served) override;
  Task<Result<void>> on_delta(const ChatDelta& delta) override;

 private:
  struct Channel;

  Task<Result<void>> close_with(std::string_view frames);

  StreamSettings settings_;
  std::unique_ptr<StreamFormat> format_;
  HeadersFor headers_;
  std::shared_ptr<Channel> channel_;
};

}  // namespace genesis::server
