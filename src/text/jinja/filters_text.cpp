// Filters that make text.
#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/format.h"
#include "text/jinja/print.h"
#include "text/jinja/text_edit.h"
#include "text/unicode.h"

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

template <Casing casing>
Result<Value> change_case(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("a change of case", arguments, {}));
  GENESIS_TRY(const Text text, to_str(context, input));
  return context.text(with_case(text, casing));
}

// Unlike str.title(): a new word begins only after - ( { [ < and white space.
Result<Value> title(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("title", arguments, {}));
  GENESIS_TRY(const Text text, to_str(context, input));
  TextBuilder out;
  const std::string_view bytes = text.bytes;
  const auto separates = [&](std::size_t at) {
    return std::string_view("-({[<").contains(bytes[at]) ||
           is_python_space(decode_valid(bytes, at).value);
  };
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t end = at;
    const bool separator = separates(at);
    while (end < bytes.size() && separates(end) == separator) {
      end += decode_valid(bytes, end).bytes;
    }
    const std::size_t first = separator ? end : at + decode_valid(bytes, at).bytes;
    out.add(with_case(part_of(text, at, first), Casing::kUpper));
    out.add(with_case(part_of(text, first, end), Casing::kLower));
    at = end;
  }
  return context.text(out.take());
}

Result<Value> trim(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("trim", arguments, {"chars"}));
  GENESIS_TRY(const Text text, to_str(context, input));
  return strip_text(context, text, StripSide::kBoth, args[0]);
}

Result<Value> string(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("string", arguments, {}));
  GENESIS_TRY(Text text, to_str(context, input));
  return context.text(std::move(text));
}

Result<Value> replace(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("replace", arguments, {"old", "new", "count"}));
  if (!args[0] || !args[1]) {
    return template_error("replace needs what to replace and by what");
  }
  GENESIS_TRY(Text text, to_str(context, input));
  text.markup = false;
  GENESIS_TRY(const Text old_part, to_str(context, *args[0]));
  GENESIS_TRY(const Text new_part, to_str(context, *args[1]));
  const bool limited = args[2] && !args[2]->is<None>();
  GENESIS_TRY(const Int most, need_int(limited ? *args[2] : Value::integer(-1), "count"));
  return replace_text(context, text, old_part, new_part, most);
}

Result<Value> escape(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("escape", arguments, {}));
  if (const Text* text = input.as_text(); text != nullptr && text->markup) {
    return input;
  }
  GENESIS_TRY(const Text text, to_str(context, input));
  GENESIS_TRY(Text escaped, escaped_text(context, text));
  return context.text(std::move(escaped));
}

Result<Value> safe(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("safe", arguments, {}));
  GENESIS_TRY(Text text, to_str(context, input));
  text.markup = true;
  return context.text(std::move(text));
}

Result<Value> indent(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("indent", arguments, {"width", "first", "blank"}));
  GENESIS_TRY(const TextRef text, need_text(input, "the input of indent"));
  std::string margin(4, ' ');
  if (args[0] && args[0]->as_text() != nullptr) {
    margin = args[0]->as_text()->bytes;
  } else if (args[0]) {
    constexpr Int kMostIndent = 1000;
    GENESIS_TRY(const Int width, need_int(*args[0], "width"));
    margin.assign(static_cast<std::size_t>(std::clamp<Int>(width, 0, kMostIndent)), ' ');
  }
  const bool first = args[1] && truthy(*args[1]);
  const bool blank = args[2] && truthy(*args[2]);
  // jinja2 appends a newline first, so that a text ending in one keeps its last empty line.
  TextBuilder with_end;
  with_end.add(*text);
  with_end.add("\n");
  const Text whole = with_end.take();
  TextBuilder out;
  const std::vector<PlainSpan> lines = lines_of(whole.bytes, context.steps_left());
  GENESIS_TRY_VOID(context.spend(lines.size()));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool is_blank = lines[i].begin == lines[i].end;
    out.add(i == 0 ? "" : "\n");
    if (i == 0 ? first : (blank || !is_blank)) {
      out.add(margin);
    }
    out.add_part(whole, lines[i].begin, lines[i].end);
    if (out.size() > context.limits().output_bytes) {
      return context.too_long();
    }
  }
  Text made = out.take();
  made.markup = text->markup;
  return context.text(std::move(made));
}

Result<Value> join(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("join", arguments, {"d", "attribute"}));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  GENESIS_TRY(Text separator, to_str(context, args[0].value_or(Value::text(std::string_view()))));
  separator.markup = false;
  std::vector<TextRef> parts;
  for (Value part : items) {
    if (args[1] && !args[1]->is<None>()) {
      GENESIS_TRY(part, attribute_path(context, part, *args[1]));
    }
    if (const TextRef* text = part.get<TextRef>()) {
      parts.push_back(*text);
      continue;
    }
    GENESIS_TRY(Text text, to_str(context, part));
    parts.push_back(std::make_shared<const Text>(std::move(text)));
  }
  return join_texts(context, separator, parts);
}

Result<Value> format(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const Text pattern, to_str(context, input));
  if (arguments.named.empty()) {
    GENESIS_TRY(const Value values, context.list(std::move(arguments.positional), true));
    return percent_format(context, pattern, values);
  }
  if (!arguments.positional.empty()) {
    return template_error("format takes positional or named arguments, not both");
  }
  DictBuilder named;
  for (auto& [name, value] : arguments.named) {
    named.set(Value::text(std::string_view(name)), std::move(value));
  }
  GENESIS_TRY(const Value values, context.dict(std::move(named)));
  return percent_format(context, pattern, values);
}

Result<Value> center(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("center", arguments, {"width"}));
  GENESIS_TRY(const Text text, to_str(context, input));
  GENESIS_TRY(const Int width, need_int(args[0].value_or(Value::integer(80)), "width"));
  const auto length = static_cast<Int>(length_in_characters(text.bytes));
  if (width > static_cast<Int>(context.limits().output_bytes)) {
    return context.too_long();
  }
  const Int margin = std::max<Int>(width - length, 0);
  // str.center puts the odd space on the left when the width is odd.
  const Int left = margin / 2 + (margin & width & 1);
  TextBuilder out;
  out.add(std::string(static_cast<std::size_t>(left), ' '));
  out.add(text);
  out.add(std::string(static_cast<std::size_t>(margin - left), ' '));
  Text made = out.take();
  made.markup = text.markup;
  return context.text(std::move(made));
}

constexpr auto kFilters = std::to_array<Filter>({
    {"capitalize", change_case<Casing::kCapitalize>},
    {"center", center},
    {"e", escape},
    {"escape", escape},
    {"format", format},
    {"indent", indent},
    {"join", join},
    {"lower", change_case<Casing::kLower>},
    {"replace", replace},
    {"safe", safe},
    {"string", string},
    {"title", title},
    {"trim", trim},
    {"upper", change_case<Casing::kUpper>},
});

}  // namespace

const Filter* find_text_filter(std::string_view name) {
  const auto found = std::ranges::find(kFilters, name, &Filter::name);
  return found == kFilters.end() ? nullptr : &*found;
}

}  // namespace genesis::text::jinja
