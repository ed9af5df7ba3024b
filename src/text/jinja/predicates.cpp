#include "text/jinja/predicates.h"

#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

using Answer = Result<bool>;

Result<Value> only_argument(Arguments& arguments) {
  GENESIS_TRY(auto args, bind("a test", arguments, {"other"}));
  return args[0] ? Result<Value>(std::move(*args[0])) : template_error("a test needs an argument");
}

template <bool (*holds)(const Value&)>
Answer simple(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("a test", arguments, {}));
  return holds(input);
}

bool is_defined(const Value& v) {
  return !v.is_undefined();
}

bool is_undefined(const Value& v) {
  return v.is_undefined();
}

bool is_none(const Value& v) {
  return v.is<None>();
}

bool is_boolean(const Value& v) {
  return v.is<bool>();
}

bool is_true(const Value& v) {
  return v.is<bool>() && *v.get<bool>();
}

bool is_false(const Value& v) {
  return v.is<bool>() && !*v.get<bool>();
}

bool is_integer(const Value& v) {
  return v.is<Int>();
}

bool is_float(const Value& v) {
  return v.is<double>();
}

bool is_number(const Value& v) {
  return v.is_number();
}

bool is_string(const Value& v) {
  return v.as_text() != nullptr;
}

bool is_mapping(const Value& v) {
  return v.as_dict() != nullptr;
}

bool is_sequence(const Value& v) {
  // An undefined value has a length and can be subscripted, as far as Python can see.
  return v.as_text() != nullptr || v.as_list() != nullptr || v.as_dict() != nullptr ||
         v.is_undefined();
}

bool is_callable(const Value& v) {
  return v.is<std::shared_ptr<const Callable>>() || v.is<std::shared_ptr<Loop>>() ||
         v.is_undefined();
}

Result<Value> remainder(Context& context, const Value& input, const Value& divisor) {
  return arithmetic(context, Operator::kModulo, input, divisor);
}

template <int wanted>
Answer parity(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("a test", arguments, {}));
  GENESIS_TRY(const Value rest, remainder(context, input, Value::integer(2)));
  return equal(rest, Value::integer(wanted));
}

Answer divisible_by(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const Value divisor, only_argument(arguments));
  GENESIS_TRY(const Value rest, remainder(context, input, divisor));
  return equal(rest, Value::integer(0));
}

template <Operator op>
Answer comparison(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const Value other, only_argument(arguments));
  return compares(context, op, input, other);
}

// Identity: what Python shares, such as None and True, or the very same object.
Answer same_as(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const Value other, only_argument(arguments));
  if (input.data().index() != other.data().index()) {
    return false;
  }
  if (const auto* list = input.get<std::shared_ptr<const List>>()) {
    return *list == *other.get<std::shared_ptr<const List>>();
  }
  if (const auto* dict = input.get<std::shared_ptr<const Dict>>()) {
    return *dict == *other.get<std::shared_ptr<const Dict>>();
  }
  return equal(input, other);
}

template <bool upper>
Answer cased(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("a test", arguments, {}));
  GENESIS_TRY(Text text, to_str(context, input));
  const Callable method{.kind = Callable::Kind::kMethod,
                        .name = upper ? "isupper" : "islower",
                        .self = Value::text(std::move(text))};
  GENESIS_TRY(const Value result, call_method(context, method, {}));
  return truthy(result);
}

template <bool (*exists)(std::string_view)>
Answer known(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("a test", arguments, {}));
  const Text* name = input.as_text();
  return name != nullptr && exists(name->bytes);
}

bool filter_exists(std::string_view name) {
  return find_filter(name) != nullptr;
}

bool test_exists(std::string_view name) {
  return find_test(name) != nullptr;
}

constexpr auto kTests = std::to_array<Test>({
    {"!=", comparison<Operator::kNotEqual>},
    {"<", comparison<Operator::kLess>},
    {"<=", comparison<Operator::kLessEqual>},
    {"==", comparison<Operator::kEqual>},
    {">", comparison<Operator::kGreater>},
    {">=", comparison<Operator::kGreaterEqual>},
    {"boolean", simple<is_boolean>},
    {"callable", simple<is_callable>},
    {"defined", simple<is_defined>},
    {"divisibleby", divisible_by},
    {"eq", comparison<Operator::kEqual>},
    {"equalto", comparison<Operator::kEqual>},
    {"even", parity<0>},
    {"false", simple<is_false>},
    {"filter", known<filter_exists>},
    {"float", simple<is_float>},
    {"ge", comparison<Operator::kGreaterEqual>},
    {"greaterthan", comparison<Operator::kGreater>},
    {"gt", comparison<Operator::kGreater>},
    {"in", comparison<Operator::kIn>},
    {"integer", simple<is_integer>},
    {"iterable", simple<is_iterable>},
    {"le", comparison<Operator::kLessEqual>},
    {"lessthan", comparison<Operator::kLess>},
    {"lower", cased<false>},
    {"lt", comparison<Operator::kLess>},
    {"mapping", simple<is_mapping>},
    {"ne", comparison<Operator::kNotEqual>},
    {"none", simple<is_none>},
    {"number", simple<is_number>},
    {"odd", parity<1>},
    {"sameas", same_as},
    {"sequence", simple<is_sequence>},
    {"string", simple<is_string>},
    {"test", known<test_exists>},
    {"true", simple<is_true>},
    {"undefined", simple<is_undefined>},
    {"upper", cased<true>},
});

}  // namespace

const Test* find_test(std::string_view name) {
  const auto found = std::ranges::find(kTests, name, &Test::name);
  return found == kTests.end() ? nullptr : &*found;
}

}  // namespace genesis::text::jinja
