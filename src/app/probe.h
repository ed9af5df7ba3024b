// The deep probe: one token through the whole of the gateway, to see that somebody really answers.
#pragma once

#include "api/chat.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/task.h"

#include <string>

namespace genesis::app {

// Asks `route` for one token. JSON with who answered and how fast; the error of the request
// otherwise. Costs what one token costs.
Task<Result<std::string>> probe(ChatModel& chat, const Clock& clock, std::string route);

}  // namespace genesis::app
