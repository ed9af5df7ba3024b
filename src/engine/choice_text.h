// ChoiceText: the text side of one choice, from token events to deltas.
#pragma once

#include "api/chat.h"
#include "engine/engine.h"
#include "text/answer/answer_parser.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace genesis::engine {

// Not thread-safe: lives in the coroutine that answers the request.
class ChoiceText {
 public:
  struct Options {
    int index = 0;
    std::string echo;  // comes in front of the first delta
    // How to take the answer apart into text, reasoning and calls; unset: all of it is text.
    std::optional<text::AnswerOptions> parts = std::nullopt;
  };

  ChoiceText(std::shared_ptr<const text::Tokenizer> tokenizer,
             const Sampling& sampling,
             Options options);

  // The delta for one token event without error. After it finished() tells whether the choice is
  // over, also by a stop string, which the engine does not know: the caller then aborts the
  // sequence.
  ChatDelta accept(GenerateEvent event);

  bool finished() const { return finished_; }

  // Tokens that were reasoning, so far.
  std::int64_t reasoning_tokens() const { return reasoning_tokens_; }

 private:
  void read(ChatDelta& delta, std::int32_t token);
  void add_text(ChatDelta& delta, std::string_view piece);
  void add_content(ChatDelta& delta, std::string_view piece);
  void add_parts(ChatDelta& delta, const std::vector<text::AnswerEvent>& events);
  void finish(ChatDelta& delta, FinishReason reason);
  bool ends(std::int32_t token) const;
  void name_token(TokenInfo& token) const;

  std::shared_ptr<const text::Tokenizer> tokenizer_;
  text::Detokenizer detokenizer_;
  text::StopMatcher stops_;
  int index_;
  std::string echo_;
  text::ToolFormat tools_ = text::ToolFormat::kNone;
  std::optional<text::AnswerParser> parts_;
  bool call_is_empty_ = false;  // the call begun last has no arguments yet
  std::int64_t reasoning_tokens_ = 0;
  bool stopped_ = false;
  bool finished_ = false;
};

}  // namespace genesis::engine
