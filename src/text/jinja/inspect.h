// Questions about a parsed template that need no rendering.
#pragma once

#include "text/jinja/ast.h"

#include <string_view>

namespace genesis::text::jinja {

// Whether a string literal or a run of text contains `literal`.
bool mentions(const Template& program, std::string_view literal);

// Whether the template reads a variable of that name; assigning to it does not count.
bool reads_variable(const Template& program, std::string_view name);

// Whether it marks what the model generates.
bool has_generation_blocks(const Template& program);

}  // namespace genesis::text::jinja
