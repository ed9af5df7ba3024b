// Detokenizing, stop strings and finish reasons of one choice.
#include "engine/choice_text.h"

#include <algorithm>
#include <utility>

namespace genesis::engine {

ChoiceText::ChoiceText(std::shared_ptr<const text::Tokenizer> tokenizer,
                       const Sampling& sampling,
                       int index,
                       std::string echo)
    : tokenizer_(std::move(tokenizer)),
      detokenizer_(tokenizer_, /*skip_special=*/true),
      stops_(sampling.stop, sampling.include_stop_in_output),
      index_(index),
      echo_(std::move(echo)) {}

ChatDelta ChoiceText::accept(GenerateEvent event) {
  ChatDelta delta;
  delta.index = index_;
  delta.text = std::exchange(echo_, {});
  delta.prompt_tokens = std::move(event.prompt_tokens);
  for (TokenInfo& token : delta.prompt_tokens) {
    name_token(token);
  }
  if (event.token.id >= 0) {
    // An end token is told as a token but is no part of the text, special or not.
    if (event.finish != FinishReason::kStop || !ends(event.token.id)) {
      add_text(delta, detokenizer_.push(event.token.id));
    }
    name_token(event.token);
    delta.tokens.push_back(std::move(event.token));
  }
  if (event.finish && !stopped_) {
    add_text(delta, detokenizer_.flush());
  }
  if (event.finish && !stopped_) {
    delta.text += stops_.flush();
  }
  delta.finish = stopped_ ? FinishReason::kStopSequence : event.finish;
  finished_ = delta.finish.has_value();
  return delta;
}

void ChoiceText::add_text(ChatDelta& delta, std::string_view piece) {
  text::StopMatcher::Output output = stops_.push(piece);
  delta.text += output.text;
  stopped_ = output.stopped;
}

bool ChoiceText::ends(std::int32_t token) const {
  return std::ranges::find(tokenizer_->end_ids(), token) != tokenizer_->end_ids().end();
}

void ChoiceText::name_token(TokenInfo& token) const {
  token.text = tokenizer_->token_bytes(token.id);
  token.special = tokenizer_->is_special(token.id);
  for (TokenAlternative& alternative : token.top) {
    alternative.text = tokenizer_->token_bytes(alternative.id);
  }
}

}  // namespace genesis::engine
