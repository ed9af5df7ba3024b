// Regular expressions of tokenizer.json, which are written for Oniguruma, as PCRE2 patterns with
// the same meaning. Only constructs known to mean the same are let through.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace genesis::text {

// kUnsupported names the construct and its place. `oniguruma` must be valid UTF-8. The result is
// for PCRE2_UTF | PCRE2_UCP; classes are brought from Unicode 14 (PCRE2 10.42) to Unicode 16.
Result<std::string> translate_pattern(std::string_view oniguruma);

}  // namespace genesis::text
