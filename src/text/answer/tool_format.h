// Tool formats and reasoning formats: how a model family writes calls of tools and its thoughts
// into its answer, and how to tell the family from its template and vocabulary.
#pragma once

#include "text/tokenizer.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::text {

// What each looks like is in tool_dialect.cpp.
enum class ToolFormat : std::uint8_t {
  kNone,       // answers are text
  kHermes,     // <tool_call>{"name", "arguments"}</tool_call>: Hermes, Qwen, SmolLM2, Falcon3
  kLlama3,     // {"name", "parameters"}, bare or behind <|python_tag|>
  kMistral,    // [TOOL_CALLS][{...}] and [TOOL_CALLS]name[ARGS]{...}
  kDeepSeek,   // V3, R1 and V3.1
  kGemmaJson,  // {"name", "parameters"}, bare or in a fence ```json
  kPhi4,       // <|tool_call|>[{...}]<|/tool_call|>
};

enum class ReasoningFormat : std::uint8_t {
  kNone,
  kThink,         // <think>...</think>: DeepSeek-R1, Qwen3, QwQ
  kMistralThink,  // [THINK]...[/THINK]: Magistral
};

std::string_view tool_format_name(ToolFormat format);
std::string_view reasoning_format_name(ReasoningFormat format);

// The format whose markers the template writes; for a template that knows no tools, the format
// this vocabulary can be asked for by tool_instruction(). Never kNone.
ToolFormat detect_tool_format(std::string_view template_source, const Tokenizer& tokenizer);
ReasoningFormat detect_reasoning_format(std::string_view template_source,
                                        const Tokenizer& tokenizer);

struct ReasoningMarkers {
  std::string_view open;  // empty for ReasoningFormat::kNone
  std::string_view close;
};

ReasoningMarkers reasoning_markers(ReasoningFormat format);

// True when the prompt ends with an opened think block and nothing but white space behind it: the
// answer then begins as reasoning. Only the end counts, as users may write the marker, too; a
// template always writes the head of the assistant's turn behind what users wrote.
bool starts_in_reasoning(std::string_view prompt_tail, ReasoningFormat format);

// An id for a call, as the format's templates take it back: nine letters and digits for Mistral,
// whose template refuses others; "call_" and 24 for the rest. `random` holds 128 random bits.
struct RandomBits {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
};

std::string make_tool_call_id(ToolFormat format, RandomBits random);

}  // namespace genesis::text
