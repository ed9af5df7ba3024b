// The language of answers that call tools: what a model must write so that AnswerParser reads a
// call whose arguments follow the tool's schema.
#pragma once

#include "base/result.h"
#include "text/answer/tool_format.h"
#include "text/answer/tool_spec.h"
#include "text/grammar/grammar.h"
#include "text/tokenizer.h"

#include <cstddef>
#include <optional>
#include <span>

namespace genesis::text {

struct ToolLanguage {
  ToolFormat format = ToolFormat::kHermes;  // not kNone
  std::span<const ToolSpec> tools;          // not empty
  const Tokenizer* tokenizer = nullptr;     // tells which markers are special tokens
};

struct CallCount {
  std::size_t least = 1;            // not 0
  std::optional<std::size_t> most;  // unset: no limit; 1: parallel_tool_calls is false
};

// Calls in the format's own form, one behind the other. Objects of a schema take no members beside
// those it names, unless it says so by additionalProperties, strict or not: small models do not end
// otherwise. A schema that has a keyword we do not enforce is an error for a strict tool; another's
// arguments are then any object. Errors name tools[i].function.parameters.
Result<GrammarBuilder::Expr> tool_calls_expr(GrammarBuilder& builder,
                                             const ToolLanguage& language,
                                             CallCount count);

// The whole answer under a tool_choice, reasoning apart. auto: text, and behind it calls or none;
// where the format has no opening marker (Llama 3), text or calls. none: text.
Result<GrammarBuilder::Expr> tool_answer_expr(GrammarBuilder& builder,
                                              const ToolLanguage& language,
                                              const ToolChoice& choice,
                                              CallCount count);

struct ReasoningStart {
  ReasoningFormat format = ReasoningFormat::kNone;
  bool inside = false;  // starts_in_reasoning()
};

// What comes before the answer: the rest of the opened reasoning with its closing marker; or, where
// the model may open it, a whole block or nothing.
GrammarBuilder::Expr reasoning_prefix_expr(GrammarBuilder& builder,
                                           ReasoningStart start,
                                           const Tokenizer& tokenizer);

}  // namespace genesis::text
