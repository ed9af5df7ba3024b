// Exact money arithmetic: decimal text to nano-USD, tokens times price with 128-bit intermediates.
// No floating-point number touches an amount anywhere in this room.
#pragma once

#include "api/ledger.h"
#include "base/result.h"

#include <cstdint>
#include <string_view>

namespace genesis::ledger {

// "2.50", "0.000000001", "15" -> nano-USD. Digits with at most nine decimals; no sign, no exponent.
Result<NanoUsd> parse_usd(std::string_view text);

// quantity * price / per, rounded up to the next nano-USD: a line never costs less than it should
// and at most 1e-9 USD more. kInvalidArgument for a negative factor, kResourceExhausted beyond 64
// bits.
Result<NanoUsd> line_cost(std::int64_t quantity, NanoUsd price, std::int64_t per);

Result<NanoUsd> add_money(NanoUsd a, NanoUsd b);

enum class Rounding : std::uint8_t { kDown, kUp };

// amount * times / per in 128 bits, for reports; saturates where 64 bits do not hold it.
NanoUsd scale_money(NanoUsd amount, std::int64_t times, std::int64_t per, Rounding rounding);

// part / whole in tenths of a percent, rounded towards zero; 0 if `whole` is 0.
std::int64_t permille(NanoUsd part, NanoUsd whole);

// "2025-11-04" -> milliseconds since 1970 at 00:00 UTC.
Result<std::int64_t> parse_date(std::string_view text);

}  // namespace genesis::ledger
