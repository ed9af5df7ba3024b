#include "text/grammar/number_language.h"

#include "base/json.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace genesis::text::grammar {

namespace {

// As JsonText bounds numbers.
constexpr std::size_t kMostWhole = 19;
constexpr std::size_t kMostFraction = 18;

int compare_magnitude(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) {
    return a.whole.size() < b.whole.size() ? -1 : 1;
  }
  const int whole = a.whole.compare(b.whole);
  return whole != 0 ? whole : a.fraction.compare(b.fraction);
}

std::string next_whole(std::string digits) {
  for (std::size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '9') {
      ++digits[i];
      return digits;
    }
    digits[i] = '0';
  }
  return "1" + digits;
}

// Of a number above 0.
std::string previous_whole(std::string digits) {
  for (std::size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '0') {
      --digits[i];
      break;
    }
    digits[i] = '9';
  }
  const std::size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  return digits.substr(first);
}

bool whole_less(const std::string& a, const std::string& b) {
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

// Distances from zero; `high` empty: no limit.
struct Magnitudes {
  Bound low;
  std::optional<Bound> high;
};

class NumberBuilder {
 public:
  explicit NumberBuilder(ExprPool& pool) : pool_(pool), digit_(pool.byte_range('0', '9')) {}

  Expr wholes(const std::string& low, const std::optional<std::string>& high) {
    const std::string most =
        high && high->size() <= kMostWhole ? *high : std::string(kMostWhole, '9');
    std::vector<Expr> parts;
    for (std::size_t length = low.size(); length <= most.size(); ++length) {
      std::string first = length == low.size() ? low : "1" + std::string(length - 1, '0');
      std::string last = length == most.size() ? most : std::string(length, '9');
      if (first <= last) {
        parts.push_back(same_length(first, last));
      }
    }
    return pool_.choice(std::move(parts));
  }

  Expr magnitudes(const Magnitudes& range) {
    const std::string& low = range.low.value.whole;
    if (!range.high) {
      return pool_.choice(
          {pool_.sequence({pool_.literal(low), fraction(&range.low, nullptr)}),
           pool_.sequence({wholes(next_whole(low), std::nullopt), fraction(nullptr, nullptr)})});
    }
    const std::string& high = range.high->value.whole;
    if (low == high) {
      return pool_.sequence({pool_.literal(low), fraction(&range.low, &*range.high)});
    }
    std::vector<Expr> parts = {
        pool_.sequence({pool_.literal(low), fraction(&range.low, nullptr)}),
        pool_.sequence({pool_.literal(high), fraction(nullptr, &*range.high)})};
    const std::string after = next_whole(low);
    if (whole_less(after, high)) {
      parts.push_back(
          pool_.sequence({wholes(after, previous_whole(high)), fraction(nullptr, nullptr)}));
    }
    return pool_.choice(std::move(parts));
  }

 private:
  Expr digits(std::size_t least, std::size_t most) { return pool_.repeat(digit_, least, most); }

  Expr range(char first, char last) {
    return first > last
               ? pool_.nothing()
               : pool_.byte_range(static_cast<unsigned>(first), static_cast<unsigned>(last));
  }

  // Digit strings of one length between two of that length.
  Expr same_length(std::string_view low, std::string_view high) {
    if (low.empty()) {
      return pool_.empty();
    }
    if (zeros_from(low, 0) && high.find_first_not_of('9') == std::string_view::npos) {
      return digits(low.size(), low.size());
    }
    const std::size_t rest = low.size() - 1;
    if (low.front() == high.front()) {
      return pool_.sequence(
          {pool_.literal(low.substr(0, 1)), same_length(low.substr(1), high.substr(1))});
    }
    const std::string nines(rest, '9');
    const std::string zeros(rest, '0');
    return pool_.choice(
        {pool_.sequence({pool_.literal(low.substr(0, 1)), same_length(low.substr(1), nines)}),
         pool_.sequence(
             {range(static_cast<char>(low.front() + 1), static_cast<char>(high.front() - 1)),
              digits(rest, rest)}),
         pool_.sequence({pool_.literal(high.substr(0, 1)), same_length(zeros, high.substr(1))})});
  }

  // What may follow the whole part: nothing, or a point and digits, not below and not above the
  // fractions given.
  Expr fraction(const Bound* low, const Bound* high) {
    std::string from = low != nullptr ? low->value.fraction : "";
    std::string to = high != nullptr ? high->value.fraction : "";
    const std::size_t length = std::max(from.size(), to.size());
    from.resize(length, '0');
    to.resize(length, '0');
    const Fractions fractions{.low = std::move(from),
                              .high = std::move(to),
                              .above = low != nullptr && low->exclusive,
                              .below = high != nullptr && high->exclusive};
    const Tight tight{.low = low != nullptr, .high = high != nullptr};
    std::vector<Expr> parts = {pool_.sequence({pool_.literal("."), more(fractions, 0, tight)})};
    if (may_end(fractions, 0, tight)) {
      parts.push_back(pool_.empty());
    }
    return pool_.choice(std::move(parts));
  }

  struct Fractions {
    std::string low;
    std::string high;
    bool above = false;
    bool below = false;
  };

  // Whether all digits so far were those of the limit.
  struct Tight {
    bool low = false;
    bool high = false;
  };

  static bool zeros_from(std::string_view digits, std::size_t at) {
    return digits.find_first_not_of('0', at) == std::string_view::npos;
  }

  static bool may_end(const Fractions& f, std::size_t at, Tight tight) {
    const bool low_ok = !tight.low || (zeros_from(f.low, at) && !f.above);
    const bool high_ok = !tight.high || !zeros_from(f.high, at) || !f.below;
    return low_ok && high_ok;
  }

  // At least one more digit.
  Expr more(const Fractions& f, std::size_t at, Tight tight) {
    const std::size_t room = kMostFraction > at ? kMostFraction - at : 1;
    if (!tight.low && !tight.high) {
      return digits(1, room);
    }
    if (at == f.low.size()) {
      return beyond(f, room, tight);
    }
    std::vector<Expr> parts;
    const char first = tight.low ? f.low[at] : '0';
    const char last = tight.high ? f.high[at] : '9';
    for (char d = first; d <= last; ++d) {
      const Tight next{.low = tight.low && d == f.low[at], .high = tight.high && d == f.high[at]};
      Expr rest = more(f, at + 1, next);
      if (may_end(f, at + 1, next)) {
        rest = pool_.optional(rest);
      }
      parts.push_back(pool_.sequence(
          {pool_.byte_range(static_cast<unsigned>(d), static_cast<unsigned>(d)), rest}));
    }
    return pool_.choice(std::move(parts));
  }

  // Digits after all of those of the limits.
  Expr beyond(const Fractions& f, std::size_t room, Tight tight) {
    const Expr zero = pool_.literal("0");
    if (tight.high) {
      const bool exact = !f.below && !(tight.low && f.above);
      return exact ? pool_.repeat(zero, 1, room) : pool_.nothing();
    }
    if (!f.above) {
      return digits(1, room);
    }
    return pool_.sequence(
        {pool_.repeat(zero, 0, room - 1), pool_.byte_range('1', '9'), digits(0, room)});
  }

  ExprPool& pool_;
  Expr digit_;
};

Bound magnitude(Bound bound) {
  bound.value.negative = false;
  return bound;
}

// The parts of a range on both sides of zero, as distances from it. -0 is not written.
struct Sides {
  std::optional<Magnitudes> positive;
  std::optional<Magnitudes> negative;
};

Sides sides_of(const NumberRange& range) {
  Sides sides;
  const Bound zero;
  const Bound above_zero{.value = {}, .exclusive = true};
  const bool low_negative = !range.low || range.low->value.negative;
  const bool high_negative = range.high && range.high->value.negative;
  if (!high_negative) {
    sides.positive = Magnitudes{.low = low_negative ? zero : *range.low, .high = range.high};
  }
  if (low_negative) {
    sides.negative =
        Magnitudes{.low = high_negative ? magnitude(*range.high) : above_zero,
                   .high = range.low ? std::optional(magnitude(*range.low)) : std::nullopt};
  }
  return sides;
}

// The whole numbers of a range of distances.
Expr whole_magnitudes(ExprPool& pool, const Magnitudes& range) {
  const Decimal& low = range.low.value;
  const bool low_itself = low.fraction.empty() && !range.low.exclusive;
  const std::string first = low_itself ? low.whole : next_whole(low.whole);
  std::optional<std::string> last;
  if (range.high) {
    const Decimal& high = range.high->value;
    const bool high_itself = !high.fraction.empty() || !range.high->exclusive;
    if (!high_itself && high.whole == "0") {
      return pool.nothing();
    }
    last = high_itself ? high.whole : previous_whole(high.whole);
    if (whole_less(*last, first)) {
      return pool.nothing();
    }
  }
  return first.size() > kMostWhole ? pool.nothing() : NumberBuilder(pool).wholes(first, last);
}

Expr signed_choice(ExprPool& pool, Expr positive, Expr negative) {
  return pool.choice({positive, pool.sequence({pool.literal("-"), negative})});
}

}  // namespace

