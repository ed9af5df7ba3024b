// The filters of jinja2, with tojson as transformers defines it.
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"

#include <string_view>

namespace genesis::text::jinja {

struct Filter {
  std::string_view name;
  Result<Value> (*run)(Context&, const Value& input, Arguments&);
};

// nullptr for a name that is no filter of ours.
const Filter* find_filter(std::string_view name);

// The filters by subject; find_filter() looks through all.
const Filter* find_text_filter(std::string_view name);
const Filter* find_list_filter(std::string_view name);
const Filter* find_selection_filter(std::string_view name);

}  // namespace genesis::text::jinja
