// Reserve, call, end.
#include "ledger/metered.h"

#include "base/log.h"
#include "ledger/price_table.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace genesis::ledger {

namespace {

constexpr std::int64_t kTokensPerMessage = 16;
constexpr std::int64_t kBytesPerToken = 4;

std::int64_t text_bound(std::string_view text) {
  const auto ascii = std::count_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return (ascii + 1) / 2 + (std::ssize(text) - ascii);
}

std::int64_t input_bound(const ChatInput& input) {
  std::int64_t tokens = text_bound(input.prompt) + text_bound(input.tools_json) +
                        std::ssize(input.prompt_tokens) + kTokensPerMessage;
  for (const ChatMessage& message : input.messages) {
    tokens += kTokensPerMessage + text_bound(message.content) + text_bound(message.name) +
              text_bound(message.tool_calls_json);
  }
  return tokens;
}

std::string_view finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kStopSequence:
      return "stop_sequence";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kToolCalls:
      return "tool_calls";
    case FinishReason::kContentFilter:
      return "content_filter";
  }
  return "unknown";
}

// Passes everything on and counts what the reader got.
class CountingSink final : public ChatSink {
 public:
  CountingSink(ChatSink& inner, const Clock& clock)
      : inner_(inner), clock_(clock), started_(clock.steady()) {}

  Task<Result<void>> begin(const ServedBy& served) override {
    begun_ = true;
    return inner_.begin(served);
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    const std::size_t bytes =
        delta.text.size() + delta.reasoning.size() + delta.tool_calls_json.size();
    if (bytes > 0 || !delta.tokens.empty()) {
      bytes_ += static_cast<std::int64_t>(bytes);
      deltas_ += std::max<std::int64_t>(1, std::ssize(delta.tokens));
      if (!first_token_ms_) {
        first_token_ms_ = elapsed_ms();
      }
    }
    if (delta.finish) {
      finish_ = finish_name(*delta.finish);
    }
    return inner_.write(delta);
  }

  CancelToken cancel_token() const override { return inner_.cancel_token(); }

  bool begun() const { return begun_; }

  std::string_view finish() const { return finish_; }

  std::int64_t delivered_tokens() const {
    return std::max(deltas_, (bytes_ + kBytesPerToken - 1) / kBytesPerToken);
  }

  std::int64_t first_token_ms() const { return first_token_ms_.value_or(-1); }

  std::int64_t elapsed_ms() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(clock_.steady() - started_)
        .count();
  }

 private:
  ChatSink& inner_;
  const Clock& clock_;
  SteadyTime started_;
  bool begun_ = false;
  std::int64_t bytes_ = 0;
  std::int64_t deltas_ = 0;
  std::optional<std::int64_t> first_token_ms_;
  std::string_view finish_ = "stop";
};

// Errors that say, when nothing had begun, that the upstream took on no work.
bool nothing_used(const Error& error) {
  switch (error.code) {
    case ErrorCode::kCancelled:
    case ErrorCode::kInternal:
    case ErrorCode::kDataLoss:
      return false;
    case ErrorCode::kUpstream:
      return error.upstream_status >= 400;
    default:
      // A connection cut after a 2xx head: the upstream was at work, and bills.
      return error.upstream_status < 200 || error.upstream_status > 299;
  }
}

struct Booked {
  Usage usage;
  bool estimated = false;
};

// What to book for a full answer: the upstream's own counts where they can be true.
Booked booked_usage(const Usage& told, const Usage& bound, const CountingSink& sink) {
  Booked booked{told, false};
  if (!validate_usage(told)) {
    booked.usage = {.input = bound.input, .output = sink.delivered_tokens()};
    booked.estimated = true;
    return booked;
  }
  if (told.input == 0) {
    booked.usage.input = bound.input;
    booked.estimated = true;
  }
  if (told.output == 0 && sink.delivered_tokens() > 0) {
    booked.usage.output = sink.delivered_tokens();
    booked.estimated = true;
  }
  return booked;
}

// Output of an answer that was cut: what came through of a stream; of a body that is not streamed
// nothing can be seen, so all that it may have cost.
std::int64_t cut_output(const ChatRequest& request, const Usage& bound, const CountingSink& sink) {
  return request.stream || sink.begun() ? sink.delivered_tokens() : bound.output;
}

}  // namespace

