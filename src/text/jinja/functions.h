// The global functions of a template: range, dict, namespace, joiner of jinja2, and
// raise_exception and strftime_now of transformers.
#pragma once

#include "base/result.h"
#include "text/jinja/callable.h"
#include "text/jinja/context.h"

#include <string_view>

namespace genesis::text::jinja {

bool is_function(std::string_view name);
Result<Value> call_function(Context& context, std::string_view name, Arguments arguments);

// A joiner object gives nothing when called first, then its separator.
Result<Value> call_joiner(Context& context, const Callable& joiner, const Arguments& arguments);

}  // namespace genesis::text::jinja
