// The methods of Python's str that templates use.
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"

#include <string_view>

namespace genesis::text::jinja {

using TextMethod = Result<Value> (*)(Context&, const Value& self, Arguments&);

// nullptr if there is none of that name.
TextMethod find_text_method(std::string_view name);

}  // namespace genesis::text::jinja
