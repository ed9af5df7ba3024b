#include "text/jinja/expression_parser.h"

#include "text/jinja/filters.h"
#include "text/jinja/predicates.h"

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

using Kind = Expression::Kind;
using Made = Result<ExpressionPtr>;

constexpr auto kOperatorNames = std::to_array<std::pair<std::string_view, Operator>>({
    {"+", Operator::kAdd},
    {"-", Operator::kSubtract},
    {"*", Operator::kMultiply},
    {"/", Operator::kDivide},
    {"//", Operator::kFloorDivide},
    {"%", Operator::kModulo},
    {"**", Operator::kPower},
    {"==", Operator::kEqual},
    {"!=", Operator::kNotEqual},
    {"<", Operator::kLess},
    {"<=", Operator::kLessEqual},
    {">", Operator::kGreater},
    {">=", Operator::kGreaterEqual},
});

std::optional<Operator> operator_named(std::string_view name) {
  for (const auto& [known, op] : kOperatorNames) {
    if (known == name) {
      return op;
    }
  }
  return std::nullopt;
}

std::uint32_t height_of(const ExpressionPtr& part) {
  return part ? part->height : 0;
}

}  // namespace

ExpressionPtr ExpressionParser::make(Kind kind) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = stream_.line();
  return made;
}

Made ExpressionParser::finish(ExpressionPtr expression) const {
  std::uint32_t height = 0;
  for (const ExpressionPtr& part : expression->parts) {
    height = std::max(height, height_of(part));
  }
  const CallArguments& arguments = expression->arguments;
  for (const ExpressionPtr& part : arguments.positional) {
    height = std::max(height, height_of(part));
  }
  for (const auto& [name, part] : arguments.named) {
    height = std::max(height, height_of(part));
  }
  height = std::max({height, height_of(arguments.star), height_of(arguments.star_star)});
  expression->height = height + 1;
  if (expression->height > stream_.limits().tree_height) {
    return stream_.error("an expression too long or too deep");
  }
  return expression;
}

Made ExpressionParser::wrap(Kind kind, ExpressionPtr part) const {
  ExpressionPtr made = make(kind);
  made->parts.push_back(std::move(part));
  return finish(std::move(made));
}

// a if b else c; `else` may be missing.
Made ExpressionParser::condition() {
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  const std::size_t unknown = stream_.unknown_count();
  GENESIS_TRY(ExpressionPtr value, logical_or());
  while (stream_.current().is_name("if")) {
    ExpressionPtr made = make(Kind::kCondition);
    stream_.next();
    GENESIS_TRY(ExpressionPtr test, logical_or());
    ExpressionPtr otherwise;
    if (stream_.skip_name("else")) {
      GENESIS_TRY(otherwise, condition());
    }
    made->parts.push_back(std::move(value));
    made->parts.push_back(std::move(test));
    made->parts.push_back(std::move(otherwise));
    stream_.forgive_unknown(unknown);
    GENESIS_TRY(value, finish(std::move(made)));
  }
  return value;
}

// part WORD part WORD part
Made ExpressionParser::joined(Part part, std::string_view word, Kind kind) {
  GENESIS_TRY(ExpressionPtr first, (this->*part)());
  if (!stream_.current().is_name(word)) {
    return first;
  }
  ExpressionPtr made = make(kind);
  made->parts.push_back(std::move(first));
  while (stream_.skip_name(word)) {
    GENESIS_TRY(ExpressionPtr next, (this->*part)());
    made->parts.push_back(std::move(next));
  }
  return finish(std::move(made));
}

Made ExpressionParser::logical_or() {
  return joined(&ExpressionParser::logical_and, "or", Kind::kOr);
}

Made ExpressionParser::logical_and() {
  return joined(&ExpressionParser::logical_not, "and", Kind::kAnd);
}

Made ExpressionParser::logical_not() {
  if (!stream_.current().is_name("not")) {
    return compare();
  }
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  stream_.next();
  GENESIS_TRY(ExpressionPtr part, logical_not());
  return wrap(Kind::kNot, std::move(part));
}

