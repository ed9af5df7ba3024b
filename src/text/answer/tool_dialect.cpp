// The table of tool formats.
#include "text/answer/tool_dialect.h"

#include <array>

namespace genesis::text {

namespace {

constexpr std::string_view kSpace = " \t\r\n";

// Qwen2.5 and Qwen3 templates (tokenizer_config.json); Hermes-2-Pro's model card. Qwen2.5-Coder
// writes the same object in a fence or bare instead, against its template.
constexpr std::array<CallOpener, 2> kHermesOpeners{
    {{.marker = "<tool_call>"},
     {.marker = "```json", .closer = "```", .body = CallBody::kPlainJson}}};
constexpr std::array<std::string_view, 1> kHermesClosers{"</tool_call>"};

// Llama 3.2's template; <|python_tag|> as Meta's "Llama 3.1 model cards and prompt formats" has it.
constexpr std::array<CallOpener, 1> kLlamaOpeners{{{.marker = "<|python_tag|>"}}};

// Mistral-Nemo's template writes the array; mistral-common's tokenizers from v11 on the header,
// with [CALL_ID] in v11 and [ARGS] from v11 on.
constexpr std::array<CallOpener, 1> kMistralOpeners{
    {{.marker = "[TOOL_CALLS]", .body = CallBody::kJsonOrHeader}}};

// DeepSeek-V3's template; R1 leaves the outer marker out at times.
constexpr std::string_view kDeepSeekCall = "<｜tool▁call▁begin｜>";
constexpr std::array<CallOpener, 2> kDeepSeekOpeners{
    {{.marker = "<｜tool▁calls▁begin｜>",
      .inner = kDeepSeekCall,
      .closer = "```",
      .body = CallBody::kHeader},
     {.marker = kDeepSeekCall, .closer = "```", .body = CallBody::kHeader}}};
constexpr std::array<std::string_view, 2> kDeepSeekClosers{"<｜tool▁call▁end｜>",
                                                           "<｜tool▁calls▁end｜>"};

// Google's "Function calling with Gemma": the tools and this form are told in the prompt.
constexpr std::array<CallOpener, 2> kGemmaOpeners{
    {{.marker = "```json", .closer = "```", .body = CallBody::kPlainJson},
     {.marker = "```tool_call", .closer = "```"}}};

// Phi-4-mini's model card; `functools` is what the model falls back to from Phi-3.5's training.
constexpr std::array<CallOpener, 2> kPhiOpeners{
    {{.marker = "<|tool_call|>"}, {.marker = "functools", .body = CallBody::kPlainJson}}};
constexpr std::array<std::string_view, 1> kPhiClosers{"<|/tool_call|>"};

constexpr ToolDialect kNoDialect{};
// Qwen2.5 closes a brace too many at times: dropped like white space where the tag follows.
constexpr ToolDialect kHermes{.openers = kHermesOpeners,
                              .closers = kHermesClosers,
                              .bare = true,
                              .separators = "}",
                              .arguments_name = "arguments"};
constexpr ToolDialect kLlama{
    .openers = kLlamaOpeners, .bare = true, .separators = ";", .arguments_name = "parameters"};
constexpr ToolDialect kMistral{.openers = kMistralOpeners, .arguments_name = "arguments"};
constexpr ToolDialect kDeepSeek{
    .openers = kDeepSeekOpeners, .closers = kDeepSeekClosers, .arguments_name = "arguments"};
constexpr ToolDialect kGemma{
    .openers = kGemmaOpeners, .bare = true, .arguments_name = "parameters"};
constexpr ToolDialect kPhi{
    .openers = kPhiOpeners, .closers = kPhiClosers, .bare = true, .arguments_name = "arguments"};

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// V3 and R1: `function<sep>name` and a fence on its own line; V3.1: `name<sep>`.
std::string_view name_in_deepseek_header(std::string_view header) {
  constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
  const std::size_t at = header.find(kSeparator);
  if (at == std::string_view::npos) {
    return {};
  }
  std::string_view behind = trimmed(header.substr(at + kSeparator.size()));
  if (const std::size_t fence = behind.find("```"); fence != std::string_view::npos) {
    behind = trimmed(behind.substr(0, fence));
  }
  return behind.empty() ? trimmed(header.substr(0, at)) : behind;
}

std::string_view name_in_mistral_header(std::string_view header) {
  for (const std::string_view marker : {"[CALL_ID]", "[ARGS]"}) {
    header = header.substr(0, header.find(marker));
  }
  return trimmed(header);
}

}  // namespace

const ToolDialect& tool_dialect(ToolFormat format) {
  switch (format) {
    case ToolFormat::kNone:
      break;
    case ToolFormat::kHermes:
      return kHermes;
    case ToolFormat::kLlama3:
      return kLlama;
    case ToolFormat::kMistral:
      return kMistral;
    case ToolFormat::kDeepSeek:
      return kDeepSeek;
    case ToolFormat::kGemmaJson:
      return kGemma;
    case ToolFormat::kPhi4:
      return kPhi;
  }
  return kNoDialect;
}

std::string_view name_in_header(ToolFormat format, std::string_view header) {
  return format == ToolFormat::kDeepSeek ? name_in_deepseek_header(header)
                                         : name_in_mistral_header(header);
}

}  // namespace genesis::text
