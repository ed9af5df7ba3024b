// The statement half of the parser.
#include "text/jinja/parser.h"

#include "text/jinja/expression_parser.h"
#include "text/jinja/lexer.h"
#include "text/jinja/token_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

using Kind = Statement::Kind;
using Names = std::initializer_list<std::string_view>;

// Bounds the memory of the tree, some 200 bytes for each of the source. The longest of 927 real
// templates has 45 KB.
constexpr std::size_t kMaxSource = 256 * 1024;

class Parser {
 public:
  explicit Parser(TokenStream& stream) : stream_(stream), expressions_(stream) {}

  // Statements up to a block tag named in `ends`, whose name is left as the current token.
  Result<Body> body(Names ends) {
    const TokenStream::Nested nested(stream_);
    GENESIS_TRY_VOID(nested.check());
    Body out;
    while (stream_.current().kind != Token::Kind::kEnd) {
      if (stream_.current().kind == Token::Kind::kData) {
        Statement& text = out.emplace_back(make(Kind::kText));
        text.text = stream_.next().text;
        continue;
      }
      if (stream_.current().kind == Token::Kind::kVariableBegin) {
        stream_.next();
        Statement output = make(Kind::kOutput);
        GENESIS_TRY(output.expression, expressions_.tuple(true));
        GENESIS_TRY_VOID(stream_.expect(Token::Kind::kVariableEnd, "'}}'"));
        out.push_back(std::move(output));
        continue;
      }
      stream_.next();
      if (stream_.current().kind == Token::Kind::kName &&
          std::ranges::find(ends, stream_.current().text) != ends.end()) {
        return out;
      }
      GENESIS_TRY(Statement statement, block());
      GENESIS_TRY_VOID(stream_.expect(Token::Kind::kBlockEnd, "'%}'"));
      out.push_back(std::move(statement));
    }
    if (ends.size() != 0) {
      return stream_.error(
          fmt::format("unexpected end of template; looking for '{}'", *(ends.end() - 1)));
    }
    return out;
  }

 private:
  Statement make(Kind kind) const { return {.kind = kind, .line = stream_.line()}; }

  // After the expressions of an opening tag: its end, and the statements up to `ends`.
  Result<Body> inside(Names ends) {
    stream_.skip_operator(":");
    GENESIS_TRY_VOID(stream_.expect(Token::Kind::kBlockEnd, "'%}'"));
    return body(ends);
  }

  // As inside(), with the end tag's name consumed.
  Result<Body> inside_up_to(std::string_view end) {
    GENESIS_TRY(Body out, inside({end}));
    stream_.next();
    return out;
  }

  Result<Statement> block() {
    using Method = Result<Statement> (Parser::*)();
    constexpr auto kTags = std::to_array<std::pair<std::string_view, Method>>({
        {"for", &Parser::for_loop},
        {"if", &Parser::if_else},
        {"set", &Parser::set},
        {"macro", &Parser::macro},
        {"call", &Parser::call_block},
        {"filter", &Parser::filter_block},
        {"with", &Parser::with},
        {"generation", &Parser::generation},
        {"break", &Parser::loop_control},
        {"continue", &Parser::loop_control},
    });
    const Token& token = stream_.current();
    if (token.kind != Token::Kind::kName) {
      return stream_.unexpected_token("a tag name");
    }
    for (const auto& [name, method] : kTags) {
      if (token.text == name) {
        return (this->*method)();
      }
    }
    constexpr auto kKnown = std::to_array<std::string_view>(
        {"include", "import", "from", "extends", "block", "autoescape", "print", "do"});
    if (std::ranges::find(kKnown, token.text) != kKnown.end()) {
      return stream_.error(fmt::format("tag '{}' is not supported", token.text),
                           ErrorCode::kUnsupported);
    }
    return stream_.error(fmt::format("unknown tag '{}'", token.text));
  }

