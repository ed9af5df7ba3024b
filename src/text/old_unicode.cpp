#include "text/old_unicode.h"

#include <unicode/uchar.h>
#include <unicode/uscript.h>

#include <algorithm>
#include <array>

namespace genesis::text {

namespace {

bool assigned_in(char32_t c, std::uint8_t major) {
  UVersionInfo age{};
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] != 0 && (age[0] < major || (age[0] == major && age[1] == 0));
}

std::uint32_t category_mask(char32_t c) {
  return U_MASK(u_charType(static_cast<UChar32>(c)));
}

template <std::size_t N>
bool one_of(char32_t c, const std::array<char32_t, N>& list) {
  return std::ranges::find(list, c) != list.end();
}

struct CaseRange {
  char32_t first;
  char32_t last;
  std::int32_t distance;
};

// Letters with case of Unicode 16 and 17 (UnicodeData.txt), which ICU 72 does not know.
constexpr std::array<CaseRange, 10> kNewCase = {{{0x1C89, 0x1C89, 1},
                                                 {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                                                 {0xA7CC, 0xA7CC, 1},
                                                 {0xA7CE, 0xA7CE, 1},
                                                 {0xA7D2, 0xA7D2, 1},
                                                 {0xA7D4, 0xA7D4, 1},
                                                 {0xA7DA, 0xA7DA, 1},
                                                 {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                                                 {0x10D50, 0x10D65, 0x20},
                                                 {0x16EA0, 0x16EB8, 0x1B}}};

}  // namespace

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  }
  // Categories that changed after Unicode 8.
  constexpr std::array<char32_t, 2> kThen = {0x166D, 0x111C9};
  return ((category_mask(c) & U_GC_P_MASK) != 0 && assigned_in(c, 8)) || one_of(c, kThen);
}

bool is_removed_by_bert(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') {
    return false;
  }
  return c == 0xFFFD || ((category_mask(c) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0 &&
                         assigned_in(c, 7));
}

bool is_nonspacing_mark(char32_t c) {
  constexpr std::array<char32_t, 4> kNow = {0x1885, 0x1886, 0xA9BD, 0x111C9};
  return (c >= 0x300 && category_mask(c) == U_GC_MN_MASK && assigned_in(c, 8) &&
          !one_of(c, kNow)) ||
         c == 0x1734;
}

bool is_combining_mark(char32_t c) {
  constexpr std::array<char32_t, 2> kThen = {0x1CF2, 0x1CF3};
  return (c >= 0x300 && c != 0x111C9 && (category_mask(c) & U_GC_M_MASK) != 0 &&
          assigned_in(c, 9)) ||
         one_of(c, kThen);
}

bool is_cjk(char32_t c) {
  // As github.com/google-research/bert, tokenization.py, _is_chinese_char, but for the first range
  // of extension E, which the package begins later.
  constexpr std::array<std::array<char32_t, 2>, 8> kBlocks = {{{0x4E00, 0x9FFF},
                                                               {0x3400, 0x4DBF},
                                                               {0x20000, 0x2A6DF},
                                                               {0x2A700, 0x2B73F},
                                                               {0x2B740, 0x2B81F},
                                                               {0x2B920, 0x2CEAF},
                                                               {0xF900, 0xFAFF},
                                                               {0x2F800, 0x2FA1F}}};
  return c >= 0x3400 && std::ranges::any_of(kBlocks, [c](const auto& block) {
           return c >= block[0] && c <= block[1];
         });
}

std::int32_t script_of(char32_t c) {
  if (c == 0x30FC) {
    return USCRIPT_HAN;
  }
  if (c == ' ' || !assigned_in(c, 9)) {
    return kAnyScript;
  }
  if (c == 0x589 || c == 0x61C) {
    return USCRIPT_COMMON;
  }
  if (c == 0x953 || c == 0x954) {
    return USCRIPT_DEVANAGARI;
  }
  UErrorCode status = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(static_cast<UChar32>(c), &status);
  if (U_FAILURE(status) || script == USCRIPT_UNKNOWN) {
    return kAnyScript;
  }
  return script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA ? USCRIPT_HAN : script;
}

char32_t lowercase_of(char32_t c) {
  if (c < 0x80) {
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
  }
  if (c == 0x130) {
    return 'i';
  }
  for (const CaseRange& range : kNewCase) {
    if (c >= range.first && c <= range.last) {
      return static_cast<char32_t>(static_cast<std::int32_t>(c) + range.distance);
    }
  }
  return static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
}

}  // namespace genesis::text
