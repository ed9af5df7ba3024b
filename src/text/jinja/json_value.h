// JSON text to template values, with every string marked as coming from outside the template.
// Numbers and the order of members are kept exactly, which is why base/json.h is not used here.
#pragma once

#include "base/result.h"
#include "text/jinja/value.h"

#include <string_view>

namespace genesis::text::jinja {

// `what` names the document in errors. Strict RFC 8259; integers beyond 127 bits are refused.
Result<Value> value_from_json(std::string_view json, std::string_view what, bool foreign);

}  // namespace genesis::text::jinja
