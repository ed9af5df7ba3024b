// Sets of code points as automata over the bytes of UTF-8.
#pragma once

#include "text/grammar/expr.h"

#include <vector>

namespace genesis::text::grammar {

// One code point of `ranges` (as normal_ranges() gives them).
Expr utf8_automaton(ExprPool& pool, const std::vector<CodePointRange>& ranges);

}  // namespace genesis::text::grammar
