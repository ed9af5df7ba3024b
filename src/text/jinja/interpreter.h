// Runs a parsed template: a walk over the tree with lexical scopes, all paid for from one Context.
#pragma once

#include "base/result.h"
#include "text/jinja/ast.h"
#include "text/jinja/context.h"

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::text::jinja {

// Variables of one block. Inner scopes see outer ones; assignments stay in the innermost.
struct Scope {
  std::shared_ptr<Scope> outer;
  std::vector<std::pair<NameId, Value>> variables;

  struct Found {
    const Value* value = nullptr;
    std::size_t passed = 0;  // variables looked at
  };

  Found find(NameId name) const;
  void set(NameId name, Value value);
};

class Interpreter final : public Context {
 public:
  Interpreter(const Template& program, const TemplateLimits& limits);
  ~Interpreter() override;

  // Gives the template a variable; names it never mentions are ignored.
  void define(std::string_view name, Value value);

  Result<Text> run();

  Result<Value> call_macro(const Callable& macro, Arguments arguments) override;

 private:
  enum class Flow { kNext, kBreak, kContinue };

  using ScopePtr = std::shared_ptr<Scope>;

  // Statements.
  Result<Flow> execute(const Body& body, TextBuilder& out);
  Result<Flow> execute(const Statement& statement, TextBuilder& out);
  Result<Flow> dispatch(const Statement& statement, TextBuilder& out);
  Result<Flow> choose(const Statement& choice, TextBuilder& out);
  Result<Flow> loop(const Statement& loop, TextBuilder& out);
  Result<bool> next_item(const Statement& statement,
                         const std::vector<Value>& source,
                         std::size_t& at,
                         Loop& loop);
  Result<Flow> with(const Statement& statement, TextBuilder& out);
  Result<void> set_block(const Statement& statement);
  Result<void> output(const Value& value, TextBuilder& out);
  Result<void> call_block(const Statement& statement, TextBuilder& out);
  Result<Text> captured(const Body& body);
  Result<void> assign(const Expression& target, const Value& value);
  Result<void> assign_parts(const Expression& target, const Value& value);
  Value macro_value(const Statement& macro, std::string_view name);
  Result<void> bind_parameters(const Callable& macro, Arguments& arguments);
  Result<void> generation(const Statement& statement, TextBuilder& out);
  Result<void> add_output(TextBuilder& out, const Text& text);

  // Expressions.
  Result<Value> evaluate(const Expression& expression);
  Result<Value> dispatch(const Expression& expression);
  Result<Value> name(const Expression& expression);
  Result<Value> sequence(const Expression& expression);
  Result<Value> dict(const Expression& expression);
  Result<Value> logical(const Expression& expression);
  Result<Value> comparison(const Expression& expression);
  Result<Value> arithmetic_chain(const Expression& expression);
  Result<Value> concat(const Expression& expression);
  Result<Value> sliced(const Expression& expression);
  Result<Value> condition(const Expression& expression);
  Result<Value> call(const Expression& expression, Value caller);
  Result<Value> filter(const Expression& expression, const Value& input);
  Result<Value> filtered(const Expression& expression, const Value& innermost);
  Result<Value> test(const Expression& expression);
  Result<Arguments> arguments(const CallArguments& source);
  Result<Value> call_value(const Value& callee, Arguments arguments);

  // Notes where the first error came from.
  std::unexpected<Error> located(Error error, std::uint32_t line);

  // A scope that lives as long as this object.
  class InScope {
   public:
    InScope(Interpreter& interpreter, ScopePtr outer);
    ~InScope();
    InScope(const InScope&) = delete;
    InScope& operator=(const InScope&) = delete;

   private:
    Interpreter& interpreter_;
    ScopePtr before_;
  };

  const Template& program_;
  ScopePtr globals_;
  ScopePtr scope_;
  std::optional<NameId> loop_name_;
  std::optional<NameId> caller_name_;
  std::optional<NameId> kwargs_name_;
  std::optional<NameId> varargs_name_;
  std::size_t loop_depth_ = 0;
  bool located_ = false;
};

}  // namespace genesis::text::jinja
