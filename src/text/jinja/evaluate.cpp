// Expressions.
#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/functions.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/predicates.h"
#include "text/jinja/print.h"

#include <fmt/format.h>

#include <utility>

namespace genesis::text::jinja {

namespace {

constexpr std::size_t kVariablesPerStep = 32;

}  // namespace

Result<Value> Interpreter::evaluate(const Expression& expression) {
  const Nested nested(*this);
  Result<void> paid = nested.check();
  if (paid) {
    paid = spend(1);
  }
  if (!paid) {
    return located(std::move(paid).error(), expression.line);
  }
  Result<Value> value = dispatch(expression);
  return value ? std::move(value) : located(std::move(value).error(), expression.line);
}

Result<Value> Interpreter::dispatch(const Expression& expression) {
  using Kind = Expression::Kind;
  switch (expression.kind) {
    case Kind::kConstant:
      return expression.value;
    case Kind::kName:
    case Kind::kAttributeTarget:
      return name(expression);
    case Kind::kTuple:
    case Kind::kList:
      return sequence(expression);
    case Kind::kDict:
      return dict(expression);
    case Kind::kAnd:
    case Kind::kOr:
      return logical(expression);
    case Kind::kCompare:
      return comparison(expression);
    case Kind::kArithmetic:
      return arithmetic_chain(expression);
    case Kind::kConcat:
      return concat(expression);
    case Kind::kSlice:
      return sliced(expression);
    case Kind::kCondition:
      return condition(expression);
    case Kind::kCall:
      return call(expression, Value());
    case Kind::kTest:
      return test(expression);
    default:
      break;
  }
  // What is left works on one operand.
  GENESIS_TRY(const Value operand, evaluate(*expression.parts.front()));
  switch (expression.kind) {
    case Kind::kNot:
      return Value::boolean(!truthy(operand));
    case Kind::kNegate:
      return negated(operand);
    case Kind::kPlus: {
      GENESIS_TRY(const Value minus, negated(operand));
      return negated(minus);
    }
    case Kind::kAttribute:
      return attribute(*this, operand, expression.text);
    case Kind::kFilter:
      return filter(expression, operand);
    default: {
      GENESIS_TRY(const Value key, evaluate(*expression.parts[1]));
      return item(*this, operand, key);
    }
  }
}

Result<Value> Interpreter::name(const Expression& expression) {
  const Scope::Found found = scope_->find(expression.name);
  GENESIS_TRY_VOID(spend(found.passed / kVariablesPerStep));
  if (found.value != nullptr) {
    return *found.value;
  }
  const std::string& name = program_.names[expression.name];
  if (name == "self") {
    // The blocks of the template; it has none.
    GENESIS_TRY(std::shared_ptr<Namespace> blocks, new_namespace());
    return Value(Value::Data(std::move(blocks)));
  }
  if (is_function(name)) {
    return make_callable({.name = name});
  }
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

Result<Value> Interpreter::sequence(const Expression& expression) {
  std::vector<Value> items;
  for (const ExpressionPtr& part : expression.parts) {
    GENESIS_TRY(Value item, evaluate(*part));
    items.push_back(std::move(item));
  }
  return list(std::move(items), expression.kind == Expression::Kind::kTuple);
}

Result<Value> Interpreter::dict(const Expression& expression) {
  DictBuilder builder;
  for (std::size_t i = 0; i < expression.parts.size(); i += 2) {
    GENESIS_TRY(Value key, evaluate(*expression.parts[i]));
    GENESIS_TRY(Value value, evaluate(*expression.parts[i + 1]));
    if (!hashable(key)) {
      return template_error(fmt::format("a {} cannot be a key of a dict", type_name(key)));
    }
    builder.set(std::move(key), std::move(value));
  }
  return Context::dict(std::move(builder));
}

// `and` and `or` give the operand that decided.
Result<Value> Interpreter::logical(const Expression& expression) {
  const bool stops_at = expression.kind == Expression::Kind::kOr;
  Value value;
  for (const ExpressionPtr& part : expression.parts) {
    GENESIS_TRY(value, evaluate(*part));
    if (truthy(value) == stops_at) {
      break;
    }
  }
  return value;
}

// a < b < c is a < b and b < c.
Result<Value> Interpreter::comparison(const Expression& expression) {
  GENESIS_TRY(Value left, evaluate(*expression.parts.front()));
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    GENESIS_TRY(Value right, evaluate(*expression.parts[i + 1]));
    GENESIS_TRY(const bool holds, compares(*this, expression.operators[i], left, right));
    if (!holds) {
      return Value::boolean(false);
    }
    left = std::move(right);
  }
  return Value::boolean(true);
}

Result<Value> Interpreter::arithmetic_chain(const Expression& expression) {
  GENESIS_TRY(Value left, evaluate(*expression.parts.front()));
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    GENESIS_TRY(const Value right, evaluate(*expression.parts[i + 1]));
    GENESIS_TRY_VOID(spend(1));
    GENESIS_TRY(left, arithmetic(*this, expression.operators[i], left, right));
  }
  return left;
}

