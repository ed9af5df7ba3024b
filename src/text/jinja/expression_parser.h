// The expression half of the parser: precedence climbing over a TokenStream.
#pragma once

#include "base/result.h"
#include "text/jinja/ast.h"
#include "text/jinja/token_stream.h"

#include <string_view>
#include <vector>

namespace genesis::text::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  Result<ExpressionPtr> expression() { return condition(); }

  // `a, b, c` without brackets, or just `a`. Ends before the name `stop` if one is given.
  Result<ExpressionPtr> tuple(bool with_condition, std::string_view stop = {});
  // What {% set %}, {% for %} and {% with %} assign to.
  Result<ExpressionPtr> target(bool attributes_allowed, std::string_view stop = {});
  // `| a | b(c)`, or with `first_inline` `a | b(c)`: filters of a block, innermost without input.
  Result<ExpressionPtr> block_filters(bool first_inline);

  // Names loaded since the parser was made, for macros: do they use caller, kwargs, varargs?
  struct SpecialNames {
    std::size_t caller = 0;
    std::size_t kwargs = 0;
    std::size_t varargs = 0;
  };

  const SpecialNames& special_names() const { return special_; }

 private:
  using Part = Result<ExpressionPtr> (ExpressionParser::*)();

  Result<ExpressionPtr> condition();
  Result<ExpressionPtr> logical_or();
  Result<ExpressionPtr> logical_and();
  Result<ExpressionPtr> logical_not();
  Result<ExpressionPtr> compare();
  Result<ExpressionPtr> sum();
  Result<ExpressionPtr> concat();
  Result<ExpressionPtr> product();
  Result<ExpressionPtr> power();

  Result<ExpressionPtr> filtered_unary() { return unary(true); }

  Result<ExpressionPtr> unary(bool with_filter);
  Result<ExpressionPtr> primary(bool attributes_allowed);
  Result<ExpressionPtr> name_or_constant(bool attributes_allowed);
  Result<ExpressionPtr> bracketed();
  Result<ExpressionPtr> list();
  Result<ExpressionPtr> dict();
  Result<ExpressionPtr> postfix(ExpressionPtr base);
  Result<ExpressionPtr> filters_and_tests(ExpressionPtr base);
  Result<ExpressionPtr> attribute(ExpressionPtr base);
  Result<ExpressionPtr> subscript(ExpressionPtr base);
  Result<ExpressionPtr> call(ExpressionPtr base);
  Result<ExpressionPtr> filter(ExpressionPtr base);
  Result<ExpressionPtr> test(ExpressionPtr base);
  Result<CallArguments> arguments();
  Result<void> argument(CallArguments& into);
  Result<ExpressionPtr> arithmetic(Part part, std::initializer_list<std::string_view> operators);
  Result<ExpressionPtr> joined(Part part, std::string_view word, Expression::Kind kind);
  bool at_tuple_end(std::string_view stop) const;

  ExpressionPtr make(Expression::Kind kind) const;
  // Computes the height; refuses a tree that is too high.
  Result<ExpressionPtr> finish(ExpressionPtr expression) const;
  Result<ExpressionPtr> wrap(Expression::Kind kind, ExpressionPtr part) const;

  TokenStream& stream_;
  SpecialNames special_;
};

}  // namespace genesis::text::jinja
