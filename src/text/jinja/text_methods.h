// The methods of Python's str that templates use.
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"

#include <string_view>

namespace genesis::text::jinja {

using TextMethod = Result<Value> (*)(Context&, const Value& self, Arguments&);

// nullptr if there is none of that name.
TextMethod find_text_method(std::string_view name);

// Shared with the filters of the same name.
Result<Value> replace_text(
    Context& context, const Text& text, const Text& old_part, const Text& new_part, Int most);
// As HTML: & < > ' " become entities; the rest stays where it came from.
Result<Text> escaped_text(Context& context, const Text& text);
Result<Value> join_texts(Context& context, const Text& separator, const std::vector<Text>& parts);
Result<Value> strip_text(Context& context,
                         const Text& text,
                         StripSide side,
                         const std::optional<Value>& chars);

}  // namespace genesis::text::jinja
