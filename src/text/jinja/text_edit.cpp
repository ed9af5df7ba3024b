#include "text/jinja/text_edit.h"

#include "text/unicode.h"

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

Result<Value> replace_text(
    Context& context, const Text& text, const Text& old_part, const Text& new_part, Int most) {
  const std::string_view bytes = text.bytes;
  GENESIS_TRY_VOID(context.spend(1 + bytes.size() / 64));
  TextBuilder out;
  std::size_t copied = 0;
  std::size_t at = 0;
  const bool between =
      old_part.bytes.empty();  // then it matches before each character and at the end
  for (; most != 0 && at <= bytes.size(); most -= most > 0 ? 1 : 0) {
    const std::size_t found = between ? at : find_in(bytes, old_part.bytes, at);
    if (found == std::string_view::npos) {
      break;
    }
    GENESIS_TRY_VOID(context.spend(1 + new_part.marks.size()));
    out.add_part(text, copied, found);
    out.add(new_part);
    copied = found + old_part.bytes.size();
    at = copied;
    if (between) {
      at += at < bytes.size() ? decode_valid(bytes, at).bytes : 1;
    }
    if (out.size() > context.limits().output_bytes) {
      return context.too_long();
    }
  }
  out.add_part(text, std::min(copied, bytes.size()), bytes.size());
  Text made = out.take();
  made.markup = text.markup;
  return context.text(std::move(made));
}

Result<Text> escaped_text(Context& context, const Text& text) {
  constexpr auto kEntities = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"&", "&amp;"}, {">", "&gt;"}, {"<", "&lt;"}, {"'", "&#39;"}, {"\"", "&#34;"}});
  Text out = text;
  for (const auto& [plain, entity] : kEntities) {
    GENESIS_TRY(const Value next,
                replace_text(context, out, own_text(plain), own_text(entity), -1));
    out = *next.as_text();
  }
  out.markup = true;
  return out;
}

Result<Value> join_texts(Context& context,
                         const Text& separator,
                         const std::vector<TextRef>& parts) {
  TextBuilder out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) {
      out.add(separator);
    }
    out.add(*parts[i]);
    GENESIS_TRY_VOID(context.spend(1 + separator.marks.size()));
    if (out.size() > context.limits().output_bytes) {
      return context.too_long();
    }
  }
  Text made = out.take();
  made.markup = separator.markup;
  return context.text(std::move(made));
}

Result<Value> strip_text(Context& context,
                         const Text& text,
                         StripSide side,
                         const std::optional<Value>& chars) {
  std::string_view set;
  const bool given = chars && !chars->is<None>();
  TextRef kept;
  if (given) {
    GENESIS_TRY(kept, need_text(*chars, "the characters to strip"));
    set = kept->bytes;
    GENESIS_TRY_VOID(context.spend(set.size()));
  }
  const PlainSpan left = stripped(text.bytes, side, given ? &set : nullptr);
  return context.text(part_of(text, left.begin, left.end));
}

}  // namespace genesis::text::jinja
