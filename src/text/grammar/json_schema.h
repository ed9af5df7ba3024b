// JSON Schema as an expression: the JSON texts that are valid for a schema, members in the order in
// which it declares them.
#pragma once

#include "base/result.h"
#include "text/grammar/expr.h"
#include "text/grammar/grammar.h"

#include <string_view>

namespace genesis::text::grammar {

Result<Expr> json_schema(ExprPool& pool,
                         std::string_view schema_json,
                         const JsonSchemaOptions& options);

}  // namespace genesis::text::grammar
