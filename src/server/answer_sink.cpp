#include "server/answer_sink.h"

#include <algorithm>

namespace genesis::server {

namespace {

bool says_something(const ChatDelta& delta) {
  return !delta.text.empty() || !delta.reasoning.empty() || !delta.tool_calls_json.empty() ||
         !delta.tokens.empty();
}

}  // namespace

AnswerSink::AnswerSink(int choices, net::ResponseWriter& response, const Clock& clock)
    : response_(response), clock_(clock), finishes_(static_cast<std::size_t>(choices)) {
  client_gone_ = response.client_gone().on_cancel([this] { cancel_.cancel(); });
}

Task<Result<void>> AnswerSink::begin(const ServedBy& served) {
  if (served_) {
    co_return fail(ErrorCode::kInternal, "an answer was begun twice");
  }
  if (cancel_.cancelled()) {
    co_return give_up();
  }
  served_ = served;
  times_.begun = clock_.steady();
  co_return co_await on_begin(served);
}

Task<Result<void>> AnswerSink::write(const ChatDelta& delta) {
  if (!served_) {
    co_return fail(ErrorCode::kInternal, "an answer was written before it was begun");
  }
  if (cancel_.cancelled()) {
    co_return give_up();
  }
  if (delta.index < 0 || static_cast<std::size_t>(delta.index) >= finishes_.size()) {
    co_return fail(ErrorCode::kUpstream, "the model's endpoint sent a choice nobody asked for");
  }
  auto& finish = finishes_[static_cast<std::size_t>(delta.index)];
  // What an upstream tells behind the end, such as its usage, goes on only in its own words.
  if (finish && (delta.raw.empty() || delta.finish || says_something(delta))) {
    co_return Result<void>();
  }
  if (!finish) {
    finish = delta.embed ? FinishReason::kStop : delta.finish;
  }
  if (says_something(delta) && !times_.first_token) {
    times_.first_token = clock_.steady();
  }
  co_return co_await on_delta(delta);
}

bool AnswerSink::complete() const {
  return std::ranges::all_of(finishes_, [](const auto& finish) { return finish.has_value(); });
}

std::unexpected<Error> AnswerSink::give_up() {
  cancel_.cancel();
  return fail(ErrorCode::kCancelled, "the client closed the connection");
}

Task<Result<void>> CollectSink::on_begin(const ServedBy&) {
  co_return Result<void>();
}

Task<Result<void>> CollectSink::on_delta(const ChatDelta& delta) {
  co_return answer_.add(delta);
}

}  // namespace genesis::server
