// Character classes of regular expressions, as ranges of code points.
#pragma once

#include "base/result.h"
#include "text/grammar/grammar.h"

#include <optional>
#include <string_view>
#include <vector>

namespace genesis::text::grammar {

using Ranges = std::vector<CodePointRange>;

// Which reading of \d, \w and \s, see regex_language.h.
enum class Reading : std::uint8_t { kNarrow, kWide };

// `letter`: d, w or s.
Ranges escape_class(char letter, Reading reading);

// A general category of one or two letters, or Any; nullopt for anything else.
std::optional<Ranges> category_class(std::string_view name);

Ranges complement(const Ranges& ranges);

// Adds the other case of ASCII letters.
Ranges with_both_cases(Ranges ranges);

}  // namespace genesis::text::grammar