  Result<Statement> for_loop() {
    Statement loop = make(Kind::kFor);
    stream_.next();
    GENESIS_TRY(loop.target, expressions_.target(false, "in"));
    if (!stream_.skip_name("in")) {
      return stream_.unexpected_token("'in'");
    }
    GENESIS_TRY(loop.expression, expressions_.tuple(false, "recursive"));
    const std::size_t unknown = stream_.unknown_count();
    if (stream_.skip_name("if")) {
      GENESIS_TRY(loop.condition, expressions_.expression());
    }
    if (stream_.current().is_name("recursive")) {
      return stream_.error("recursive loops are not supported", ErrorCode::kUnsupported);
    }
    ++loops_;
    GENESIS_TRY(loop.body, inside({"else", "endfor"}));
    --loops_;
    if (stream_.next().text == "else") {
      GENESIS_TRY(loop.otherwise, inside_up_to("endfor"));
    }
    GENESIS_TRY_VOID(stream_.refuse_unknown(unknown));
    return loop;
  }

  Result<Statement> if_else() {
    Statement choice = make(Kind::kIf);
    std::string tag = "if";
    const std::size_t unknown = stream_.unknown_count();
    while (tag == "if" || tag == "elif") {
      Statement::Branch branch;
      stream_.next();
      GENESIS_TRY(branch.condition, expressions_.tuple(false));
      GENESIS_TRY(branch.body, inside({"elif", "else", "endif"}));
      choice.branches.push_back(std::move(branch));
      tag = stream_.current().text;
    }
    stream_.next();
    if (tag == "else") {
      GENESIS_TRY(choice.otherwise, inside_up_to("endif"));
    }
    stream_.forgive_unknown(unknown);
    return choice;
  }

  Result<Statement> set() {
    Statement assignment = make(Kind::kSet);
    stream_.next();
    GENESIS_TRY(assignment.target, expressions_.target(true));
    if (stream_.skip_operator("=")) {
      GENESIS_TRY(assignment.expression, expressions_.tuple(true));
      return assignment;
    }
    assignment.kind = Kind::kSetBlock;
    GENESIS_TRY(assignment.expression, expressions_.block_filters(false));
    GENESIS_TRY(assignment.body, scoped_up_to("endset"));
    return assignment;
  }

  // A body that break and continue cannot leave.
  Result<Body> scoped_up_to(std::string_view end) {
    const std::size_t loops = std::exchange(loops_, 0);
    const std::size_t unknown = stream_.unknown_count();
    GENESIS_TRY(Body out, inside_up_to(end));
    GENESIS_TRY_VOID(stream_.refuse_unknown(unknown));
    loops_ = loops;
    return out;
  }

  Result<Signature> signature() {
    Signature out;
    GENESIS_TRY_VOID(stream_.expect_operator("("));
    while (!stream_.current().is_operator(")")) {
      GENESIS_TRY(const std::string name, stream_.expect_name());
      out.parameters.push_back(stream_.intern(name));
      if (stream_.skip_operator("=")) {
        GENESIS_TRY(ExpressionPtr value, expressions_.expression());
        out.defaults.push_back(std::move(value));
      } else if (!out.defaults.empty()) {
        return stream_.error("a parameter without default after one with");
      }
      if (!stream_.skip_operator(",")) {
        break;
      }
    }
    GENESIS_TRY_VOID(stream_.expect_operator(")"));
    return out;
  }

  // The body of a macro, with note taken of the special names it uses.
  Result<void> macro_body(Statement& macro, std::string_view end) {
    const ExpressionParser::SpecialNames before = expressions_.special_names();
    GENESIS_TRY(macro.body, scoped_up_to(end));
    const ExpressionParser::SpecialNames& after = expressions_.special_names();
    macro.signature.uses_caller = after.caller > before.caller;
    macro.signature.uses_kwargs = after.kwargs > before.kwargs;
    macro.signature.uses_varargs = after.varargs > before.varargs;
    return {};
  }

