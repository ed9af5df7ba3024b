// An answer between the model and the wire: the whole of it (CollectedAnswer), or its stream form
// (StreamFormat), of which each dialect has one.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "server/anthropic_raw.h"
#include "server/call.h"
#include "server/openai_raw.h"
#include "server/tool_calls.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::server {

// More than any model writes in one answer; keeps a runaway upstream from filling the memory.
inline constexpr std::size_t kMaxAnswerBytes = 64 * 1024 * 1024;

// What every object of one answer repeats.
struct AnswerMeta {
  const InferenceCall& call;  // outlives the answer
  std::string id;             // "chatcmpl-...", "cmpl-...", "msg_...", "resp_..."
  std::int64_t created = 0;   // unix seconds
  std::string fingerprint;    // stable per build
};

// The part of the request's id behind "req-", from which other ids of the answer are made.
std::string_view serial_of(const AnswerMeta& meta);

struct CollectedChoice {
  std::string text;
  std::string reasoning;
  ToolCallMerger tool_calls;
  std::vector<TokenInfo> tokens;
  std::vector<TokenInfo> prompt_tokens;
  std::optional<FinishReason> finish;
  std::string stop_sequence;
};

// Deltas added up.
class CollectedAnswer {
 public:
  CollectedAnswer(int choices, Dialect dialect)
      : choices_(static_cast<std::size_t>(choices)),
        dialect_(dialect),
        openai_(static_cast<std::size_t>(choices)) {}

  // `delta.index` is in range. kUpstream above kMaxAnswerBytes.
  Result<void> add(const ChatDelta& delta);

  const std::vector<CollectedChoice>& choices() const { return choices_; }

  // The upstream's own objects, where it speaks OpenAI as the client does.
  const OpenAiRaw& openai() const { return openai_; }

  // The body that the upstream's own objects make, where it speaks the client's dialect.
  std::optional<std::string> native_body() const;

  // Of the dialects of embedding.
  const std::shared_ptr<const EmbedAnswer>& embed() const { return embed_; }

 private:
  void add_raw(std::string_view raw);

  std::vector<CollectedChoice> choices_;
  Dialect dialect_;
  std::size_t bytes_ = 0;
  OpenAiRaw openai_;
  AnthropicRaw anthropic_;
  std::string raw_body_;  // of the dialects whose answer is one object
  std::shared_ptr<const EmbedAnswer> embed_;
};

// Makes the frames of one answer's event stream: begin() once, then delta() for each delta, then
// end(). Frames are complete SSE events; what never changes is prepared in begin().
class StreamFormat {
 public:
  virtual ~StreamFormat() = default;
  virtual void begin(const ServedBy& served) = 0;
  virtual Result<std::string> delta(const ChatDelta& delta) = 0;
  virtual std::string end(const Usage& usage) = 0;

  // What ends the stream of a cut answer; `body` is the error in the dialect's words.
  virtual std::string cut(const Error& error, std::string_view body);
};

// The answer's unfinished choices: an error instead of an invented end.
Error incomplete_answer();

}  // namespace genesis::server
