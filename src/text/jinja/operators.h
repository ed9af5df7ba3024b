// Arithmetic and comparison with Python's meaning.
#pragma once

#include "base/result.h"
#include "text/jinja/ast.h"
#include "text/jinja/context.h"

namespace genesis::text::jinja {

Result<Value> arithmetic(Context& context, Operator op, const Value& a, const Value& b);
Result<bool> compares(Context& context, Operator op, const Value& a, const Value& b);
Result<Value> negated(const Value& value);

}  // namespace genesis::text::jinja
