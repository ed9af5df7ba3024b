// An answer between the model and the wire: the whole of it (CollectedAnswer), or its stream form
// (StreamFormat), of which each dialect has one.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "server/call.h"
#include "server/tool_calls.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace genesis::server {

// More than any model writes in one answer; keeps a runaway upstream from filling the memory.
inline constexpr std::size_t kMaxAnswerBytes = 64 * 1024 * 1024;

// What every object of one answer repeats.
struct AnswerMeta {
  const InferenceCall& call;  // outlives the answer
  std::string id;             // "chatcmpl-...", "cmpl-..."
  std::int64_t created = 0;   // unix seconds
  std::string fingerprint;    // stable per build
};

struct CollectedChoice {
  std::string text;
  std::string reasoning;
  ToolCallMerger tool_calls;
  std::vector<TokenInfo> tokens;
  std::vector<TokenInfo> prompt_tokens;
  std::optional<FinishReason> finish;
};

// Deltas added up.
class CollectedAnswer {
 public:
  CollectedAnswer(int choices, Dialect dialect)
      : choices_(static_cast<std::size_t>(choices)), dialect_(dialect) {}

  // `delta.index` is in range. kUpstream above kMaxAnswerBytes.
  Result<void> add(const ChatDelta& delta);

  const std::vector<CollectedChoice>& choices() const { return choices_; }

 private:
  std::vector<CollectedChoice> choices_;
  Dialect dialect_;
  std::size_t bytes_ = 0;
};

// Makes the frames of one answer's event stream: begin() once, then delta() for each delta, then
// end(). Frames are complete SSE events; what never changes is prepared in begin().
class StreamFormat {
 public:
  virtual ~StreamFormat() = default;
  virtual void begin(const ServedBy& served) = 0;
  virtual Result<std::string> delta(const ChatDelta& delta) = 0;
  virtual std::string end(const Usage& usage) = 0;
};

// The answer's unfinished choices: an error instead of an invented end.
Error incomplete_answer();

}  // namespace genesis::server
