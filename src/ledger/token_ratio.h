// TokenRatio: how many tokens the baseline model would have counted for one token of the model that
// served. Each model counts in its own tokenizer and nobody counts both, so it is an interval.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace genesis::ledger {

struct TokenRatio {
  std::int64_t low_permille = 1000;
  std::int64_t high_permille = 1000;

  bool operator==(const TokenRatio&) const = default;
};

// "0.95..1.10": two decimals in [0.1, 10] with at most three places, the smaller one first.
Result<TokenRatio> parse_token_ratio(std::string_view text);

// "0.95..1.1"
std::string format_token_ratio(const TokenRatio& ratio);

}  // namespace genesis::ledger
