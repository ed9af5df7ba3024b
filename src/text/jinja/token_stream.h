// The parser's view of the tokens, and what both halves of the parser share.
#pragma once

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"
#include "text/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace genesis::text::jinja {

class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, ParseLimits limits)
      : tokens_(std::move(tokens)), limits_(limits) {}

  const Token& current() const { return tokens_[at_]; }

  const Token& look_ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }

  std::uint32_t line() const { return current().line; }

  const Token& next() {
    const Token& token = tokens_[at_];
    at_ += at_ + 1 < tokens_.size() ? 1U : 0U;
    return token;
  }

  bool skip_name(std::string_view name) {
    const bool found = current().is_name(name);
    if (found) {
      next();
    }
    return found;
  }

  bool skip_operator(std::string_view op) {
    const bool found = current().is_operator(op);
    if (found) {
      next();
    }
    return found;
  }

  Result<void> expect_operator(std::string_view op) {
    return skip_operator(op) ? Result<void>() : unexpected_token(fmt::format("'{}'", op));
  }

  Result<std::string> expect_name() {
    if (current().kind != Token::Kind::kName) {
      return unexpected_token("a name");
    }
    return next().text;
  }

  Result<void> expect(Token::Kind kind, std::string_view what) {
    if (current().kind != kind) {
      return unexpected_token(what);
    }
    next();
    return {};
  }

  std::unexpected<Error> unexpected_token(std::string_view wanted) const {
    const Token& token = current();
    const bool has_text = !token.text.empty() && token.kind != Token::Kind::kData;
    return error(fmt::format("expected {}, found {}",
                             wanted,
                             has_text ? fmt::format("'{}'", token.text.substr(0, 40))
                                      : std::string("the end of the tag or template")));
  }

  std::unexpected<Error> error(std::string_view what,
                               ErrorCode code = ErrorCode::kInvalidArgument) const {
    return fail(code, fmt::format("template line {}: {}", line(), what));
  }

  NameId intern(const std::string& name) {
    const auto [found, added] = ids_.try_emplace(name, static_cast<NameId>(names_.size()));
    if (added) {
      names_.push_back(name);
    }
    return found->second;
  }

  // Filters and tests that do not exist. As in jinja2 they fail where they run if they stand in a
  // branch that may not be taken, and otherwise when the template is parsed.
  void note_unknown(std::string_view what) {
    unknown_.push_back(error(what, ErrorCode::kUnsupported).error());
  }

  std::size_t unknown_count() const { return unknown_.size(); }

  void forgive_unknown(std::size_t from) { unknown_.resize(from); }

  Result<void> refuse_unknown(std::size_t from) const {
    return unknown_.size() > from ? std::unexpected(unknown_[from]) : Result<void>();
  }

  std::vector<std::string> take_names() { return std::move(names_); }

  const ParseLimits& limits() const { return limits_; }

  // Counts nesting for as long as it lives.
  class Nested {
   public:
    explicit Nested(TokenStream& stream) : stream_(stream) { ++stream_.depth_; }

    ~Nested() { --stream_.depth_; }

    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

    Result<void> check() const {
      return stream_.depth_ <= stream_.limits_.depth
                 ? Result<void>()
                 : stream_.error(fmt::format("nested more than {} deep", stream_.limits_.depth));
    }

   private:
    TokenStream& stream_;
  };

 private:
  std::vector<Token> tokens_;
  ParseLimits limits_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::vector<std::string> names_;
  std::unordered_map<std::string, NameId> ids_;
  std::vector<Error> unknown_;
};

}  // namespace genesis::text::jinja
