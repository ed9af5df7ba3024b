// ChoiceText: the text side of one choice, from token events to deltas.
#pragma once

#include "api/chat.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

#include <memory>
#include <string>
#include <string_view>

namespace genesis::engine {

// Not thread-safe: lives in the coroutine that answers the request.
class ChoiceText {
 public:
  ChoiceText(std::shared_ptr<const text::Tokenizer> tokenizer,
             const Sampling& sampling,
             int index,
             std::string echo);

  // The delta for one token event without error. After it finished() tells whether the choice is
  // over, also by a stop string, which the engine does not know: the caller then aborts the
  // sequence.
  ChatDelta accept(GenerateEvent event);

  bool finished() const { return finished_; }

 private:
  void add_text(ChatDelta& delta, std::string_view piece);
  bool ends(std::int32_t token) const;
  void name_token(TokenInfo& token) const;

  std::shared_ptr<const text::Tokenizer> tokenizer_;
  text::Detokenizer detokenizer_;
  text::StopMatcher stops_;
  int index_;
  std::string echo_;  // sent in front of the first delta
  bool stopped_ = false;
  bool finished_ = false;
};

}  // namespace genesis::engine