  Result<Statement> macro() {
    Statement out = make(Kind::kMacro);
    stream_.next();
    GENESIS_TRY(out.text, stream_.expect_name());
    out.name = stream_.intern(out.text);
    GENESIS_TRY(out.signature, signature());
    GENESIS_TRY_VOID(macro_body(out, "endmacro"));
    return out;
  }

  Result<Statement> call_block() {
    Statement out = make(Kind::kCallBlock);
    stream_.next();
    if (stream_.current().is_operator("(")) {
      GENESIS_TRY(out.signature, signature());
    }
    GENESIS_TRY(out.expression, expressions_.expression());
    if (out.expression->kind != Expression::Kind::kCall) {
      return stream_.error("a call block needs a call");
    }
    GENESIS_TRY_VOID(macro_body(out, "endcall"));
    return out;
  }

  Result<Statement> filter_block() {
    Statement out = make(Kind::kFilterBlock);
    stream_.next();
    GENESIS_TRY(out.expression, expressions_.block_filters(true));
    GENESIS_TRY(out.body, scoped_up_to("endfilter"));
    return out;
  }

  Result<Statement> with() {
    Statement out = make(Kind::kWith);
    stream_.next();
    while (stream_.current().kind != Token::Kind::kBlockEnd) {
      if (!out.bindings.empty()) {
        GENESIS_TRY_VOID(stream_.expect_operator(","));
      }
      // A comma separates bindings, so a target is one name or a bracketed tuple.
      ExpressionPtr target;
      if (stream_.skip_operator("(")) {
        GENESIS_TRY(target, expressions_.target(false));
        GENESIS_TRY_VOID(stream_.expect_operator(")"));
      } else {
        target = std::make_unique<Expression>();
        target->kind = Expression::Kind::kName;
        target->line = stream_.line();
        GENESIS_TRY(const std::string name, stream_.expect_name());
        target->name = stream_.intern(name);
      }
      GENESIS_TRY_VOID(stream_.expect_operator("="));
      GENESIS_TRY(ExpressionPtr value, expressions_.expression());
      out.bindings.emplace_back(std::move(target), std::move(value));
    }
    const std::size_t unknown = stream_.unknown_count();
    GENESIS_TRY(out.body, inside_up_to("endwith"));
    GENESIS_TRY_VOID(stream_.refuse_unknown(unknown));
    return out;
  }

  Result<Statement> generation() {
    Statement out = make(Kind::kGeneration);
    stream_.next();
    GENESIS_TRY(out.body, scoped_up_to("endgeneration"));
    return out;
  }

  Result<Statement> loop_control() {
    if (loops_ == 0) {
      return stream_.error(fmt::format("'{}' outside of a loop", stream_.current().text));
    }
    Statement out = make(stream_.current().text == "break" ? Kind::kBreak : Kind::kContinue);
    stream_.next();
    return out;
  }

  TokenStream& stream_;
  ExpressionParser expressions_;
  std::size_t loops_ = 0;  // that break would leave
};

}  // namespace

std::optional<NameId> Template::find_name(std::string_view name) const {
  const auto found = std::ranges::find(names, name);
  return found == names.end() ? std::nullopt
                              : std::optional(static_cast<NameId>(found - names.begin()));
}

Result<std::unique_ptr<const Template>> parse_template(std::string_view source,
                                                       ParseLimits limits) {
  if (source.size() > kMaxSource) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("a template of {} bytes; at most {}", source.size(), kMaxSource));
  }
  GENESIS_TRY(std::vector<Token> tokens, tokenize(source));
  TokenStream stream(std::move(tokens), limits);
  auto out = std::make_unique<Template>();
  GENESIS_TRY(out->body, Parser(stream).body({}));
  GENESIS_TRY_VOID(stream.refuse_unknown(0));
  out->names = stream.take_names();
  return out;
}

}  // namespace genesis::text::jinja
