// OpenAI's `messages` -> Anthropic's `system` and `messages`. Internal.
#pragma once

#include "base/json.h"
#include "base/result.h"

#include <boost/json/fwd.hpp>

namespace genesis::provider {

// Writes the members `system` (if there is one) and `messages`. Neighbouring turns of one side are
// merged, as the API wants all results of a round of tool calls in one turn. kUnsupported for parts
// that have no counterpart, kInvalidArgument for what OpenAI would refuse, too.
Result<void> write_anthropic_messages(JsonWriter& out, const boost::json::array& messages);

}  // namespace genesis::provider
