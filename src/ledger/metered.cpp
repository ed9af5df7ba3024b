// Reserve, call, end.
#include "ledger/metered.h"

#include "base/json.h"
#include "base/log.h"
#include "ledger/entry.h"
#include "ledger/price_table.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace genesis::ledger {

namespace {

constexpr std::chrono::seconds kDisputePause{60};

constexpr std::int64_t kTokensPerMessage = 16;
constexpr std::int64_t kBytesPerToken = 4;
constexpr std::string_view kEstimated = ";estimated";

std::int64_t text_bound(std::string_view text) {
  const auto ascii = std::count_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return (ascii + 1) / 2 + (std::ssize(text) - ascii);
}

std::int64_t embed_bound(const EmbedInput& embed) {
  std::int64_t tokens = 0;
  for (const std::string& text : embed.texts) {
    tokens += kTokensPerMessage + text_bound(text) + text_bound(embed.query);
  }
  for (const std::string& pair : embed.pairs) {
    tokens += text_bound(pair);
  }
  for (const auto& list : embed.token_lists) {
    tokens += kTokensPerMessage + std::ssize(list);
  }
  return tokens;
}

std::int64_t input_bound(const ChatInput& input) {
  if (input.embed) {
    return embed_bound(*input.embed);
  }
  std::int64_t tokens = text_bound(input.prompt) + text_bound(input.tools_json) +
                        std::ssize(input.prompt_tokens) + kTokensPerMessage;
  for (const ChatMessage& message : input.messages) {
    tokens += kTokensPerMessage + text_bound(message.content) + text_bound(message.name) +
              text_bound(message.tool_calls_json) + text_bound(message.parts_json) +
              text_bound(message.reasoning);
  }
  return tokens;
}

// Counts that can be true.
struct Range {
  std::int64_t low = 0;
  std::int64_t high = INT64_MAX;

  bool holds(std::int64_t count) const { return count >= low && count <= high; }

