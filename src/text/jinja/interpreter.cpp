// Statements.
#include "text/jinja/interpreter.h"

#include "text/jinja/access.h"
#include "text/jinja/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text::jinja {

Scope::Found Scope::find(NameId name) const {
  Found out;
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer.get()) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) {
        out.value = &value;
        return out;
      }
      ++out.passed;
    }
  }
  return out;
}

void Scope::set(NameId name, Value value) {
  for (auto& [known, old] : variables) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

Interpreter::InScope::InScope(Interpreter& interpreter, ScopePtr outer)
    : interpreter_(interpreter), before_(interpreter.scope_) {
  interpreter_.scope_ = std::make_shared<Scope>(Scope{std::move(outer), {}});
}

Interpreter::InScope::~InScope() {
  interpreter_.scope_ = std::move(before_);
}

Interpreter::Interpreter(const Template& program, const TemplateLimits& limits)
    : Context(limits),
      program_(program),
      globals_(std::make_shared<Scope>()),
      scope_(globals_),
      loop_name_(program.find_name("loop")),
      caller_name_(program.find_name("caller")),
      kwargs_name_(program.find_name("kwargs")),
      varargs_name_(program.find_name("varargs")) {}

Interpreter::~Interpreter() {
  // Values in the scopes may hold namespaces; those are emptied by Context after this.
  globals_->variables.clear();
}

void Interpreter::define(std::string_view name, Value value) {
  if (const auto id = program_.find_name(name)) {
    globals_->set(*id, std::move(value));
  }
}

std::unexpected<Error> Interpreter::located(Error error, std::uint32_t line) {
  if (!located_) {
    located_ = true;
    // What the template does not take is a fault of the messages it was given.
    const bool about_messages = error.code == ErrorCode::kInvalidArgument && error.param.empty();
    const bool known = about_messages && last_message() != kNoMessage;
    if (about_messages) {
      error.param = known ? fmt::format("messages[{}]", last_message()) : "messages";
    }
    if (!was_raised()) {
      const std::string where = known ? fmt::format(" (while reading {})", error.param) : "";
      error.message = fmt::format("chat template line {}: {}{}", line, error.message, where);
    }
  }
  return std::unexpected(std::move(error));
}

Result<Text> Interpreter::run() {
  // Assignments at the top level must not change what was defined, only hide it.
  const InScope top(*this, globals_);
  TextBuilder out;
  GENESIS_TRY_VOID(execute(program_.body, out));
  return out.take();
}

Result<Interpreter::Flow> Interpreter::execute(const Body& body, TextBuilder& out) {
  for (const Statement& statement : body) {
    GENESIS_TRY(const Flow flow, execute(statement, out));
    if (flow != Flow::kNext) {
      return flow;
    }
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::execute(const Statement& statement, TextBuilder& out) {
  const Nested nested(*this);
  Result<void> paid = nested.check();
  if (paid) {
    paid = spend(1);
  }
  if (!paid) {
    return located(std::move(paid).error(), statement.line);
  }
  Result<Flow> flow = dispatch(statement, out);
  return flow ? std::move(flow) : located(std::move(flow).error(), statement.line);
}

Result<Interpreter::Flow> Interpreter::dispatch(const Statement& statement, TextBuilder& out) {
  using Kind = Statement::Kind;
  switch (statement.kind) {
    case Kind::kText:
      GENESIS_TRY_VOID(add_output(out, own_text(statement.text)));
      return Flow::kNext;
    case Kind::kOutput: {
      GENESIS_TRY(const Value value, evaluate(*statement.expression));
      GENESIS_TRY_VOID(output(value, out));
      return Flow::kNext;
    }
    case Kind::kFor:
      return loop(statement, out);
    case Kind::kIf:
      return choose(statement, out);
    case Kind::kSet: {
      GENESIS_TRY(const Value value, evaluate(*statement.expression));
      GENESIS_TRY_VOID(assign(*statement.target, value));
      return Flow::kNext;
    }
    case Kind::kSetBlock:
      GENESIS_TRY_VOID(set_block(statement));
      return Flow::kNext;
    case Kind::kMacro:
      scope_->set(statement.name, macro_value(statement, statement.text));
      return Flow::kNext;
    case Kind::kCallBlock:
      GENESIS_TRY_VOID(call_block(statement, out));
      return Flow::kNext;
    case Kind::kFilterBlock: {
      GENESIS_TRY(Text text, captured(statement.body));
      GENESIS_TRY(const Value value, filtered(*statement.expression, Value::text(std::move(text))));
      GENESIS_TRY_VOID(output(value, out));
      return Flow::kNext;
    }
    case Kind::kWith:
      return with(statement, out);
    case Kind::kGeneration:
      GENESIS_TRY_VOID(generation(statement, out));
      return Flow::kNext;
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

// The parser sees to it that break and continue do not leave the block.
Result<void> Interpreter::generation(const Statement& statement, TextBuilder& out) {
  GENESIS_TRY(const Text text, captured(statement.body));
  return add_output(out, as_generated(text));
}

Result<void> Interpreter::add_output(TextBuilder& out, const Text& text) {
  GENESIS_TRY_VOID(spend_for_text(text));
  if (out.size() + text.bytes.size() > limits().output_bytes) {
    return fail(
        ErrorCode::kResourceExhausted,
        fmt::format("the chat template's output is longer than {} bytes", limits().output_bytes));
  }
  out.add(text);
  return {};
}

Result<void> Interpreter::output(const Value& value, TextBuilder& out) {
  if (const Text* text = value.as_text()) {
    return add_output(out, *text);
  }
  GENESIS_TRY(const Text text, to_str(*this, value));
  return add_output(out, text);
}

Result<Text> Interpreter::captured(const Body& body) {
  const InScope inner(*this, scope_);
  TextBuilder out;
  GENESIS_TRY_VOID(execute(body, out));
  return out.take();
}

Result<Interpreter::Flow> Interpreter::choose(const Statement& choice, TextBuilder& out) {
  for (const Statement::Branch& branch : choice.branches) {
    GENESIS_TRY(const Value condition, evaluate(*branch.condition));
    if (truthy(condition)) {
      return execute(branch.body, out);
    }
  }
  return execute(choice.otherwise, out);
}

// Moves the next member of `source` that meets the loop's condition into `loop`; false at the end.
Result<bool> Interpreter::next_item(const Statement& statement,
                                    const std::vector<Value>& source,
                                    std::size_t& at,
                                    Loop& loop) {
  while (at < source.size()) {
    const Value& candidate = source[at++];
    GENESIS_TRY_VOID(spend(1));
    GENESIS_TRY_VOID(assign(*statement.target, candidate));
    GENESIS_TRY(const Value condition, evaluate(*statement.condition));
    if (truthy(condition)) {
      loop.items.push_back(candidate);
      return true;
    }
  }
  return false;
}

Result<Interpreter::Flow> Interpreter::loop(const Statement& statement, TextBuilder& out) {
  GENESIS_TRY(const Value iterated, evaluate(*statement.expression));
  GENESIS_TRY(std::vector<Value> source, iterate(*this, iterated));
  const auto loop = std::make_shared<Loop>();
  loop->depth = loop_depth_;
  const ScopePtr outer = scope_;
  std::size_t at = 0;
  if (statement.condition) {
    // Conditions are asked one by one as the loop goes, since its body may change what they see.
    loop->pull = [&, outer]() -> Result<bool> {
      const InScope tested(*this, outer);
      return next_item(statement, source, at, *loop);
    };
  } else {
    loop->items = std::move(source);
  }
  // However the loop ends, it must not keep itself or this frame alive.
  const auto close = [&] {
    loop->running = false;
    loop->pull = nullptr;
    loop->changed = Value();
  };

  ++loop_depth_;
  Result<Flow> ended = Flow::kNext;
  for (;; ++loop->index) {
    if (loop->index >= loop->items.size()) {
      const Result<bool> more = loop->pull ? loop->pull() : Result<bool>(false);
      if (!more || !*more) {
        ended = more ? Result<Flow>(Flow::kNext) : std::unexpected(more.error());
        break;
      }
    }
    const InScope inner(*this, outer);
    if (loop_name_) {
      scope_->set(*loop_name_, Value(Value::Data(loop)));
    }
    const Value current = loop->items[loop->index];
    const Result<void> assigned = assign(*statement.target, current);
    ended = assigned ? execute(statement.body, out) : std::unexpected(assigned.error());
    if (!ended || *ended == Flow::kBreak) {
      break;
    }
  }
  --loop_depth_;
  close();
  if (!ended) {
    return ended;
  }
  if (loop->items.empty()) {
    const InScope inner(*this, outer);
    return execute(statement.otherwise, out);
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::with(const Statement& statement, TextBuilder& out) {
  std::vector<Value> values;
  for (const auto& [target, expression] : statement.bindings) {
    GENESIS_TRY(Value value, evaluate(*expression));
    values.push_back(std::move(value));
  }
  const InScope inner(*this, scope_);
  for (std::size_t i = 0; i < values.size(); ++i) {
    GENESIS_TRY_VOID(assign(*statement.bindings[i].first, values[i]));
  }
  return execute(statement.body, out);
}

Result<void> Interpreter::set_block(const Statement& statement) {
  GENESIS_TRY(Text text, captured(statement.body));
  GENESIS_TRY(Value value, Context::text(std::move(text)));
  if (statement.expression) {
    GENESIS_TRY(value, filtered(*statement.expression, value));
  }
  return assign(*statement.target, value);
}

Result<void> Interpreter::assign(const Expression& target, const Value& value) {
  if (target.kind == Expression::Kind::kName) {
    scope_->set(target.name, value);
    return {};
  }
  if (target.kind == Expression::Kind::kTuple) {
    return assign_parts(target, value);
  }
  const Value* const holder = scope_->find(target.name).value;
  const auto* space = holder != nullptr ? holder->get<std::shared_ptr<Namespace>>() : nullptr;
  if (space == nullptr) {
    return template_error("cannot assign attribute on non-namespace object");
  }
  if (Value* old = (*space)->find(target.text)) {
    *old = value;
  } else {
    GENESIS_TRY_VOID(spend(1 + (*space)->attributes.size()));
    (*space)->attributes.emplace_back(target.text, value);
  }
  return {};
}

Result<void> Interpreter::assign_parts(const Expression& target, const Value& value) {
  GENESIS_TRY(const std::vector<Value> parts, iterate(*this, value));
  if (parts.size() != target.parts.size()) {
    return template_error(
        fmt::format("{} values cannot be assigned to {} names", parts.size(), target.parts.size()));
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    GENESIS_TRY_VOID(assign(*target.parts[i], parts[i]));
  }
  return {};
}

}  // namespace genesis::text::jinja
