#include "text/grammar/regex_classes.h"

#include "text/grammar/expr.h"
#include "text/unicode.h"
#include "text/unicode_data.h"

#include <unicode/uchar.h>

#include <array>
#include <utility>

namespace genesis::text::grammar {

namespace {

Ranges flagged(std::uint8_t flag) {
  Ranges out;
  const auto runs = class_runs();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if ((runs[i] & flag) != 0) {
      const char32_t last = i + 1 < runs.size() ? (runs[i + 1] >> 8) - 1 : 0x10FFFF;
      out.push_back({runs[i] >> 8, last});
    }
  }
  return normal_ranges(out, false);
}

// Names of the values of UCharCategory in order (Unicode Standard Annex 44, table 12).
constexpr std::array<std::string_view, U_CHAR_CATEGORY_COUNT> kCategories = {
    "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Me", "Mc", "Nd", "Nl", "No", "Zs", "Zl", "Zp",
    "Cc", "Cf", "Co", "Cs", "Pd", "Ps", "Pe", "Pc", "Po", "Sm", "Sc", "Sk", "So", "Pi", "Pf"};

struct Search {
  std::string_view name;
  bool known = false;
  Ranges found;
};

UBool add_range(const void* context, UChar32 start, UChar32 limit, UCharCategory type) {
  auto& search = *static_cast<Search*>(const_cast<void*>(context));
  if (kCategories[static_cast<std::size_t>(type)].starts_with(search.name)) {
    search.found.push_back({static_cast<char32_t>(start), static_cast<char32_t>(limit - 1)});
  }
  return 1;
}

}  // namespace

Ranges escape_class(char letter, Reading reading) {
  const bool narrow = reading == Reading::kNarrow;
  switch (letter) {
    case 'd':
      return narrow ? Ranges{{'0', '9'}} : flagged(kNumber | kNumeric);
    case 'w':
      return narrow ? Ranges{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}} : [] {
        Ranges wide = flagged(kWord | kLetter | kNumber | kNumeric);
        return wide;
      }();
    default: {
      // Python counts the information separators 0x1C to 0x1F, ECMAScript the byte order mark.
      Ranges wide = flagged(kSpace);
      wide.push_back({0x1C, 0x1F});
      wide.push_back({0xFEFF, 0xFEFF});
      return narrow ? Ranges{{'\t', '\r'}, {' ', ' '}} : normal_ranges(wide, false);
    }
  }
}

std::optional<Ranges> category_class(std::string_view name) {
  if (name == "Any") {
    return Ranges{{0, 0x10FFFF}};
  }
  Search search{.name = name};
  for (const std::string_view category : kCategories) {
    search.known = search.known || (!name.empty() && category.starts_with(name));
  }
  if (!search.known) {
    return std::nullopt;
  }
  u_enumCharTypes(add_range, &search);
  return normal_ranges(search.found, false);
}

Ranges complement(const Ranges& ranges) {
  return normal_ranges(ranges, true);
}

Ranges with_both_cases(Ranges ranges) {
  const std::size_t count = ranges.size();
  constexpr char32_t kCaseBit = 0x20;
  for (std::size_t i = 0; i < count; ++i) {
    for (const char32_t first : {char32_t{'A'}, char32_t{'a'}}) {
      const char32_t low = std::max(ranges[i].first, first);
      const char32_t high = std::min<char32_t>(ranges[i].last, first + 25);
      if (low <= high) {
        ranges.push_back({low ^ kCaseBit, high ^ kCaseBit});
      }
    }
  }
  return ranges;
}

}  // namespace genesis::text::grammar
