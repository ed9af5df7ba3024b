// Detokenizing, stop strings, parts of the answer and finish reasons of one choice.
#include "engine/choice_text.h"

#include "base/json.h"
#include "base/random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace genesis::engine {

namespace {

using Kind = text::AnswerEvent::Kind;

std::string call_id(text::ToolFormat format) {
  std::array<std::uint8_t, sizeof(text::RandomBits)> bytes{};
  secure_random_bytes(bytes);
  return text::make_tool_call_id(format, std::bit_cast<text::RandomBits>(bytes));
}

// OpenAI's `delta.tool_calls`: what is told of a call at once is one element.
class CallDeltas {
 public:
  explicit CallDeltas(text::ToolFormat format) : format_(format) {}

  void begin(int call, std::string_view name) {
    open(call);
    json_.field("id", call_id(format_));
    json_.field("type", "function");
    name_ = name;
    fresh_ = true;
  }

  void arguments(int call, std::string_view text) {
    if (call != call_) {
      open(call);
    }
    arguments_ += text;
  }

  std::string take() {
    close();
    if (call_ < 0) {
      return {};
    }
    json_.end_array();
    return json_.take();
  }

 private:
  void open(int call) {
    close();
    if (call_ < 0) {
      json_.begin_array();
    }
    call_ = call;
    open_ = true;
    json_.begin_object();
    json_.field("index", std::int64_t{call});
  }

  void close() {
    if (!std::exchange(open_, false)) {
      return;
    }
    json_.key("function");
    json_.begin_object();
    if (std::exchange(fresh_, false)) {
      json_.field("name", name_);
    }
    json_.field("arguments", std::exchange(arguments_, {}));
    json_.end_object();
    json_.end_object();
  }

  text::ToolFormat format_;
  JsonWriter json_;
  int call_ = -1;
  bool open_ = false;
  bool fresh_ = false;
  std::string name_;
  std::string arguments_;
};

}  // namespace

ChoiceText::ChoiceText(std::shared_ptr<const text::Tokenizer> tokenizer,
                       const Sampling& sampling,
                       Options options)
    : tokenizer_(std::move(tokenizer)),
      detokenizer_(tokenizer_, /*skip_special=*/true),
      stops_(sampling.stop, sampling.include_stop_in_output),
      index_(options.index),
      echo_(std::move(options.echo)) {
  if (options.parts) {
    tools_ = options.parts->tools;
    parts_.emplace(*std::move(options.parts));
  }
}

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
      read(delta, event.token.id);
    }
    name_token(event.token);
    delta.tokens.push_back(std::move(event.token));
  }
  if (event.finish || stopped_) {
    finish(delta, stopped_ ? FinishReason::kStopSequence : *event.finish);
  }
  return delta;
}

void ChoiceText::read(ChatDelta& delta, std::int32_t token) {
  reasoning_tokens_ += parts_ && parts_->in_reasoning() ? 1 : 0;
  if (!parts_ || !tokenizer_->is_special(token)) {
    add_text(delta, detokenizer_.push(token));
    return;
  }
  // A special token is no text, but may mark a part of the answer.
  add_text(delta, detokenizer_.flush());
  add_parts(delta, parts_->push_special(tokenizer_->token_bytes(token)));
}

void ChoiceText::add_text(ChatDelta& delta, std::string_view piece) {
  if (parts_) {
    add_parts(delta, parts_->push(piece));
  } else {
    add_content(delta, piece);
  }
}

// Stop strings are looked for in what the user sees: arguments and thoughts may hold them.
void ChoiceText::add_content(ChatDelta& delta, std::string_view piece) {
  text::StopMatcher::Output output = stops_.push(piece);
  delta.text += output.text;
  stopped_ = output.stopped;
}

void ChoiceText::add_parts(ChatDelta& delta, const std::vector<text::AnswerEvent>& events) {
  CallDeltas calls(tools_);
  for (const text::AnswerEvent& event : events) {
    if (stopped_) {
      break;
    }
    if (event.kind != Kind::kText) {
      delta.text += stops_.flush();
    }
    switch (event.kind) {
      case Kind::kText:
        add_content(delta, event.text);
        break;
      case Kind::kReasoning:
        delta.reasoning += event.text;
        break;
      case Kind::kCallBegin:
        calls.begin(event.call, event.text);
        call_is_empty_ = true;
        break;
      case Kind::kArguments:
        calls.arguments(event.call, event.text);
        call_is_empty_ = call_is_empty_ && event.text.empty();
        break;
      case Kind::kCallEnd:
        if (std::exchange(call_is_empty_, false)) {
          calls.arguments(event.call, "{}");
        }
        break;
    }
  }
  std::string json = calls.take();
  if (delta.tool_calls_json.empty()) {
    delta.tool_calls_json = std::move(json);
  } else if (!json.empty()) {
    // Two arrays become one: "[a]" and "[b]" are "[a,b]".
    delta.tool_calls_json.back() = ',';
    delta.tool_calls_json += std::string_view(json).substr(1);
  }
}

void ChoiceText::finish(ChatDelta& delta, FinishReason reason) {
  add_text(delta, detokenizer_.flush());
  if (parts_) {
    add_parts(delta, parts_->finish());
  }
  if (stopped_) {
    reason = FinishReason::kStopSequence;
  } else {
    delta.text += stops_.flush();
  }
  if (parts_ && parts_->calls() > 0 && reason == FinishReason::kStop) {
    reason = FinishReason::kToolCalls;
  }
  delta.finish = reason;
  finished_ = true;
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
