// Values as text: Python's str() and repr(), and json.dumps().
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"
#include "text/jinja/value.h"

#include <string>

namespace genesis::text::jinja {

Result<Text> to_str(Context& context, const Value& value);
Result<Text> to_repr(Context& context, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // what one level is indented by
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

Result<Text> to_json(Context& context, const Value& value, const JsonStyle& style);

}  // namespace genesis::text::jinja
