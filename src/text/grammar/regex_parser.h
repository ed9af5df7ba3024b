// The syntax tree of a regular expression.
#pragma once

#include "base/result.h"
#include "text/grammar/regex_classes.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace genesis::text::grammar {

struct RegexNode {
  enum class Kind : std::uint8_t { kClass, kSequence, kChoice, kRepeat, kBegin, kEnd };

  Kind kind = Kind::kSequence;
  Ranges ranges;                 // kClass
  std::vector<RegexNode> parts;  // kRepeat: one
  std::size_t least = 0;
  std::optional<std::size_t> most;
};

struct RegexLimits {
  std::size_t depth = 64;
  std::size_t nodes = 200'000;
};

Result<RegexNode> parse_regex(std::string_view pattern, const RegexLimits& limits, bool ecma_dot);

}  // namespace genesis::text::grammar
