// The `messages` array of a chat request.
#pragma once

#include "api/chat.h"
#include "base/result.h"

#include <boost/json/fwd.hpp>

#include <vector>

namespace genesis::server {

// Roles system, developer (read as system), user, assistant, tool; content a string, a list of
// parts, or null from an assistant. Parts other than text are carried in ChatMessage::parts_json.
// Malformed history is an error that names its place, never a crash.
Result<std::vector<ChatMessage>> parse_messages(const boost::json::object& body);

}  // namespace genesis::server
