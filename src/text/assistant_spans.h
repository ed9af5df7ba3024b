// Which bytes of a rendered conversation the model itself would have written: what fine-tuning
// learns from. For templates without {% generation %} blocks; those that have them say it
// themselves.
#pragma once

#include "text/chat_template.h"

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace genesis::text {

struct Turns {
  std::vector<std::string> roles;       // of the messages, in order
  std::vector<std::string> end_tokens;  // texts of the tokens that end a turn
  // The first so many messages, rendered with a generation prompt.
  std::function<Result<RenderedPrompt>(std::size_t)> render_first;
};

// The turn of an assistant message
// - begins after its generation prompt: what the template writes between the message before and the
//   point where the model takes over, learned by rendering the messages up to there. Where the full
//   rendering has something else there (a thinking block that history drops, say) it begins at the
//   message's first text other than its role;
// - goes on over all the template writes between the message's texts, such as the JSON around the
//   arguments of a tool call;
// - ends after the first end token that the template writes behind the message's last text and
//   before any text of another message; without one, at that last text.
// A message that leaves no text and has no generation prompt in the rendering has no span. Learning
// takes a rendering for each role that comes before an assistant message.
std::vector<PlainSpan> assistant_spans(const RenderedPrompt& prompt, const Turns& turns);

}  // namespace genesis::text
