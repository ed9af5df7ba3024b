#include "app/probe.h"

#include "base/json.h"
#include "base/random.h"

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

namespace genesis::app {

namespace {

using std::chrono::milliseconds;

// Longer than a cold start of a small model; a probe that waits longer is an answer, too.
constexpr milliseconds kLimit{30'000};

class ProbeSink final : public ChatSink {
 public:
  explicit ProbeSink(const Clock& clock) : clock_(clock) {}

  Task<Result<void>> begin(const ServedBy& served) override {
    served_ = served;
    co_return Result<void>{};
  }

  Task<Result<void>> write(const ChatDelta& delta) override {
    if (!first_ && (!delta.text.empty() || !delta.reasoning.empty())) {
      first_ = clock_.steady();
    }
    co_return Result<void>{};
  }

  CancelToken cancel_token() const override { return {}; }

  const ServedBy& served() const { return served_; }

  SteadyTime first() const { return first_.value_or(clock_.steady()); }

 private:
  const Clock& clock_;
  ServedBy served_;
  std::optional<SteadyTime> first_;
};

ChatRequest one_token(const Clock& clock, std::string route) {
  auto input = std::make_shared<ChatInput>();
  input->messages.push_back({.role = "user", .content = "Say yes."});
  ChatRequest request{.id = new_id("req-"),
                      .route = std::move(route),
                      .tenant = "default",
                      .key_id = "probe",
                      .stream = true,
                      .deadline = clock.steady() + kLimit};
  request.sampling.temperature = 0;
  request.sampling.max_tokens = 1;
  request.input = std::move(input);
  return request;
}

}  // namespace

Task<Result<std::string>> probe(ChatModel& chat, const Clock& clock, std::string route) {
  const SteadyTime started = clock.steady();
  const ChatRequest request = one_token(clock, std::move(route));
  ProbeSink sink(clock);
  const auto usage = co_await chat.chat(request, sink);
  if (!usage) {
    co_return std::unexpected(usage.error());
  }
  JsonWriter writer;
  writer.begin_object();
  writer.field_bool("ok", true);
  writer.field("request_id", request.id);
  writer.field("endpoint", sink.served().endpoint);
  writer.field("model", sink.served().model);
  writer.field("tier", tier_name(sink.served().tier));
  writer.field(
      "first_token_ms",
      std::int64_t{std::chrono::duration_cast<milliseconds>(sink.first() - started).count()});
  writer.field("output_tokens", usage->output);
  writer.end_object();
  co_return writer.take();
}

}  // namespace genesis::app
