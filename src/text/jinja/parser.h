// Template text to syntax tree. The grammar is jinja2's, less what needs other files (include,
// import, extends, block) and recursive loops; what is left out is refused by name.
#pragma once

#include "base/result.h"
#include "text/jinja/ast.h"

#include <memory>
#include <string_view>

namespace genesis::text::jinja {

struct ParseLimits {
  std::size_t depth = 64;           // of nested statements and brackets
  std::uint32_t tree_height = 256;  // of one expression
};

Result<std::unique_ptr<const Template>> parse_template(std::string_view source, ParseLimits limits);

}  // namespace genesis::text::jinja