Decimal decimal_of(std::string_view text) {
  Decimal out;
  out.negative = text.starts_with('-');
  text.remove_prefix(out.negative ? 1 : 0);
  const std::size_t e = std::min(text.find_first_of("eE"), text.size());
  std::string_view mantissa = text.substr(0, e);
  std::string_view exponent_text = text.substr(std::min(e + 1, text.size()));
  exponent_text.remove_prefix(exponent_text.starts_with('+') ? 1 : 0);
  int exponent = 0;
  std::from_chars(exponent_text.data(), exponent_text.data() + exponent_text.size(), exponent);
  // A double's range; anything beyond is not a number JSON readers agree on.
  exponent = std::clamp(exponent, -400, 400);
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  std::string digits(mantissa.substr(0, point));
  digits += mantissa.substr(std::min(point + 1, mantissa.size()));
  long place = static_cast<long>(point) + exponent;
  if (place < 0) {
    digits.insert(0, static_cast<std::size_t>(-place), '0');
    place = 0;
  }
  if (static_cast<std::size_t>(place) > digits.size()) {
    digits.resize(static_cast<std::size_t>(place), '0');
  }
  out.whole = digits.substr(0, static_cast<std::size_t>(place));
  out.fraction = digits.substr(static_cast<std::size_t>(place));
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  out.whole = out.whole.empty() ? "0" : out.whole;
  out.fraction.erase(out.fraction.find_last_not_of('0') + 1);
  out.negative = out.negative && !out.zero();
  return out;
}

