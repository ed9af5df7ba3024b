#include "text/jinja/operators.h"

#include "text/jinja/access.h"
#include "text/jinja/format.h"
#include "text/jinja/order.h"
#include "text/jinja/text_edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace genesis::text::jinja {

namespace {

std::string_view symbol(Operator op) {
  constexpr std::array<std::string_view, 7> kSymbols = {"+", "-", "*", "/", "//", "%", "**"};
  return kSymbols[static_cast<std::size_t>(op)];
}

std::unexpected<Error> wrong_types(Operator op, const Value& a, const Value& b) {
  if (a.is_undefined() || b.is_undefined()) {
    return undefined_error(a.is_undefined() ? a : b);
  }
  return template_error(
      fmt::format("'{}' does not take {} and {}", symbol(op), type_name(a), type_name(b)));
}

std::unexpected<Error> overflow() {
  return fail(ErrorCode::kResourceExhausted, "a number of the chat template became too large");
}

double to_real(const Value& value) {
  if (const double* d = value.get<double>()) {
    return *d;
  }
  const Int* i = value.get<Int>();
  return i != nullptr ? static_cast<double>(*i) : (*value.get<bool>() ? 1.0 : 0.0);
}

Result<Value> int_power(Int base, Int exponent) {
  if (exponent < 0) {
    if (base == 0) {
      return template_error("0 cannot be raised to a negative power");
    }
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  Int result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      return overflow();
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      return overflow();
    }
  }
  return Value::integer(result);
}

Result<Value> int_arithmetic(Operator op, Int a, Int b) {
  Int out = 0;
  bool overflowed = false;
  switch (op) {
    case Operator::kAdd:
      overflowed = __builtin_add_overflow(a, b, &out);
      break;
    case Operator::kSubtract:
      overflowed = __builtin_sub_overflow(a, b, &out);
      break;
    case Operator::kMultiply:
      overflowed = __builtin_mul_overflow(a, b, &out);
      break;
    case Operator::kPower:
      return int_power(a, b);
    default:
      if (b == 0) {
        return template_error("division by zero");
      }
      if (op == Operator::kDivide) {
        return Value::real(static_cast<double>(a) / static_cast<double>(b));
      }
      if (b == -1) {
        overflowed = op == Operator::kFloorDivide && __builtin_sub_overflow(Int{0}, a, &out);
        break;
      }
      // Python rounds towards minus infinity; the remainder has the sign of the divisor.
      out = op == Operator::kFloorDivide ? a / b : a % b;
      if (a % b != 0 && (a < 0) != (b < 0)) {
        out += op == Operator::kFloorDivide ? -1 : b;
      }
      break;
  }
  return overflowed ? Result<Value>(overflow()) : Value::integer(out);
}

Result<Value> real_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value::real(a + b);
    case Operator::kSubtract:
      return Value::real(a - b);
    case Operator::kMultiply:
      return Value::real(a * b);
    case Operator::kPower:
      if (a < 0 && b != std::floor(b)) {
        return template_error("a negative number cannot be raised to a fraction");
      }
      if (a == 0 && b < 0) {
        return template_error("0 cannot be raised to a negative power");
      }
      return Value::real(std::pow(a, b));
    default:
      break;
  }
  if (b == 0) {
    return template_error("division by zero");
  }
  if (op == Operator::kDivide) {
    return Value::real(a / b);
  }
  double remainder = std::fmod(a, b);
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    remainder += b;
  }
  if (op == Operator::kModulo) {
    return Value::real(remainder == 0 ? std::copysign(0.0, b) : remainder);
  }
  const double quotient = (a - remainder) / b;
  double floored = std::floor(quotient);
  floored += quotient - floored > 0.5 ? 1.0 : 0.0;
  return Value::real(quotient == 0 ? std::copysign(0.0, a / b) : floored);
}

