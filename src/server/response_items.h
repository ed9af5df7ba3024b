// The `input` of a Responses request as the messages of a chat completion.
#pragma once

#include "base/result.h"

#include <boost/json.hpp>

namespace genesis::server {

//   message               a message; input_text and output_text join, input_image becomes image_url
//   reasoning             reasoning_content of the assistant's turn behind it
//   function_call         tool_calls of one assistant turn, calls that follow each other together
//   function_call_output  a `tool` message
// Malformed items are errors that name their place; items of OpenAI's server tools are
// kUnsupported.
Result<boost::json::array> translate_response_input(const boost::json::value& input);

}  // namespace genesis::server