Usage upper_bound(const ChatRequest& request, std::int64_t output_cap) {
  const std::int64_t each = request.sampling.max_tokens.value_or(static_cast<int>(output_cap));
  return {.input = input_bound(*request.input), .output = each * std::max(1, request.n)};
}

MeteredChat::MeteredChat(Ledger& ledger,
                         const Clock& clock,
                         MetricsRegistry& metrics,
                         ChatModel& inner,
                         MeteredOptions options)
    : ledger_(ledger),
      clock_(clock),
      inner_(inner),
      options_(std::move(options)),
      unbooked_(metrics.counter("genesis_ledger_unbooked_attempts_total",
                                "Attempts that could not be booked in full")),
      estimated_(metrics.counter("genesis_ledger_estimated_attempts_total",
                                 "Attempts booked with estimated token counts")) {}

Task<Result<Usage>> MeteredChat::chat(const ChatRequest& request, ChatSink& sink) {
  const AttemptId id{request.id, std::max(1U, request.attempt)};
  const Reservation reservation{.id = id,
                                .tenant = request.tenant,
                                .key_id = request.key_id,
                                .route = request.route,
                                .endpoint = options_.endpoint,
                                .tier = options_.tier,
                                .model = options_.price_model,
                                .upper_bound = upper_bound(request, options_.output_cap)};
  const auto reserved = co_await ledger_.reserve(reservation);
  if (reserved) {
    co_return co_await dispatch(request, sink, id);
  }
  note_unbooked(id, reserved.error());
  if (options_.tier != Tier::kSelfHosted) {
    co_return fail(ErrorCode::kUnavailable,
                   "ledger unavailable: a paid endpoint is not called without a booking",
                   "check the disk that holds the database");
  }
  co_return co_await inner_.chat(request, sink);
}

Task<Result<Usage>> MeteredChat::dispatch(const ChatRequest& request,
                                          ChatSink& sink,
                                          const AttemptId& id) {
  if (sink.cancel_token().cancelled()) {
    co_await void_attempt(id, "cancelled before dispatch");
    co_return fail(ErrorCode::kCancelled, "the caller is gone");
  }
  CountingSink counting(sink, clock_);
  auto answer = co_await inner_.chat(request, counting);
  if (!answer && !counting.begun() && nothing_used(answer.error())) {
    co_await void_attempt(id, std::string(error_code_name(answer.error().code)));
    co_return answer;
  }
  const Usage bound = upper_bound(request, options_.output_cap);
  const Booked booked =
      answer ? booked_usage(*answer, bound, counting)
             : Booked{{.input = bound.input, .output = cut_output(request, bound, counting)}, true};
  AttemptOutcome outcome{
      .usage = booked.usage,
      .delivered = answer.has_value(),
      .finish = std::string(answer ? counting.finish() : error_code_name(answer.error().code)),
      .first_token_ms = counting.first_token_ms(),
      .total_ms = counting.elapsed_ms()};
  if (booked.estimated) {
    outcome.finish += ";estimated";
    estimated_.add();
  }
  co_await end_attempt(id, outcome);
  if (answer) {
    co_return booked.usage;
  }
  co_return answer;
}

Task<void> MeteredChat::end_attempt(const AttemptId& id, const AttemptOutcome& outcome) {
  const auto posted = co_await ledger_.post(id, outcome);
  // kNotFound with a model's name is a quarantined row: booked, and reported by the ledger.
  if (!posted && (posted.error().code != ErrorCode::kNotFound || posted.error().param.empty())) {
    note_unbooked(id, posted.error());
  }
}

Task<void> MeteredChat::void_attempt(const AttemptId& id, std::string reason) {
  const auto voided = co_await ledger_.void_attempt(id, reason);
  if (!voided) {
    note_unbooked(id, voided.error());
  }
}

void MeteredChat::note_unbooked(const AttemptId& id, const Error& error) {
  unbooked_.add();
  log(LogLevel::kError,
      "an attempt could not be booked",
      {{"request_id", id.request_id},
       {"attempt", id.attempt},
       {"endpoint", options_.endpoint},
       {"error", error.message}});
}

}  // namespace genesis::ledger
