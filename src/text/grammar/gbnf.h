// GBNF, the notation of llama.cpp (its grammars/README.md): the language of the rule `root`.
#pragma once

#include "base/result.h"
#include "text/grammar/expr.h"

#include <string_view>

namespace genesis::text::grammar {

Result<Expr> gbnf(ExprPool& pool, std::string_view source);

}  // namespace genesis::text::grammar
