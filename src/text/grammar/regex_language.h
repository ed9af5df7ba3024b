// Regular expressions as expressions over code points. What a regular language cannot say
// (lookaround, backreferences, word borders) is refused by name.
//
// Where dialects differ the smaller class is taken, so that a text fits whoever checks it: \d \w \s
// are ASCII, and their complements leave out the Unicode digits, letters and spaces as well.
#pragma once

#include "base/result.h"
#include "text/grammar/expr.h"

#include <functional>
#include <string_view>
#include <vector>

namespace genesis::text::grammar {

struct RegexOptions {
  // How one code point is written; UTF-8 unless said otherwise.
  std::function<Expr(const std::vector<CodePointRange>&)> character;
  // Matches anywhere in the text unless anchored, as JSON Schema's `pattern` does.
  bool search = false;
  // What `.` does not match: \n alone, or all line ends of ECMAScript.
  bool ecma_dot = false;
};

// The pattern matches the whole text.
Result<Expr> regex_language(ExprPool& pool, std::string_view pattern);
Result<Expr> regex_language(ExprPool& pool, std::string_view pattern, const RegexOptions& options);

}  // namespace genesis::text::grammar
