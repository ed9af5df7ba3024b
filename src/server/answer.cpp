#include "server/answer.h"

#include "net/sse.h"
#include "server/write_tgi.h"

#include <algorithm>

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
  bytes_ += delta.raw.size() + delta.text.size() + delta.reasoning.size() +
            delta.tool_calls_json.size() + weight(delta.tokens) + weight(delta.prompt_tokens);
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
    choice.stop_sequence = delta.stop_sequence;
  }
  if (delta.embed) {
    embed_ = delta.embed;
    choice.finish = FinishReason::kStop;
  }
  if (!delta.raw.empty()) {
    add_raw(delta.raw);
  }
  return {};
}

void CollectedAnswer::add_raw(std::string_view raw) {
  switch (dialect_) {
    case Dialect::kOpenAiChat:
    case Dialect::kOpenAiCompletion:
      openai_.add(raw);
      break;
    case Dialect::kAnthropic:
      anthropic_.add(raw);
      break;
    case Dialect::kEmbeddings:
    case Dialect::kTei:
    case Dialect::kTgi:
      raw_body_ = raw;
      break;
    case Dialect::kResponses:
      break;  // no upstream is asked in these words
  }
}

std::optional<std::string> CollectedAnswer::native_body() const {
  if (const auto whole = openai_.whole()) {
    return std::string(*whole);
  }
  if (!raw_body_.empty()) {
    return raw_body_;
  }
  return anthropic_.body();
}

std::string_view serial_of(const AnswerMeta& meta) {
  std::string_view serial = meta.call.request.id;
  serial.remove_prefix(std::min(serial.size(), std::string_view("req-").size()));
  return serial;
}

std::string StreamFormat::cut(const Error&, std::string_view body) {
  return net::sse_frame(body);
}

Error incomplete_answer() {
  return fail(ErrorCode::kUpstream, "the answer ended without a finish reason").error();
}

}  // namespace genesis::server
