// What can be called in a template, and the state of a running loop.
#pragma once

#include "base/result.h"
#include "text/jinja/value.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace genesis::text::jinja {

struct Statement;
class Context;
struct Scope;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // Takes a named argument out.
  bool take(std::string_view name, Value& into);
};

struct Callable {
  enum class Kind {
    kFunction,  // a global such as range
    kMethod,    // of `self`, e.g. "x".strip
    kMacro,     // macro, or the body of a call block
    kJoiner,    // what joiner() gives: `self` is a namespace with its state
  };

  Kind kind = Kind::kFunction;
  std::string name;
  Value self;
  const Statement* macro = nullptr;
  // Where a macro was defined. Weak, as the scope holds the macro; once it is gone, the macro sees
  // the outermost scope.
  std::weak_ptr<Scope> scope;
};

inline Value make_callable(Callable callable) {
  return Value(Value::Data(std::make_shared<const Callable>(std::move(callable))));
}

// The `loop` variable.
struct Loop {
  std::vector<Value> items;  // those reached so far; all of them unless the loop has a condition
  std::size_t index = 0;     // from 0
  std::size_t depth = 0;     // from 0
  Value changed;
  // Fetches one more item into `items`; false at the end. Empty when all are there.
  std::function<Result<bool>()> pull;
  bool running = true;
};

}  // namespace genesis::text::jinja
