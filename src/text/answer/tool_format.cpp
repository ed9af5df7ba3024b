// Names, detection and ids.
#include "text/answer/tool_format.h"

#include "text/answer/tool_dialect.h"

#include <algorithm>
#include <array>

namespace genesis::text {

namespace {

struct Mark {
  std::string_view text;
  ToolFormat format;
};

// In order: a template that writes several (Hermes' tags beside others) is told by the first.
constexpr std::array<Mark, 6> kTemplateMarks{{{"<｜tool▁call▁begin｜>", ToolFormat::kDeepSeek},
                                              {"[TOOL_CALLS]", ToolFormat::kMistral},
                                              {"<|tool_call|>", ToolFormat::kPhi4},
                                              {"<|tool|>", ToolFormat::kPhi4},
                                              {"<tool_call>", ToolFormat::kHermes},
                                              {"\"parameters\": dict", ToolFormat::kLlama3}}};

// For templates without tools: tokens that tell which form the model was trained on all the same.
constexpr std::array<Mark, 6> kVocabularyMarks{{{"<｜tool▁call▁begin｜>", ToolFormat::kDeepSeek},
                                                {"[TOOL_CALLS]", ToolFormat::kMistral},
                                                {"<|tool_call|>", ToolFormat::kPhi4},
                                                {"<tool_call>", ToolFormat::kHermes},
                                                {"<|python_tag|>", ToolFormat::kLlama3},
                                                {"<start_of_turn>", ToolFormat::kGemmaJson}}};

struct ThinkMark {
  ReasoningMarkers markers;
  ReasoningFormat format;
};

constexpr std::array<ThinkMark, 2> kThinkMarks{
    {{{"<think>", "</think>"}, ReasoningFormat::kThink},
     {{"[THINK]", "[/THINK]"}, ReasoningFormat::kMistralThink}}};

}  // namespace

std::string_view tool_format_name(ToolFormat format) {
  switch (format) {
    case ToolFormat::kNone:
      break;
    case ToolFormat::kHermes:
      return "hermes";
    case ToolFormat::kLlama3:
      return "llama3";
    case ToolFormat::kMistral:
      return "mistral";
    case ToolFormat::kDeepSeek:
      return "deepseek";
    case ToolFormat::kGemmaJson:
      return "gemma_json";
    case ToolFormat::kPhi4:
      return "phi4";
  }
  return "none";
}

std::string_view reasoning_format_name(ReasoningFormat format) {
  switch (format) {
    case ReasoningFormat::kNone:
      break;
    case ReasoningFormat::kThink:
      return "think";
    case ReasoningFormat::kMistralThink:
      return "mistral_think";
  }
  return "none";
}

ToolFormat detect_tool_format(std::string_view template_source, const Tokenizer& tokenizer) {
  for (const Mark& mark : kTemplateMarks) {
    if (template_source.contains(mark.text)) {
      return mark.format;
    }
  }
  for (const Mark& mark : kVocabularyMarks) {
    if (tokenizer.token_id(mark.text)) {
      return mark.format;
    }
  }
  return ToolFormat::kHermes;
}

ReasoningFormat detect_reasoning_format(std::string_view template_source,
                                        const Tokenizer& tokenizer) {
  for (const ThinkMark& mark : kThinkMarks) {
    const bool written = template_source.contains(mark.markers.close);
    if (written ||
        (tokenizer.token_id(mark.markers.open) && tokenizer.token_id(mark.markers.close))) {
      return mark.format;
    }
  }
  return ReasoningFormat::kNone;
}

ReasoningMarkers reasoning_markers(ReasoningFormat format) {
  const auto* const found = std::ranges::find(kThinkMarks, format, &ThinkMark::format);
  return found == kThinkMarks.end() ? ReasoningMarkers{} : found->markers;
}

bool starts_in_reasoning(std::string_view prompt_tail, ReasoningFormat format) {
  const std::string_view open = reasoning_markers(format).open;
  const std::size_t ink = prompt_tail.find_last_not_of(" \t\r\n");
  return !open.empty() && ink != std::string_view::npos &&
         prompt_tail.substr(0, ink + 1).ends_with(open);
}

std::string make_tool_call_id(ToolFormat format, RandomBits random) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  const bool mistral = format == ToolFormat::kMistral;
  std::string id = mistral ? "" : "call_";
  // 62^12 > 2^64: twelve letters of each half, or nine of one.
  for (std::uint64_t half : {random.high, random.low}) {
    for (int i = 0; i < (mistral ? 9 : 12); ++i) {
      id.push_back(kLetters[half % kLetters.size()]);
      half /= kLetters.size();
    }
    if (mistral) {
      break;
    }
  }
  return id;
}

}  // namespace genesis::text
