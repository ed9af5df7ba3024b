// What becomes of the matches when text is cut at a pattern (tokenizers: SplitDelimiterBehavior).
#pragma once

#include "text/regex.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace genesis::text {

enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

// Appends the non-empty parts of `text`. `matches` are sorted and disjoint; `invert` takes what
// lies between them for the matches.
void cut(std::string_view text,
         const std::vector<Match>& matches,
         SplitBehavior behavior,
         bool invert,
         std::vector<std::string_view>& out);

}  // namespace genesis::text
