#include "api/ledger.h"

#include <fmt/format.h>

namespace genesis {

std::string format_usd(NanoUsd amount) {
  // Work on the unsigned magnitude so that the smallest int64 has one too.
  const bool negative = amount < 0;
  const std::uint64_t magnitude =
      negative ? 0ULL - static_cast<std::uint64_t>(amount) : static_cast<std::uint64_t>(amount);
  constexpr std::uint64_t kOne = static_cast<std::uint64_t>(kNanoPerUsd);
  std::string text =
      fmt::format("{}{}.{:09}", negative ? "-" : "", magnitude / kOne, magnitude % kOne);
  const std::size_t two_decimals = text.size() - 7;
  while (text.size() > two_decimals && text.back() == '0') {
    text.pop_back();
  }
  return text;
}

}  // namespace genesis
