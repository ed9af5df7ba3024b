// A request's trace as JSON: what `genesis explain` reads back. Holds no text of a prompt or an
// answer.
#pragma once

#include "api/routing.h"

#include <string>

namespace genesis::app {

std::string trace_json(const RequestTrace& trace);

}  // namespace genesis::app