std::optional<Decimal> decimal_of(const boost::json::value& value) {
  if (value.is_int64()) {
    return decimal_of(std::to_string(value.get_int64()));
  }
  if (value.is_uint64()) {
    return decimal_of(std::to_string(value.get_uint64()));
  }
  if (!value.is_double()) {
    return std::nullopt;
  }
  std::string text;
  append_json_number(text, value.get_double());
  return decimal_of(text);
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) {
    return a.negative ? -1 : 1;
  }
  return a.negative ? compare_magnitude(b, a) : compare_magnitude(a, b);
}

void NumberRange::raise(Bound bound) {
  const int order = low ? compare(low->value, bound.value) : -1;
  if (order < 0 || (order == 0 && bound.exclusive)) {
    low = std::move(bound);
  }
}

void NumberRange::lower(Bound bound) {
  const int order = high ? compare(high->value, bound.value) : 1;
  if (order > 0 || (order == 0 && bound.exclusive)) {
    high = std::move(bound);
  }
}

bool NumberRange::empty() const {
  if (!low || !high) {
    return false;
  }
  const int order = compare(low->value, high->value);
  return order > 0 || (order == 0 && (low->exclusive || high->exclusive));
}

Expr integers_within(ExprPool& pool, const NumberRange& range) {
  if (range.empty()) {
    return pool.nothing();
  }
  const Sides sides = sides_of(range);
  return signed_choice(pool,
                       sides.positive ? whole_magnitudes(pool, *sides.positive) : pool.nothing(),
                       sides.negative ? whole_magnitudes(pool, *sides.negative) : pool.nothing());
}

