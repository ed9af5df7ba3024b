// Macros and call blocks.
#include "text/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text::jinja {

Value Interpreter::macro_value(const Statement& macro, std::string_view name) {
  return make_callable({.kind = Callable::Kind::kMacro,
                        .name = std::string(name),
                        .macro = &macro,
                        .scope = scope_});
}

Result<void> Interpreter::call_block(const Statement& statement, TextBuilder& out) {
  GENESIS_TRY(const Value value, call(*statement.expression, macro_value(statement, "caller")));
  return output(value, out);
}

Result<Value> Interpreter::call_macro(const Callable& macro, Arguments arguments) {
  const Nested nested(*this);
  GENESIS_TRY_VOID(nested.check());
  ScopePtr outer = macro.scope.lock();
  const InScope inner(*this, outer ? std::move(outer) : globals_);
  GENESIS_TRY_VOID(bind_parameters(macro, arguments));
  TextBuilder out;
  GENESIS_TRY_VOID(execute(macro.macro->body, out));
  return Context::text(out.take());
}

// Sets the macro's parameters in the current scope: given ones, defaults, then the special names.
Result<void> Interpreter::bind_parameters(const Callable& macro, Arguments& arguments) {
  const Signature& signature = macro.macro->signature;
  const std::size_t count = signature.parameters.size();
  const std::size_t first_default = count - signature.defaults.size();
  for (std::size_t i = 0; i < count; ++i) {
    const NameId parameter = signature.parameters[i];
    const std::string& name = program_.names[parameter];
    Value value;
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else if (!arguments.take(name, value)) {
      if (i < first_default) {
        value = Value::undefined(fmt::format("parameter '{}' was not provided", name));
      } else {
        GENESIS_TRY(value, evaluate(*signature.defaults[i - first_default]));
      }
    }
    scope_->set(parameter, std::move(value));
  }
  if (signature.uses_caller && caller_name_) {
    Value caller = Value::undefined("No caller defined");
    arguments.take("caller", caller);
    if (scope_->variables.end() ==
        std::ranges::find(scope_->variables, *caller_name_, &std::pair<NameId, Value>::first)) {
      scope_->set(*caller_name_, std::move(caller));
    }
  }
  if (signature.uses_kwargs && kwargs_name_) {
    DictBuilder named;
    for (auto& [name, value] : arguments.named) {
      named.set(Value::text(std::string_view(name)), std::move(value));
    }
    arguments.named.clear();
    GENESIS_TRY(Value value, Context::dict(std::move(named)));
    scope_->set(*kwargs_name_, std::move(value));
  }
  if (!arguments.named.empty()) {
    return template_error(fmt::format(
        "macro '{}' takes no keyword argument '{}'", macro.name, arguments.named.front().first));
  }
  if (signature.uses_varargs && varargs_name_) {
    const auto skip = static_cast<std::ptrdiff_t>(std::min(count, arguments.positional.size()));
    GENESIS_TRY(Value rest,
                list({arguments.positional.begin() + skip, arguments.positional.end()}, true));
    scope_->set(*varargs_name_, std::move(rest));
  } else if (arguments.positional.size() > count) {
    return template_error(
        fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, count));
  }
  return {};
}

}  // namespace genesis::text::jinja
