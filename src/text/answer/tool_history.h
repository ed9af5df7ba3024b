// Earlier calls of tools in a conversation: checked, and brought into the shape in which a chat
// template can show them.
#pragma once

#include "base/result.h"
#include "text/answer/template_traits.h"
#include "text/answer/tool_format.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace genesis::text {

inline constexpr std::size_t kMostCallsInTurn = 128;  // as tools in a request

// `messages_json` is an array of OpenAI's messages. What is malformed is kInvalidArgument and names
// the place, e.g. messages[3].tool_calls[0].function.arguments:
// - only an assistant has tool_calls, a list of {id, type: function, function: {name, arguments}};
//   the ids of a turn differ; arguments are the JSON text of an object, or that object itself, or
//   empty for {};
// - a tool message names by tool_call_id a call of an earlier turn; it may leave the id out when
//   just one call waits for its result.
// Calls that nobody answered are fine: agents cut their histories.
Result<void> check_history(std::string_view messages_json);

struct HistoryShape {
  ToolFormat format = ToolFormat::kHermes;  // for templates that do not show calls
  TemplateTraits traits;
  std::string_view instruction;  // from tool_instruction(), goes to the system message; or empty
};

// The messages, checked as check_history() does, as the template wants them:
// - arguments become mappings, or text where the template insists, byte for byte;
// - ids become nine letters and digits where the template insists, the same for the same id;
// - a turn of several calls becomes several turns where the template takes one call a turn;
// - where the template does not show calls, they and their results become text of the assistant and
//   the user, in the model's own format;
// - a system message that the template does not take goes in front of the first user message.
Result<std::string> template_messages(std::string_view messages_json, const HistoryShape& shape);

}  // namespace genesis::text
