// The tests of jinja2: what may follow `is`.
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"

#include <string_view>

namespace genesis::text::jinja {

struct Test {
  std::string_view name;
  Result<bool> (*run)(Context&, const Value& input, Arguments&);
};

// nullptr for a name that is no test of ours.
const Test* find_test(std::string_view name);

}  // namespace genesis::text::jinja