Result<Value> Interpreter::concat(const Expression& expression) {
  TextBuilder out;
  for (const ExpressionPtr& part : expression.parts) {
    GENESIS_TRY(const Value value, evaluate(*part));
    GENESIS_TRY(const Text text, to_str(*this, value));
    GENESIS_TRY_VOID(add_output(out, text));
  }
  return Context::text(out.take());
}

Result<Value> Interpreter::sliced(const Expression& expression) {
  std::vector<Value> parts;
  for (const ExpressionPtr& part : expression.parts) {
    Value value = Value::none();
    if (part) {
      GENESIS_TRY(value, evaluate(*part));
      if (value.is_undefined() && !parts.empty()) {
        return undefined_error(value);
      }
    }
    parts.push_back(std::move(value));
  }
  return slice(*this, parts[0], parts[1], parts[2], parts[3]);
}

Result<Value> Interpreter::condition(const Expression& expression) {
  GENESIS_TRY(const Value test, evaluate(*expression.parts[1]));
  if (truthy(test)) {
    return evaluate(*expression.parts[0]);
  }
  if (expression.parts[2]) {
    return evaluate(*expression.parts[2]);
  }
  return Value::undefined(fmt::format(
      "the inline if-expression on line {} evaluated to false and no else section was defined",
      expression.line));
}

Result<Arguments> Interpreter::arguments(const CallArguments& source) {
  Arguments out;
  for (const ExpressionPtr& part : source.positional) {
    GENESIS_TRY(Value value, evaluate(*part));
    out.positional.push_back(std::move(value));
  }
  if (source.star) {
    GENESIS_TRY(const Value more, evaluate(*source.star));
    GENESIS_TRY(const std::vector<Value> items, iterate(*this, more));
    out.positional.insert(out.positional.end(), items.begin(), items.end());
  }
  for (const auto& [name, part] : source.named) {
    GENESIS_TRY(Value value, evaluate(*part));
    out.named.emplace_back(name, std::move(value));
  }
  if (source.star_star) {
    GENESIS_TRY(const Value more, evaluate(*source.star_star));
    const Dict* dict = more.as_dict();
    if (dict == nullptr) {
      return template_error("the argument after ** must be a dict");
    }
    GENESIS_TRY_VOID(spend(dict->items.size()));
    for (const auto& [key, value] : dict->items) {
      GENESIS_TRY(const TextRef name, need_text(key, "a keyword"));
      out.named.emplace_back(name->bytes, value);
    }
  }
  return out;
}

Result<Value> Interpreter::call(const Expression& expression, Value caller) {
  GENESIS_TRY(const Value callee, evaluate(*expression.parts.front()));
  GENESIS_TRY(Arguments args, arguments(expression.arguments));
  if (!caller.is_undefined()) {
    args.named.emplace_back("caller", std::move(caller));
  }
  return call_value(callee, std::move(args));
}

Result<Value> Interpreter::call_value(const Value& callee, Arguments args) {
  if (callee.is_undefined()) {
    return undefined_error(callee);
  }
  const auto* callable = callee.get<std::shared_ptr<const Callable>>();
  if (callable == nullptr) {
    return template_error(fmt::format("a {} cannot be called", type_name(callee)));
  }
  switch ((*callable)->kind) {
    case Callable::Kind::kFunction:
      return call_function(*this, (*callable)->name, std::move(args));
    case Callable::Kind::kMethod:
      return call_method(*this, **callable, std::move(args));
    case Callable::Kind::kMacro:
      return call_macro(**callable, std::move(args));
    case Callable::Kind::kJoiner:
      return call_joiner(*this, **callable, args);
  }
  return template_error("not callable");
}

Result<Value> Interpreter::filter(const Expression& expression, const Value& input) {
  if (expression.filter == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("filter '{}' is not supported", expression.text));
  }
  GENESIS_TRY(Arguments args, arguments(expression.arguments));
  return expression.filter->run(*this, input, args);
}

// The filters of a block: the innermost one, which has no operand, works on the block's text.
Result<Value> Interpreter::filtered(const Expression& expression, const Value& innermost) {
  const Nested nested(*this);
  GENESIS_TRY_VOID(nested.check());
  Value input = innermost;
  if (expression.parts.front()) {
    GENESIS_TRY(input, filtered(*expression.parts.front(), innermost));
  }
  return filter(expression, input);
}

Result<Value> Interpreter::test(const Expression& expression) {
  if (expression.test == nullptr) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("test '{}' is not supported", expression.text));
  }
  GENESIS_TRY(const Value input, evaluate(*expression.parts.front()));
  GENESIS_TRY(Arguments args, arguments(expression.arguments));
  GENESIS_TRY(const bool holds, expression.test->run(*this, input, args));
  return Value::boolean(holds);
}

}  // namespace genesis::text::jinja
