// LocalChat: the engine as a ChatModel. Renders the template, tokenizes, submits, and turns token
// events into deltas (detokenizer, stop strings, usage). Lives on the io thread.
#pragma once

#include "api/chat.h"
#include "base/task.h"
#include "engine/adapter_book.h"
#include "engine/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <memory>
#include <string>

namespace genesis::engine {

// What a model brings beside its weights.
struct TextAssets {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null: chat is refused with a hint
  std::string bos_token;
  std::string eos_token;
};

class LocalChat final : public ChatModel {
 public:
  // Events are posted to `executor`. This object goes before `engine` and before the executor's
  // context, in whichever order those go; a chat() still suspended then may only be destroyed.
  // `adapters`, if any, are served by their names beside the model; other names are kNotFound.
  LocalChat(Executor executor,
            Engine& engine,
            TextAssets assets,
            ServedBy served,
            const AdapterBook* adapters = nullptr);
  ~LocalChat() override;
  LocalChat(const LocalChat&) = delete;
  LocalChat& operator=(const LocalChat&) = delete;

  // begin() comes with the first token. Errors: the engine's submit() errors, kUnsupported (no chat
  // template), kCancelled (the sink's token), kTimeout (the request's deadline), kInternal.
  Task<Result<Usage>> chat(const ChatRequest& request, ChatSink& sink) override;

  // The tokens of the prompt that chat() would make of `request`.
  Result<std::int64_t> count_tokens(const ChatRequest& request) const;

 private:
  class Line;
  class Submission;

  Executor executor_;
  std::shared_ptr<Line> line_;
  TextAssets assets_;
  ServedBy served_;
  const AdapterBook* adapters_;
};

}  // namespace genesis::engine
