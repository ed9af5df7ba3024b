#include "server/answer.h"

#include "server/write_tgi.h"

namespace genesis::server {

namespace {

// Rough memory of a token record: the struct, its string's header and a little slack.
constexpr std::size_t kTokenBytes = 96;

std::size_t weight(const std::vector<TokenInfo>& tokens) {
  std::size_t bytes = 0;
  for (const TokenInfo& token : tokens) {
    bytes += kTokenBytes * (1 + token.top.size()) + token.text.size();
  }
  return bytes;
}

void append(std::vector<TokenInfo>& to, const std::vector<TokenInfo>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

Result<void> CollectedAnswer::add(const ChatDelta& delta) {
  bytes_ += delta.text.size() + delta.reasoning.size() + delta.tool_calls_json.size() +
            weight(delta.tokens) + weight(delta.prompt_tokens);
  if (bytes_ > kMaxAnswerBytes) {
    return fail(ErrorCode::kUpstream, "the answer is larger than the server holds in memory");
  }
  CollectedChoice& choice = choices_[static_cast<std::size_t>(delta.index)];
  choice.text += delta.text;
  choice.reasoning += delta.reasoning;
  if (!delta.tool_calls_json.empty()) {
    GENESIS_TRY_VOID(choice.tool_calls.add(delta.tool_calls_json));
  }
  append(choice.tokens, dialect_ == Dialect::kTgi ? tgi_tokens(delta) : delta.tokens);
  append(choice.prompt_tokens, delta.prompt_tokens);
  if (delta.finish) {
    choice.finish = delta.finish;
  }
  return {};
}

Error incomplete_answer() {
  return fail(ErrorCode::kUpstream, "the answer ended without a finish reason").error();
}

}  // namespace genesis::server