  std::int64_t nearest(std::int64_t count) const { return std::clamp(count, low, high); }
};

// metered.h says where these come from.
constexpr std::int64_t kMostBytesPerToken = 16;
constexpr std::int64_t kMostInputBytesPerToken = 32;
constexpr std::int64_t kSilentTokensPerChoice = 16;
constexpr std::int64_t kInputSlack = 256;
constexpr std::int64_t kExactSlackPerChoice = 2;
constexpr std::int64_t kExactSlackDivisor = 50;

std::string money_labels(const MeteredOptions& options) {
  return prometheus_label("endpoint", options.endpoint) + "," +
         prometheus_label("tier", tier_name(options.tier));
}

Range input_range(const ChatInput& input) {
  std::int64_t bytes = std::ssize(input.prompt);
  bool images = false;
  for (const ChatMessage& message : input.messages) {
    bytes += std::ssize(message.content);
    images = images || !message.parts_json.empty();
  }
  for (const std::string& text : input.embed ? input.embed->texts : std::vector<std::string>{}) {
    bytes += std::ssize(text);
  }
  return {.low = bytes / kMostInputBytesPerToken,
          .high = images ? INT64_MAX : 2 * input_bound(input) + kInputSlack};
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

// What a model wrote of tool calls: names and arguments. The JSON around them is the upstream's.
std::size_t call_bytes(std::string_view calls_json) {
  if (calls_json.empty()) {
    return 0;
  }
  const auto calls = parse_json(calls_json);
  const auto* list = calls ? calls->if_array() : nullptr;
  std::size_t bytes = 0;
  for (const auto& call : list == nullptr ? boost::json::array() : *list) {
    const auto* object = call.if_object();
    const auto* function = object == nullptr ? nullptr : object->if_contains("function");
    for (const std::string_view key : {"name", "arguments"}) {
      const auto* text = function != nullptr && function->is_object()
                             ? function->get_object().if_contains(key)
                             : nullptr;
      bytes += text != nullptr && text->is_string() ? text->get_string().size() : 0;
    }
  }
  return bytes;
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
        delta.text.size() + delta.reasoning.size() + call_bytes(delta.tool_calls_json);
    if (bytes > 0 || !delta.tokens.empty()) {
      bytes_ += static_cast<std::int64_t>(bytes);
      tokens_ += std::ssize(delta.tokens);
      all_tokens_told_ = all_tokens_told_ && (bytes == 0 || !delta.tokens.empty());
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

  // What the output's count can be, `choices` answers together.
  Range output_range(std::int64_t choices) const {
    if (tokens_ > 0 && all_tokens_told_) {
      const std::int64_t slack =
          std::max(kExactSlackPerChoice * choices, tokens_ / kExactSlackDivisor);
      return {.low = std::max<std::int64_t>(0, tokens_ - slack), .high = tokens_ + slack};
    }
    return {.low = bytes_ / kMostBytesPerToken,
            .high = std::max(bytes_, deltas_) + kSilentTokensPerChoice * choices};
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
  std::int64_t tokens_ = 0;
  bool all_tokens_told_ = true;
  std::optional<std::int64_t> first_token_ms_;
  std::string_view finish_ = "stop";
};

// Went out, and nothing came back until a guard of ours (endpoint/guarded_chat) gave up: it names
// the budget that ran out, while a connection that never opened names none.
bool sent_and_silent(const Error& error) {
  return error.code == ErrorCode::kTimeout && error.upstream_status == 0 && !error.param.empty();
}

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
  std::string remark;             // ";estimated" and the like
  std::optional<Usage> disputed;  // what the upstream said
};

// Holds the upstream's counts against ours.
void compare_counts(Booked& booked, const ChatRequest& request, const CountingSink& sink) {
  const Usage told = booked.usage;
  const Range input = input_range(*request.input);
  const Range output = sink.output_range(std::max(1, request.n));
  const std::int64_t visible = told.output - told.reasoning;
  const bool output_good = told.output >= output.low && visible <= output.high;
  if (input.holds(told.input) && (output_good || is_embed(request.dialect))) {
    return;
  }
  booked.disputed = told;
  booked.usage.input = std::max(told.input, input.nearest(told.input));
  if (!output_good) {
    booked.usage.output = std::max(told.output, output.nearest(told.output));
    booked.remark += fmt::format(";own_output={}..{}", output.low, output.high);
  }
  if (!input.holds(told.input)) {
    booked.remark += fmt::format(";own_input={}..{}", input.low, input.high);
  }
}

// What to book for a full answer: the upstream's own counts where they can be true.
Booked booked_usage(const Usage& told,
                    const Usage& bound,
                    const ChatRequest& request,
                    const CountingSink& sink) {
  Booked booked{.usage = told, .remark = {}, .disputed = {}};
  if (!validate_usage(told)) {
    booked.usage = {.input = bound.input, .output = sink.delivered_tokens()};
    booked.remark = kEstimated;
    return booked;
  }
  if (told.input == 0) {
    booked.usage.input = bound.input;
    booked.remark = kEstimated;
  }
  if (told.output == 0 && sink.delivered_tokens() > 0) {
    booked.usage.output = sink.delivered_tokens();
    booked.remark = kEstimated;
  }
  if (booked.remark.empty()) {
    compare_counts(booked, request, sink);
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
  if (is_embed(request.dialect)) {
    return {.input = input_bound(*request.input)};
  }
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
      cost_(metrics.counter("genesis_cost_usd_total",
                            "What attempts were booked at, in USD; tokens only",
                            money_labels(options_))),
      baseline_(metrics.counter("genesis_baseline_usd_total",
                                "What delivered answers would have cost at their pinned prices",
                                money_labels(options_))),
      unbooked_(metrics.counter("genesis_ledger_unbooked_attempts_total",
                                "Attempts that could not be booked in full")),
      estimated_(metrics.counter("genesis_ledger_estimated_attempts_total",
                                 "Attempts booked with estimated token counts")),
      disputed_(metrics.counter("genesis_ledger_disputed_attempts_total",
                                "Attempts whose upstream counted tokens as they cannot be",
                                prometheus_label("endpoint", options_.endpoint))) {}

Task<Result<Usage>> MeteredChat::chat(const ChatRequest& request, ChatSink& sink) {
  const AttemptId id{request.id, std::max(1U, request.attempt)};
  const Reservation reservation{.id = id,
                                .tenant = request.tenant,
                                .key_id = request.key_id,
                                .team = request.caller.team,
                                .agent = request.caller.agent,
                                .route = request.route,
                                .endpoint = options_.endpoint,
                                .tier = options_.tier,
                                .model = options_.price_model,
                                .upper_bound = upper_bound(request, options_.output_cap)};
  const auto reserved = co_await ledger_.reserve(reservation);
  if (reserved) {
    co_return co_await dispatch(request, sink, id, reservation.upper_bound);
  }
  if (reserved.error().code == ErrorCode::kBudgetExhausted) {
    co_return std::unexpected(reserved.error());
  }
  note_unbooked(id, reserved.error());
  if (options_.tier != Tier::kSelfHosted) {
    auto closed = fail(ErrorCode::kUnavailable,
                       "ledger unavailable: a paid endpoint is not called without a booking",
                       "check the disk that holds the database");
    closed.error().type = kLedgerUnavailable;
    co_return closed;
  }
  co_return co_await inner_.chat(request, sink);
}

Task<Result<Usage>> MeteredChat::dispatch(const ChatRequest& request,
                                          ChatSink& sink,
                                          const AttemptId& id,
                                          const Usage& bound) {
  if (sink.cancel_token().cancelled()) {
    co_await void_attempt(id, "cancelled before dispatch");
    co_return fail(ErrorCode::kCancelled, "the caller is gone");
  }
  CountingSink counting(sink, clock_);
  auto answer = co_await inner_.chat(request, counting);
  const bool silent = !answer && !counting.begun() && sent_and_silent(answer.error()) &&
                      options_.tier != Tier::kSelfHosted;
  if (!answer && !silent && !counting.begun() && nothing_used(answer.error())) {
    co_await void_attempt(id, std::string(error_code_name(answer.error().code)));
    co_return answer;
  }
  const Booked booked =
      answer
          ? booked_usage(*answer, bound, request, counting)
          : Booked{.usage = {.input = bound.input, .output = cut_output(request, bound, counting)},
                   .remark = std::string(kEstimated),
                   .disputed = {}};
  AttemptOutcome outcome{
      .usage = booked.usage,
      .delivered = answer.has_value(),
      .finish = std::string(answer ? counting.finish() : error_code_name(answer.error().code)),
      .disputed = booked.disputed,
      .unconfirmed = silent,
      .first_token_ms = counting.first_token_ms(),
      .total_ms = counting.elapsed_ms()};
  if (!silent) {
    outcome.finish += booked.remark;
    estimated_.add(booked.remark == kEstimated ? 1 : 0);
  }
  note_dispute(id, outcome);
  co_await end_attempt(request, id, outcome);
  if (answer) {
    co_return booked.usage;
  }
  co_return answer;
}

void MeteredChat::note_dispute(const AttemptId& id, const AttemptOutcome& outcome) {
  if (!outcome.disputed) {
    return;
  }
  disputed_.add();
  ++disputes_unsaid_;
  // An upstream that counts otherwise does so in every answer: the rows tell of each, the log of
  // one a minute.
  const SteadyTime now = clock_.steady();
  if (dispute_said_ && now - *dispute_said_ < kDisputePause) {
    return;
  }
  dispute_said_ = now;
  log(LogLevel::kWarn,
      "the upstream counts tokens as they cannot be: the row is disputed",
      {{"request_id", id.request_id},
       {"endpoint", options_.endpoint},
       {"told", usage_json(*outcome.disputed)},
       {"booked", usage_json(outcome.usage)},
       {"ended", outcome.finish},
       {"disputes", std::exchange(disputes_unsaid_, 0)}});
}

Task<void> MeteredChat::end_attempt(const ChatRequest& request,
                                    const AttemptId& id,
                                    const AttemptOutcome& outcome) {
  const auto posted = co_await ledger_.post(id, outcome);
  if (posted) {
    cost_.add(usd_for_gauges(posted->cost));
    baseline_.add(usd_for_gauges(posted->baseline.value_or(0)));
  }
  if (request.bill && posted) {
    request.bill->add(*posted);
  } else if (request.bill) {
    request.bill->spoil();
  }
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
