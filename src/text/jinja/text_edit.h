// Edits of text that methods, filters and operators share.
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"

#include <optional>
#include <vector>

namespace genesis::text::jinja {

Result<Value> replace_text(
    Context& context, const Text& text, const Text& old_part, const Text& new_part, Int most);
// As HTML: & < > ' " become entities; the rest stays where it came from.
Result<Text> escaped_text(Context& context, const Text& text);
Result<Value> join_texts(Context& context,
                         const Text& separator,
                         const std::vector<TextRef>& parts);
Result<Value> strip_text(Context& context,
                         const Text& text,
                         StripSide side,
                         const std::optional<Value>& chars);

}  // namespace genesis::text::jinja
