// Tools as text, for models whose template does not show them: the instruction that lists them, and
// calls as the model would have written them.
#pragma once

#include "text/answer/tool_format.h"
#include "text/answer/tool_spec.h"

#include <span>
#include <string>

namespace genesis::text {

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments_json;  // an object
};

// What AnswerParser reads back as the same calls. `calls` is not empty.
std::string write_tool_calls(ToolFormat format, std::span<const ToolCall> calls);

// For the system message: which tools there are and how to call them in `format`. `tools` is not
// empty.
std::string tool_instruction(ToolFormat format, std::span<const ToolSpec> tools);

}  // namespace genesis::text
