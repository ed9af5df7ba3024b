// Python's two ways of filling in a text: "%s" % value and "{}".format(value).
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"

namespace genesis::text::jinja {

// Conversions s r d i u x X o f F e E g G %, flags "-0+ #", width and precision.
Result<Value> percent_format(Context& context, const Text& pattern, const Value& values);

// Fields {}, {0}, {name}, with attributes, items and !s !r. Format specs are refused.
Result<Value> brace_format(Context& context, const Text& pattern, const Arguments& arguments);

}  // namespace genesis::text::jinja
