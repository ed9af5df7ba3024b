// The server's ends of a ChatSink: guards what the model may say, and either streams it to the
// client or collects it. Lives in the handler's coroutine, on the io thread.
#pragma once

#include "api/chat.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "net/server.h"
#include "server/answer.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace genesis::server {

// When things happened, for metrics, headers and the log.
struct AnswerTimes {
  std::optional<SteadyTime> begun;  // the commit point
  std::optional<SteadyTime> first_token;
};

// Common part: order of calls, choice indexes, one finish per choice, cancellation when the client
// goes away. A delta after its choice's finish is dropped.
class AnswerSink : public ChatSink {
 public:
  AnswerSink(int choices, net::ResponseWriter& response, const Clock& clock);

  Task<Result<void>> begin(const ServedBy& served) final;
  Task<Result<void>> write(const ChatDelta& delta) final;

  CancelToken cancel_token() const final { return cancel_.token(); }

  // Empty before begin().
  const std::optional<ServedBy>& served() const { return served_; }

  const AnswerTimes& times() const { return times_; }

  // True when every choice has finished.
  bool complete() const;

  // The finish of choice 0, for the log.
  std::optional<FinishReason> finish() const { return finishes_.front(); }

 protected:
  virtual Task<Result<void>> on_begin(const ServedBy& served) = 0;
  virtual Task<Result<void>> on_delta(const ChatDelta& delta) = 0;

  // Tells the producer that nobody reads any more.
  std::unexpected<Error> give_up();

  net::ResponseWriter& response_;

 private:
  const Clock& clock_;
  CancelSource cancel_;
  CancelHook client_gone_;
  std::optional<ServedBy> served_;
  AnswerTimes times_;
  std::vector<std::optional<FinishReason>> finishes_;
};

// Keeps the whole answer in memory.
class CollectSink final : public AnswerSink {
 public:
  CollectSink(const ChatRequest& request, net::ResponseWriter& response, const Clock& clock)
      : AnswerSink(request.n, response, clock), answer_(request.n, request.dialect) {}

  const CollectedAnswer& answer() const { return answer_; }

 protected:
  Task<Result<void>> on_begin(const ServedBy& served) override;
  Task<Result<void>> on_delta(const ChatDelta& delta) override;

 private:
  CollectedAnswer answer_;
};

}  // namespace genesis::server
