#include "ledger/token_ratio.h"

#include "ledger/money.h"

#include <fmt/format.h>

#include <optional>

namespace genesis::ledger {

namespace {

constexpr std::int64_t kLeast = 100;
constexpr std::int64_t kMost = 10'000;
constexpr std::int64_t kNanoPerPermille = kNanoPerUsd / 1000;

// Decimals as money is written, but with three places.
std::optional<std::int64_t> permille_of(std::string_view text) {
  const auto nano = parse_usd(text);
  if (!nano || *nano % kNanoPerPermille != 0) {
    return std::nullopt;
  }
  const std::int64_t value = *nano / kNanoPerPermille;
  return value >= kLeast && value <= kMost ? std::optional(value) : std::nullopt;
}

std::string decimal(std::int64_t permille_value) {
  std::string text = fmt::format("{}.{:03}", permille_value / 1000, permille_value % 1000);
  while (text.back() == '0' && text[text.size() - 2] != '.') {
    text.pop_back();
  }
  return text;
}

}  // namespace

Result<TokenRatio> parse_token_ratio(std::string_view text) {
  const std::size_t dots = text.find("..");
  if (dots != std::string_view::npos) {
    const auto low = permille_of(text.substr(0, dots));
    const auto high = permille_of(text.substr(dots + 2));
    if (low && high && *low <= *high) {
      return TokenRatio{.low_permille = *low, .high_permille = *high};
    }
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not an interval of token ratios: write \"0.95..1.10\", both"
                          " between 0.1 and 10",
                          text));
}

std::string format_token_ratio(const TokenRatio& ratio) {
  return fmt::format("{}..{}", decimal(ratio.low_permille), decimal(ratio.high_permille));
}

}  // namespace genesis::ledger
