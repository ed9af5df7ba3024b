// Numbers within bounds as languages of their digits.
#pragma once

#include "base/result.h"
#include "text/grammar/expr.h"

#include <boost/json/fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace genesis::text::grammar {

// A decimal number, exactly: no leading zeros before, no trailing zeros after the point.
struct Decimal {
  bool negative = false;
  std::string whole = "0";
  std::string fraction;

  bool zero() const { return whole == "0" && fraction.empty(); }
};

// Nullopt for what is no number.
std::optional<Decimal> decimal_of(const boost::json::value& value);
// As in JSON, exponents included.
Decimal decimal_of(std::string_view text);
int compare(const Decimal& a, const Decimal& b);

struct Bound {
  Decimal value;
  bool exclusive = false;
};

struct NumberRange {
  std::optional<Bound> low;
  std::optional<Bound> high;

  void raise(Bound bound);
  void lower(Bound bound);
  // No number is in it; with equal bounds one number may be.
  bool empty() const;
};

// As written by JsonText::integer() and number(), but bounded numbers without exponents.
Expr integers_within(ExprPool& pool, const NumberRange& range);
Expr numbers_within(ExprPool& pool, const NumberRange& range);

// Multiples of `factor` (above 0) without exponents. kUnsupported when it has too many digits.
Result<Expr> multiples(ExprPool& pool, const Decimal& factor);

}  // namespace genesis::text::grammar
