#include "endpoint/answer_gate.h"

#include <utility>

namespace genesis::endpoint {

AnswerGate::AnswerGate(ChatSink& client, GateOptions options)
    : client_(client),
      options_(options),
      holding_(!options.stream || options.hold),
      transcript_(options.choices, options.max_remembered) {
  if (!options_.stream || !options_.remember) {
    transcript_.give_up();
  }
}

void AnswerGate::start_over() {
  differed_ = false;
  if (committed_) {
    replay_.emplace(transcript_);
    return;
  }
  served_.reset();
  held_.clear();
  held_bytes_ = 0;
}

Task<Result<void>> AnswerGate::begin(const ServedBy& served) {
  if (replay_) {
    co_return Result<void>{};
  }
  served_ = served;
  if (holding_) {
    co_return Result<void>{};
  }
  committed_ = true;
  co_return co_await client_.begin(served);
}

Task<Result<void>> AnswerGate::write(const ChatDelta& delta) {
  if (!holding_) {
    co_return co_await pass(delta);
  }
  held_bytes_ += sizeof(ChatDelta) + delta.text.size() + delta.reasoning.size() +
                 delta.tool_calls_json.size() + delta.raw.size() +
                 sizeof(TokenInfo) * delta.tokens.size();
  if (held_bytes_ <= options_.max_held) {
    held_.push_back(delta);
    co_return Result<void>{};
  }
  if (!options_.stream) {
    co_return fail(ErrorCode::kUpstream, "the answer is larger than the gateway keeps");
  }
  // Too long to be kept back: from here on a stream like any other.
  GENESIS_CO_TRY_VOID(co_await release());
  co_return co_await pass(delta);
}

Task<Result<void>> AnswerGate::pass(const ChatDelta& delta) {
  if (!replay_) {
    transcript_.add(delta);
    co_return co_await client_.write(delta);
  }
  auto fresh = replay_->take(delta);
  if (!fresh) {
    differed_ = true;
    co_return std::unexpected(std::move(fresh).error());
  }
  if (!*fresh) {
    co_return Result<void>{};
  }
  co_return co_await client_.write(**fresh);
}

Task<Result<void>> AnswerGate::release() {
  if (!holding_ || !served_) {
    co_return Result<void>{};
  }
  holding_ = false;
  committed_ = true;
  transcript_.give_up();  // whole, or too long to be remembered
  GENESIS_CO_TRY_VOID(co_await client_.begin(*served_));
  const std::vector<ChatDelta> held = std::exchange(held_, {});
  for (const ChatDelta& delta : held) {
    GENESIS_CO_TRY_VOID(co_await pass(delta));
  }
  co_return Result<void>{};
}

}  // namespace genesis::endpoint
