#include "text/jinja/inspect.h"

#include <algorithm>
#include <functional>

namespace genesis::text::jinja {

namespace {

using OfExpression = std::function<bool(const Expression&)>;
using OfStatement = std::function<bool(const Statement&)>;

// Depth is bounded by what the parser lets through.
class Search {
 public:
  Search(OfExpression of_expression, OfStatement of_statement)
      : of_expression_(std::move(of_expression)), of_statement_(std::move(of_statement)) {}

  bool in(const Body& body) const {
    return std::ranges::any_of(body, [&](const Statement& s) { return in(s); });
  }

 private:
  bool in(const ExpressionPtr& expression) const {
    return expression &&
           (of_expression_(*expression) || in(expression->parts) ||
            in(expression->arguments.positional) ||
            std::ranges::any_of(expression->arguments.named,
                                [&](const auto& named) { return in(named.second); }) ||
            in(expression->arguments.star) || in(expression->arguments.star_star));
  }

  bool in(const std::vector<ExpressionPtr>& expressions) const {
    return std::ranges::any_of(expressions, [&](const ExpressionPtr& e) { return in(e); });
  }

  // Targets are assigned to, not read.
  bool in(const Statement& statement) const {
    return of_statement_(statement) || in(statement.expression) || in(statement.condition) ||
           in(statement.signature.defaults) || in(statement.body) || in(statement.otherwise) ||
           std::ranges::any_of(
               statement.branches,
               [&](const Statement::Branch& b) { return in(b.condition) || in(b.body); }) ||
           std::ranges::any_of(statement.bindings,
                               [&](const auto& binding) { return in(binding.second); });
  }

  OfExpression of_expression_;
  OfStatement of_statement_;
};

bool nowhere(const Expression&) {
  return false;
}

}  // namespace

bool mentions(const Template& program, std::string_view literal) {
  const auto in_constant = [&](const Expression& expression) {
    const Text* text =
        expression.kind == Expression::Kind::kConstant ? expression.value.as_text() : nullptr;
    return text != nullptr && text->bytes.contains(literal);
  };
  const auto in_text = [&](const Statement& statement) {
    return statement.kind == Statement::Kind::kText && statement.text.contains(literal);
  };
  return Search(in_constant, in_text).in(program.body);
}

bool reads_variable(const Template& program, std::string_view name) {
  const auto id = program.find_name(name);
  const auto reads = [&](const Expression& expression) {
    return expression.kind == Expression::Kind::kName && expression.name == *id;
  };
  return id && Search(reads, [](const Statement&) { return false; }).in(program.body);
}

bool has_generation_blocks(const Template& program) {
  const auto is_one = [](const Statement& statement) {
    return statement.kind == Statement::Kind::kGeneration;
  };
  return Search(nowhere, is_one).in(program.body);
}

}  // namespace genesis::text::jinja
