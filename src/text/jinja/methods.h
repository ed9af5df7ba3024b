// Methods of texts, lists, dicts and loops that templates may call. Methods that change their
// object are refused, as in jinja2's ImmutableSandboxedEnvironment.
#pragma once

#include "base/result.h"
#include "text/jinja/callable.h"
#include "text/jinja/context.h"

#include <string_view>

namespace genesis::text::jinja {

bool has_method(const Value& value, std::string_view name);
// A method Python has and the sandbox forbids, such as list.append.
bool is_mutator(const Value& value, std::string_view name);
Result<Value> call_method(Context& context, const Callable& method, Arguments arguments);

}  // namespace genesis::text::jinja
