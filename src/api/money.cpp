#include "api/money.h"

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

double usd_for_gauges(NanoUsd amount) {
  return static_cast<double>(amount) / static_cast<double>(kNanoPerUsd);
}

void Bill::add(const Posted& posted) {
  any_ = true;
  cost_ += posted.cost;
  if (posted.baseline) {
    baseline_ = baseline_.value_or(0) + *posted.baseline;
  }
}

std::optional<NanoUsd> Bill::cost() const {
  return any_ && !spoiled_ ? std::optional(cost_) : std::nullopt;
}

std::optional<NanoUsd> Bill::saved() const {
  const auto spent = cost();
  return spent && baseline_ ? std::optional(*baseline_ - *spent) : std::nullopt;
}

}  // namespace genesis