Result<Value> concatenate(Context& context, const Value& a, const Value& b) {
  const Text* left = a.as_text();
  const Text* right = b.as_text();
  if (left != nullptr && right != nullptr) {
    const bool markup = left->markup || right->markup;
    TextBuilder out;
    for (const Text* part : {left, right}) {
      if (markup && !part->markup) {
        GENESIS_TRY(const Text escaped, escaped_text(context, *part));
        out.add(escaped);
      } else {
        out.add(*part);
      }
    }
    Text made = out.take();
    made.markup = markup;
    return context.text(std::move(made));
  }
  const List* x = a.as_list();
  const List* y = b.as_list();
  if (x == nullptr || y == nullptr || x->tuple != y->tuple) {
    return wrong_types(Operator::kAdd, a, b);
  }
  GENESIS_TRY_VOID(context.spend(x->items.size() + y->items.size()));
  std::vector<Value> items = x->items;
  items.insert(items.end(), y->items.begin(), y->items.end());
  return context.list(std::move(items), x->tuple);
}

// text * n and list * n
Result<Value> repeated(Context& context, const Value& value, Int times) {
  const auto size = static_cast<Int>(value.as_text() != nullptr ? value.as_text()->bytes.size()
                                                                : value.as_list()->items.size());
  times = std::max<Int>(times, 0);
  const auto most = static_cast<Int>(context.limits().output_bytes);
  if (size > 0 && times > most / size) {
    return fail(ErrorCode::kResourceExhausted, "the chat template repeated a value too often");
  }
  const auto count = size == 0 ? std::size_t{0} : static_cast<std::size_t>(times);
  if (const Text* text = value.as_text()) {
    GENESIS_TRY_VOID(context.spend(count * (1 + text->marks.size())));
    TextBuilder out;
    for (std::size_t i = 0; i < count; ++i) {
      out.add(*text);
    }
    Text made = out.take();
    made.markup = text->markup;
    return context.text(std::move(made));
  }
  GENESIS_TRY_VOID(context.spend(static_cast<std::size_t>(size) * count));
  std::vector<Value> items;
  for (std::size_t i = 0; i < count; ++i) {
    items.insert(items.end(), value.as_list()->items.begin(), value.as_list()->items.end());
  }
  return context.list(std::move(items), value.as_list()->tuple);
}

bool is_sequence(const Value& value) {
  return value.as_text() != nullptr || value.as_list() != nullptr;
}

}  // namespace

Result<Value> arithmetic(Context& context, Operator op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is<double>() || b.is<double>()) {
      return real_arithmetic(op, to_real(a), to_real(b));
    }
    GENESIS_TRY(const Int x, need_int(a, "an operand"));
    GENESIS_TRY(const Int y, need_int(b, "an operand"));
    return int_arithmetic(op, x, y);
  }
  if (op == Operator::kAdd) {
    return concatenate(context, a, b);
  }
  if (op == Operator::kMultiply && is_sequence(a) && (b.is<Int>() || b.is<bool>())) {
    GENESIS_TRY(const Int times, need_int(b, "a count"));
    return repeated(context, a, times);
  }
  if (op == Operator::kMultiply && is_sequence(b) && (a.is<Int>() || a.is<bool>())) {
    GENESIS_TRY(const Int times, need_int(a, "a count"));
    return repeated(context, b, times);
  }
  if (op == Operator::kModulo && a.as_text() != nullptr) {
    return percent_format(context, *a.as_text(), b);
  }
  return wrong_types(op, a, b);
}

Result<bool> compares(Context& context, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kIn:
      return contains(context, b, a);
    case Operator::kNotIn: {
      GENESIS_TRY(const bool found, contains(context, b, a));
      return !found;
    }
    case Operator::kEqual:
    case Operator::kNotEqual:
      GENESIS_TRY_VOID(context.spend(std::min(extent_of(a).weight, extent_of(b).weight)));
      return equal(a, b) == (op == Operator::kEqual);
    default:
      break;
  }
  GENESIS_TRY(const auto order, compare(context, a, b));
  switch (op) {
    case Operator::kLess:
      return order < 0;
    case Operator::kLessEqual:
      return order <= 0;
    case Operator::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

Result<Value> negated(const Value& value) {
  if (const double* d = value.get<double>()) {
    return Value::real(-*d);
  }
  GENESIS_TRY(const Int i, need_int(value, "the operand of '-'"));
  return int_arithmetic(Operator::kSubtract, 0, i);
}

}  // namespace genesis::text::jinja