Made ExpressionParser::compare() {
  GENESIS_TRY(ExpressionPtr first, sum());
  ExpressionPtr made = make(Kind::kCompare);
  made->parts.push_back(std::move(first));
  while (true) {
    const Token& token = stream_.current();
    const std::optional<Operator> op =
        token.kind == Token::Kind::kOperator ? operator_named(token.text) : std::nullopt;
    if (op && *op >= Operator::kEqual) {
      made->operators.push_back(*op);
      stream_.next();
    } else if (token.is_name("in")) {
      made->operators.push_back(Operator::kIn);
      stream_.next();
    } else if (token.is_name("not") && stream_.look_ahead().is_name("in")) {
      made->operators.push_back(Operator::kNotIn);
      stream_.next();
      stream_.next();
    } else {
      break;
    }
    GENESIS_TRY(ExpressionPtr next, sum());
    made->parts.push_back(std::move(next));
  }
  return made->operators.empty() ? std::move(made->parts.front()) : finish(std::move(made));
}

Made ExpressionParser::arithmetic(Part part, std::initializer_list<std::string_view> operators) {
  GENESIS_TRY(ExpressionPtr first, (this->*part)());
  ExpressionPtr made = make(Kind::kArithmetic);
  made->parts.push_back(std::move(first));
  while (stream_.current().kind == Token::Kind::kOperator &&
         std::ranges::find(operators, stream_.current().text) != operators.end()) {
    made->operators.push_back(*operator_named(stream_.next().text));
    GENESIS_TRY(ExpressionPtr next, (this->*part)());
    made->parts.push_back(std::move(next));
  }
  return made->operators.empty() ? std::move(made->parts.front()) : finish(std::move(made));
}

Made ExpressionParser::sum() {
  return arithmetic(&ExpressionParser::concat, {"+", "-"});
}

Made ExpressionParser::concat() {
  GENESIS_TRY(ExpressionPtr first, product());
  if (!stream_.current().is_operator("~")) {
    return first;
  }
  ExpressionPtr made = make(Kind::kConcat);
  made->parts.push_back(std::move(first));
  while (stream_.skip_operator("~")) {
    GENESIS_TRY(ExpressionPtr next, product());
    made->parts.push_back(std::move(next));
  }
  return finish(std::move(made));
}

Made ExpressionParser::product() {
  return arithmetic(&ExpressionParser::power, {"*", "/", "//", "%"});
}

Made ExpressionParser::power() {
  return arithmetic(&ExpressionParser::filtered_unary, {"**"});
}

Made ExpressionParser::unary(bool with_filter) {
  ExpressionPtr made;
  const Token& token = stream_.current();
  if (token.is_operator("-") || token.is_operator("+")) {
    const TokenStream::Nested nested(stream_);
    GENESIS_TRY_VOID(nested.check());
    const Kind kind = token.is_operator("-") ? Kind::kNegate : Kind::kPlus;
    stream_.next();
    GENESIS_TRY(ExpressionPtr part, unary(false));
    GENESIS_TRY(made, wrap(kind, std::move(part)));
  } else {
    GENESIS_TRY(made, primary(false));
  }
  GENESIS_TRY(made, postfix(std::move(made)));
  return with_filter ? filters_and_tests(std::move(made)) : Made(std::move(made));
}

Made ExpressionParser::primary(bool attributes_allowed) {
  const Token& token = stream_.current();
  switch (token.kind) {
    case Token::Kind::kName:
      return name_or_constant(attributes_allowed);
    case Token::Kind::kString: {
      ExpressionPtr made = make(Kind::kConstant);
      std::string text;
      while (stream_.current().kind == Token::Kind::kString) {
        text += stream_.next().text;
      }
      made->value = Value::text(std::string_view(text));
      return made;
    }
    case Token::Kind::kInteger:
    case Token::Kind::kFloat: {
      ExpressionPtr made = make(Kind::kConstant);
      made->value = stream_.next().number;
      return made;
    }
    default:
      break;
  }
  if (token.is_operator("(")) {
    return bracketed();
  }
  if (token.is_operator("[")) {
    return list();
  }
  if (token.is_operator("{")) {
    return dict();
  }
  return stream_.unexpected_token("an expression");
}

