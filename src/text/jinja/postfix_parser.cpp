// What may follow an expression: attributes, subscripts, calls, filters and tests.
#include "text/jinja/expression_parser.h"
#include "text/jinja/filters.h"
#include "text/jinja/predicates.h"

#include <utility>

namespace genesis::text::jinja {

namespace {

using Kind = Expression::Kind;
using Made = Result<ExpressionPtr>;

}  // namespace

Made ExpressionParser::postfix(ExpressionPtr base) {
  while (stream_.current().kind == Token::Kind::kOperator) {
    const std::string& op = stream_.current().text;
    if (op == ".") {
      GENESIS_TRY(base, attribute(std::move(base)));
    } else if (op == "[") {
      GENESIS_TRY(base, subscript(std::move(base)));
    } else if (op == "(") {
      GENESIS_TRY(base, call(std::move(base)));
    } else {
      break;
    }
  }
  return base;
}

Made ExpressionParser::filters_and_tests(ExpressionPtr base) {
  while (true) {
    const Token& token = stream_.current();
    if (token.is_operator("|")) {
      stream_.next();
      GENESIS_TRY(base, filter(std::move(base)));
    } else if (token.is_name("is")) {
      GENESIS_TRY(base, test(std::move(base)));
    } else if (token.is_operator("(")) {
      GENESIS_TRY(base, call(std::move(base)));
    } else {
      return base;
    }
  }
}

Made ExpressionParser::attribute(ExpressionPtr base) {
  stream_.next();
  const Token& token = stream_.current();
  if (token.kind == Token::Kind::kInteger) {
    ExpressionPtr made = make(Kind::kItem);
    ExpressionPtr index = make(Kind::kConstant);
    index->value = stream_.next().number;
    made->parts.push_back(std::move(base));
    made->parts.push_back(std::move(index));
    return finish(std::move(made));
  }
  ExpressionPtr made = make(Kind::kAttribute);
  GENESIS_TRY(made->text, stream_.expect_name());
  made->parts.push_back(std::move(base));
  return finish(std::move(made));
}

Made ExpressionParser::subscript(ExpressionPtr base) {
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  ExpressionPtr made = make(Kind::kItem);
  stream_.next();
  made->parts.push_back(std::move(base));
  const auto at_end = [&] {
    return stream_.current().is_operator("]") || stream_.current().is_operator(":");
  };
  std::vector<ExpressionPtr> bounds(1);
  if (!at_end()) {
    GENESIS_TRY(bounds.back(), expression());
  }
  while (stream_.skip_operator(":") && bounds.size() < 4) {
    bounds.emplace_back();
    if (!at_end()) {
      GENESIS_TRY(bounds.back(), expression());
    }
  }
  if (stream_.current().is_operator(",")) {
    return stream_.error("several subscripts are not supported", ErrorCode::kUnsupported);
  }
  GENESIS_TRY_VOID(stream_.expect_operator("]"));
  if (bounds.size() > 3 || (bounds.size() == 1 && !bounds.front())) {
    return stream_.error("a subscript needs one index, or a slice of at most three parts");
  }
  if (bounds.size() > 1) {
    made->kind = Kind::kSlice;
    bounds.resize(3);
  }
  for (ExpressionPtr& bound : bounds) {
    made->parts.push_back(std::move(bound));
  }
  return finish(std::move(made));
}

Made ExpressionParser::call(ExpressionPtr base) {
  ExpressionPtr made = make(Kind::kCall);
  made->parts.push_back(std::move(base));
  GENESIS_TRY(made->arguments, arguments());
  return finish(std::move(made));
}

Result<CallArguments> ExpressionParser::arguments() {
  const TokenStream::Nested nested(stream_);
  GENESIS_TRY_VOID(nested.check());
  CallArguments out;
  stream_.next();
  while (!stream_.current().is_operator(")")) {
    GENESIS_TRY_VOID(argument(out));
    if (!stream_.skip_operator(",")) {
      break;
    }
  }
  GENESIS_TRY_VOID(stream_.expect_operator(")"));
  return out;
}

Result<void> ExpressionParser::argument(CallArguments& into) {
  const bool after_stars = into.star_star != nullptr;
  if (stream_.current().is_operator("*") && !into.star && !after_stars) {
    stream_.next();
    GENESIS_TRY(into.star, expression());
    return {};
  }
  if (stream_.current().is_operator("**") && !after_stars) {
    stream_.next();
    GENESIS_TRY(into.star_star, expression());
    return {};
  }
  if (stream_.current().kind == Token::Kind::kName && stream_.look_ahead().is_operator("=") &&
      !after_stars) {
    std::string name = stream_.next().text;
    stream_.next();
    GENESIS_TRY(ExpressionPtr value, expression());
    into.named.emplace_back(std::move(name), std::move(value));
    return {};
  }
  if (after_stars || into.star || !into.named.empty()) {
    return stream_.error("a positional argument after named ones");
  }
  GENESIS_TRY(ExpressionPtr value, expression());
  into.positional.push_back(std::move(value));
  return {};
}

Made ExpressionParser::filter(ExpressionPtr base) {
  ExpressionPtr made = make(Kind::kFilter);
  GENESIS_TRY(made->text, stream_.expect_name());
  made->filter = find_filter(made->text);
  if (made->filter == nullptr) {
    stream_.note_unknown(fmt::format("filter '{}' is not supported", made->text));
  }
  made->parts.push_back(std::move(base));
  if (stream_.current().is_operator("(")) {
    GENESIS_TRY(made->arguments, arguments());
  }
  return finish(std::move(made));
}

Made ExpressionParser::block_filters(bool first_inline) {
  ExpressionPtr made;
  while (first_inline || stream_.skip_operator("|")) {
    first_inline = false;
    GENESIS_TRY(made, filter(std::move(made)));
  }
  return made;
}

Made ExpressionParser::test(ExpressionPtr base) {
  stream_.next();
  const bool negated = stream_.skip_name("not");
  ExpressionPtr made = make(Kind::kTest);
  GENESIS_TRY(made->text, stream_.expect_name());
  made->test = find_test(made->text);
  if (made->test == nullptr) {
    stream_.note_unknown(fmt::format("test '{}' is not supported", made->text));
  }
  made->parts.push_back(std::move(base));
  const Token& token = stream_.current();
  const bool word_ends = token.is_name("else") || token.is_name("or") || token.is_name("and");
  if (token.is_operator("(")) {
    GENESIS_TRY(made->arguments, arguments());
  } else if (token.is_name("is")) {
    return stream_.error("tests cannot be chained with 'is'");
  } else if ((token.kind == Token::Kind::kName && !word_ends) ||
             token.kind == Token::Kind::kString || token.kind == Token::Kind::kInteger ||
             token.kind == Token::Kind::kFloat || token.is_operator("[") ||
             token.is_operator("{")) {
    GENESIS_TRY(ExpressionPtr argument, primary(false));
    GENESIS_TRY(argument, postfix(std::move(argument)));
    made->arguments.positional.push_back(std::move(argument));
  }
  GENESIS_TRY(made, finish(std::move(made)));
  return negated ? wrap(Kind::kNot, std::move(made)) : Made(std::move(made));
}

}  // namespace genesis::text::jinja
