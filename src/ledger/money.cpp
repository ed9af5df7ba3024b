// Integer arithmetic only.
#include "ledger/money.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>

namespace genesis::ledger {

namespace {

__extension__ using Wide = __int128;

constexpr std::size_t kDecimals = 9;
// Nine billion dollars still fit 64 bits of nano-USD.
constexpr std::size_t kMaxWholeDigits = 10;

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::int64_t to_integer(std::string_view digits) {
  std::int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

Result<NanoUsd> narrow(Wide value) {
  if (value > INT64_MAX || value < INT64_MIN) {
    return fail(ErrorCode::kResourceExhausted, "an amount does not fit 64 bits of nano-USD");
  }
  return static_cast<NanoUsd>(value);
}

}  // namespace

Result<NanoUsd> parse_usd(std::string_view text) {
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view part = point == std::string_view::npos ? "0" : text.substr(point + 1);
  if (!all_digits(whole) || !all_digits(part) || whole.size() > kMaxWholeDigits ||
      part.size() > kDecimals) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("'{}' is not an amount in USD: digits with at most nine decimals, as \"2.50\"",
                    text));
  }
  std::string nano(part);
  nano.resize(kDecimals, '0');
  return narrow(static_cast<Wide>(to_integer(whole)) * kNanoPerUsd + to_integer(nano));
}

Result<NanoUsd> line_cost(std::int64_t quantity, NanoUsd price, std::int64_t per) {
  if (quantity < 0 || price < 0 || per <= 0) {
    return fail(ErrorCode::kInvalidArgument, "quantities and prices cannot be negative");
  }
  const Wide product = static_cast<Wide>(quantity) * price;
  return narrow((product + per - 1) / per);
}

Result<NanoUsd> add_money(NanoUsd a, NanoUsd b) {
  return narrow(static_cast<Wide>(a) + b);
}

NanoUsd scale_money(NanoUsd amount, std::int64_t times, std::int64_t per, Rounding rounding) {
  const Wide product = static_cast<Wide>(amount) * times;
  Wide quotient = product / per;
  const Wide rest = product % per;
  // Division cuts towards zero; down and up are towards the ends of the line.
  quotient += rounding == Rounding::kUp && rest > 0 ? 1 : 0;
  quotient -= rounding == Rounding::kDown && rest < 0 ? 1 : 0;
  return static_cast<NanoUsd>(std::clamp<Wide>(quotient, INT64_MIN, INT64_MAX));
}

std::int64_t permille(NanoUsd part, NanoUsd whole) {
  return whole == 0 ? 0 : static_cast<std::int64_t>(static_cast<Wide>(part) * 1000 / whole);
}

Result<std::int64_t> parse_date(std::string_view text) {
  if (text.size() == 10 && text[4] == '-' && text[7] == '-' && all_digits(text.substr(0, 4)) &&
      all_digits(text.substr(5, 2)) && all_digits(text.substr(8, 2))) {
    const std::chrono::year_month_day date(
        std::chrono::year(static_cast<int>(to_integer(text.substr(0, 4)))),
        std::chrono::month(static_cast<unsigned>(to_integer(text.substr(5, 2)))),
        std::chrono::day(static_cast<unsigned>(to_integer(text.substr(8, 2)))));
    if (date.ok()) {
      const auto since = std::chrono::sys_days(date).time_since_epoch();
      return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
    }
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not a date: write it as 2025-11-04", text));
}

}  // namespace genesis::ledger
