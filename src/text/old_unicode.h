// Character properties as the `tokenizers` package sees them. Its crates carry tables of different
// Unicode versions; ours come from ICU, cut back to those versions.
#pragma once

#include <cstdint>

namespace genesis::text {

// Unicode 8: a P* category, or ASCII punctuation and symbols.
bool is_punctuation(char32_t c);
// What Bert's cleaning removes; Unicode 7: categories Cc, Cf, Co but \t, \n, \r; NUL and U+FFFD.
bool is_removed_by_bert(char32_t c);
// Unicode 8: category Mn.
bool is_nonspacing_mark(char32_t c);
// Unicode 9: categories M*.
bool is_combining_mark(char32_t c);
bool is_cjk(char32_t c);  // of Bert: blocks of ideographs
// Unicode 9: a number for the script, in which Hiragana and Katakana are Han, or kAnyScript for
// the space and unassigned characters.
inline constexpr std::int32_t kAnyScript = -1;
std::int32_t script_of(char32_t c);

// Unicode 17. One character but for U+0130, whose second is U+0307.
char32_t lowercase_of(char32_t c);

}  // namespace genesis::text