Expr numbers_within(ExprPool& pool, const NumberRange& range) {
  if (range.empty()) {
    return pool.nothing();
  }
  const Sides sides = sides_of(range);
  NumberBuilder builder(pool);
  const auto side = [&](const std::optional<Magnitudes>& magnitudes) {
    return magnitudes && magnitudes->low.value.whole.size() <= kMostWhole
               ? builder.magnitudes(*magnitudes)
               : pool.nothing();
  };
  return signed_choice(pool, side(sides.positive), side(sides.negative));
}

Result<Expr> multiples(ExprPool& pool, const Decimal& factor) {
  // A number with at most k digits after the point is a multiple of a/10^k when its digits, read as
  // one whole number, are a multiple of a. The nodes are the rests, before the point and after each
  // digit behind it.
  constexpr std::size_t kMostRests = 4096;
  const std::size_t places = factor.fraction.size();
  std::string digits = factor.whole + factor.fraction;
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  std::size_t rests = 0;
  if (digits.size() < 8) {
    std::from_chars(digits.data(), digits.data() + digits.size(), rests);
  }
  if (rests == 0 || rests * (places + 1) > kMostRests) {
    return fail(ErrorCode::kUnsupported, "a multipleOf with so many digits is not supported");
  }
  const auto node = [&](std::size_t place, std::size_t rest) {
    return static_cast<std::uint32_t>(3 + place * rests + rest);
  };
  const auto digit = [&](unsigned d) { return pool.byte_range('0' + d, '0' + d); };
  const auto done = static_cast<std::uint32_t>(3 + (places + 1) * rests);
  std::vector<Arc> arcs = {{0, pool.optional(pool.literal("-")), 2}};
  std::vector<Expr> digit_exprs;
  for (unsigned d = 0; d < 10; ++d) {
    digit_exprs.push_back(digit(d));
  }
  arcs.push_back({2, digit_exprs[0], done + 1});
  for (unsigned d = 1; d < 10; ++d) {
    arcs.push_back({2, digit_exprs[d], node(0, d % rests)});
  }
  for (std::size_t place = 0; place <= places; ++place) {
    std::size_t scale = 1;
    for (std::size_t i = place; i < places; ++i) {
      scale = scale * 10 % rests;
    }
    for (std::size_t rest = 0; rest < rests; ++rest) {
      const bool multiple = rest * scale % rests == 0;
      if (multiple) {
        arcs.push_back({node(place, rest), pool.empty(), 1});
      }
      for (unsigned d = 0; d < 10; ++d) {
        const std::size_t next = (rest * 10 + d) % rests;
        if (place == 0) {
          arcs.push_back({node(0, rest), digit_exprs[d], node(0, next)});
        } else if (place < places) {
          arcs.push_back({node(place, rest), digit_exprs[d], node(place + 1, next)});
        }
      }
    }
  }
  if (places > 0) {
    const Expr point = pool.literal(".");
    for (std::size_t rest = 0; rest < rests; ++rest) {
      for (unsigned d = 0; d < 10; ++d) {
        const std::size_t next = (rest * 10 + d) % rests;
        arcs.push_back({node(0, rest), pool.sequence({point, digit_exprs[d]}), node(1, next)});
      }
    }
    for (unsigned d = 0; d < 10; ++d) {
      arcs.push_back({done + 1, pool.sequence({point, digit_exprs[d]}), node(1, d % rests)});
    }
  }
  arcs.push_back({done + 1, pool.empty(), 1});
  return pool.graph(done + 2, std::move(arcs));
}

}  // namespace genesis::text::grammar
