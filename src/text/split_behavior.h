// What becomes of the matches when text is cut at a pattern (tokenizers: SplitDelimiterBehavior).
#pragma once

#include "text/aligned_text.h"
#include "text/regex.h"

#include <cstdint>
#include <vector>

namespace genesis::text {

enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

struct SplitRule {
  SplitBehavior behavior;
  bool invert;  // take what lies between the matches for the matches
};

// Appends the non-empty parts of `piece`. `matches` are sorted and disjoint.
void cut(const Piece& piece,
         const std::vector<Match>& matches,
         SplitRule rule,
         std::vector<Piece>& out);

}  // namespace genesis::text