Made ExpressionParser::name_or_constant(bool attributes_allowed) {
  ExpressionPtr made = make(Kind::kConstant);
  const std::string name = stream_.next().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    made->value = Value::boolean(name == "true" || name == "True");
    return made;
  }
  if (name == "none" || name == "None") {
    made->value = Value::none();
    return made;
  }
  made->name = stream_.intern(name);
  if (attributes_allowed && stream_.skip_operator(".")) {
    made->kind = Kind::kAttributeTarget;
    GENESIS_TRY(made->text, stream_.expect_name());
    return made;
  }
  made->kind = Kind::kName;
  special_.caller += name == "caller" ? 1U : 0U;
  special_.kwargs += name == "kwargs" ? 1U : 0U;
  special_.varargs += name == "varargs" ? 1U : 0U;
  return made;
}

Made ExpressionParser::bracketed() {
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  stream_.next();
  if (stream_.current().is_operator(")")) {
    ExpressionPtr made = make(Kind::kTuple);
    stream_.next();
    return made;
  }
  GENESIS_TRY(ExpressionPtr inner, tuple(true));
  GENESIS_TRY_VOID(stream_.expect_operator(")"));
  return inner;
}

bool ExpressionParser::at_tuple_end(std::string_view stop) const {
  const Token& token = stream_.current();
  return token.kind == Token::Kind::kVariableEnd || token.kind == Token::Kind::kBlockEnd ||
         token.is_operator(")") || (!stop.empty() && token.is_name(stop));
}

Made ExpressionParser::tuple(bool with_condition, std::string_view stop) {
  ExpressionPtr made = make(Kind::kTuple);
  bool is_tuple = false;
  while (!at_tuple_end(stop)) {
    GENESIS_TRY(ExpressionPtr part, with_condition ? condition() : logical_or());
    made->parts.push_back(std::move(part));
    if (!stream_.skip_operator(",")) {
      break;
    }
    is_tuple = true;
  }
  if (is_tuple) {
    return finish(std::move(made));
  }
  if (made->parts.empty()) {
    return stream_.unexpected_token("an expression");
  }
  return std::move(made->parts.front());
}

Made ExpressionParser::target(bool attributes_allowed, std::string_view stop) {
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  ExpressionPtr made = make(Kind::kTuple);
  bool is_tuple = false;
  while (!at_tuple_end(stop)) {
    ExpressionPtr part;
    if (stream_.skip_operator("(")) {
      GENESIS_TRY(part, target(attributes_allowed, {}));
      GENESIS_TRY_VOID(stream_.expect_operator(")"));
    } else if (stream_.current().kind == Token::Kind::kName) {
      GENESIS_TRY(part, name_or_constant(attributes_allowed));
    }
    if (!part || part->kind == Kind::kConstant) {
      return stream_.error("can only assign to names");
    }
    made->parts.push_back(std::move(part));
    if (!stream_.skip_operator(",")) {
      break;
    }
    is_tuple = true;
  }
  if (is_tuple) {
    return finish(std::move(made));
  }
  if (made->parts.empty()) {
    return stream_.unexpected_token("a name to assign to");
  }
  return std::move(made->parts.front());
}

Made ExpressionParser::list() {
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  ExpressionPtr made = make(Kind::kList);
  stream_.next();
  while (!stream_.current().is_operator("]")) {
    GENESIS_TRY(ExpressionPtr part, expression());
    made->parts.push_back(std::move(part));
    if (!stream_.skip_operator(",")) {
      break;
    }
  }
  GENESIS_TRY_VOID(stream_.expect_operator("]"));
  return finish(std::move(made));
}

Made ExpressionParser::dict() {
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  ExpressionPtr made = make(Kind::kDict);
  stream_.next();
  while (!stream_.current().is_operator("}")) {
    GENESIS_TRY(ExpressionPtr key, expression());
    GENESIS_TRY_VOID(stream_.expect_operator(":"));
    GENESIS_TRY(ExpressionPtr value, expression());
    made->parts.push_back(std::move(key));
    made->parts.push_back(std::move(value));
    if (!stream_.skip_operator(",")) {
      break;
    }
  }
  GENESIS_TRY_VOID(stream_.expect_operator("}"));
  return finish(std::move(made));
}

}  // namespace genesis::text::jinja
