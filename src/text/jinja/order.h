// Comparing and sorting values by Python's rules: numbers with numbers, text with text, sequences
// member by member; anything else is an error.
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"
#include "text/jinja/value.h"

#include <compare>
#include <vector>

namespace genesis::text::jinja {

// Unordered only for NaN.
Result<std::partial_ordering> compare(Context& context, const Value& a, const Value& b);

// The positions of `keys` in sorted order; stable, also in reverse.
Result<std::vector<std::size_t>> sorted_order(Context& context,
                                              const std::vector<Value>& keys,
                                              bool reverse);

}  // namespace genesis::text::jinja
