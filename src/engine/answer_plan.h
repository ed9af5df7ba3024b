// AnswerPlan: what a request means for one model: the prompt, the language its answers must be in,
// and how they are taken apart. Pure; runs on the io thread.
#pragma once

#include "api/chat.h"
#include "base/result.h"
#include "engine/chat_prompt.h"
#include "engine/grammar_store.h"
#include "text/answer/answer_parser.h"

#include <optional>
#include <string>

namespace genesis::engine {

struct AnswerPlan {
  ChatPrompt prompt;
  // How answers are taken apart; unset: they are text.
  std::optional<text::AnswerOptions> parts;
  // The language of the answers, and its name for the store; empty name: any text.
  std::string form_name;
  GrammarStore::Build form;
};

// Errors name the field: kInvalidArgument for tools, tool_choice and history that make no sense,
// kUnsupported for what this model or engine cannot do; otherwise as make_prompt(). What a schema
// or pattern cannot be is found when the form is built: form_error() makes that the client's error.
Result<AnswerPlan> plan_answer(const ChatRequest& request,
                               const TextAssets& assets,
                               const ModelVoice& voice);

// An error of AnswerPlan::form as the client should see it: about the field that gave the form.
Error form_error(Error error, const ChatRequest& request);

}  // namespace genesis::engine
