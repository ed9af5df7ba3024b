// The tables behind CharTable (text/unicode.h) and the regex translator (text/pattern.h).
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace genesis::text {

struct CategoryRange {
  char32_t first;
  char32_t last;
  std::array<char, 2> category;  // e.g. {'L', 'u'}
};

// (first code point << 8) | CharFlag bits, sorted; the first entry is code point 0.
std::span<const std::uint32_t> class_runs();

// Sorted, disjoint.
std::span<const CategoryRange> categories_after_unicode_14();

}  // namespace genesis::text
