// The words of each format.
#include "text/answer/tool_text.h"

#include "base/json.h"
#include "text/answer/tool_dialect.h"

#include <fmt/format.h>

#include <string_view>

namespace genesis::text {

namespace {

std::string object_of(ToolFormat format, const ToolCall& call) {
  std::string out = "{\"name\": ";
  append_json_string(out, call.name);
  return out +
         fmt::format(", \"{}\": {}}}", tool_dialect(format).arguments_name, call.arguments_json);
}

std::string list_of(ToolFormat format, std::span<const ToolCall> calls) {
  std::string out = "[";
  for (const ToolCall& call : calls) {
    out += out.size() > 1 ? ", " : "";
    out += object_of(format, call);
  }
  return out + "]";
}

// Each call between `open` and `close`.
std::string one_by_one(ToolFormat format,
                       std::span<const ToolCall> calls,
                       std::string_view open,
                       std::string_view close) {
  std::string out;
  for (const ToolCall& call : calls) {
    out += out.empty() ? "" : "\n";
    out += fmt::format("{}{}{}", open, object_of(format, call), close);
  }
  return out;
}

std::string deepseek_calls(std::span<const ToolCall> calls) {
  std::string out;
  for (const ToolCall& call : calls) {
    out += out.empty() ? "<｜tool▁calls▁begin｜>" : "\n";
    out += fmt::format(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{}\n```<｜tool▁call▁end｜>",
        call.name,
        call.arguments_json);
  }
  return out + "<｜tool▁calls▁end｜>";
}

}  // namespace

std::string write_tool_calls(ToolFormat format, std::span<const ToolCall> calls) {
  switch (format) {
    case ToolFormat::kLlama3:
      return one_by_one(format, calls, "", "");
    case ToolFormat::kMistral:
      return "[TOOL_CALLS]" + list_of(format, calls);
    case ToolFormat::kDeepSeek:
      return deepseek_calls(calls);
    case ToolFormat::kGemmaJson:
      return one_by_one(format, calls, "```json\n", "\n```");
    case ToolFormat::kPhi4:
      return "<|tool_call|>" + list_of(format, calls) + "<|/tool_call|>";
    case ToolFormat::kNone:
    case ToolFormat::kHermes:
      break;
  }
  return one_by_one(ToolFormat::kHermes, calls, "<tool_call>\n", "\n</tool_call>");
}

std::string tool_instruction(ToolFormat format, std::span<const ToolSpec> tools) {
  std::string out =
      "You can call functions to help with the request. These are the functions, one a line, with "
      "the JSON Schema of their parameters:\n";
  for (const ToolSpec& tool : tools) {
    out += tool.json;
    out += '\n';
  }
  const ToolCall example{
      .id = {}, .name = "function_name", .arguments_json = R"({"parameter": "value"})"};
  out += "\nTo call a function, answer with its name and its arguments in exactly this form:\n";
  out += write_tool_calls(format, {&example, 1});
  const ToolCall both[] = {example, example};
  out += "\nTo call several functions, write:\n";
  out += write_tool_calls(format, both);
  return out +
         "\nThe results come back in the next message. Answer in plain words where no function "
         "helps.";
}

}  // namespace genesis::text
