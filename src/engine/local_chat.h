// LocalChat: the engine as a ChatModel. Renders the template, tokenizes, submits, and turns token
// events into deltas (detokenizer, stop strings, usage). Lives on the io thread.
#pragma once

#include "api/chat.h"
#include "base/task.h"
#include "engine/adapter_book.h"
#include "engine/answer_plan.h"
#include "engine/engine.h"
#include "engine/grammar_store.h"
#include "engine/model_voice.h"
#include "engine/text_assets.h"

#include <cstdint>
#include <memory>
#include <string>

namespace genesis::engine {

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
  ModelVoice voice_;
  GrammarStore grammars_;
  ServedBy served_;
  const AdapterBook* adapters_;
};

}  // namespace genesis::engine
