#include "text/jinja/text_methods.h"

#include "text/jinja/access.h"
#include "text/jinja/format.h"
#include "text/jinja/text_edit.h"
#include "text/unicode.h"

#include <fmt/format.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

const Text& self_text(const Value& self) {
  return *self.as_text();
}

Result<Value> text_list(Context& context, const Text& text, const std::vector<PlainSpan>& parts) {
  constexpr std::uint64_t kStepsPerPart = 4;
  GENESIS_TRY_VOID(context.spend(parts.size() * kStepsPerPart + text.bytes.size() / 16));
  std::vector<Value> out;
  for (const PlainSpan& part : parts) {
    out.push_back(Value::text(part_of(text, part.begin, part.end)));
  }
  return context.list(std::move(out));
}

template <StripSide side>
Result<Value> strip(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("strip", arguments, {"chars"}));
  return strip_text(context, self_text(self), side, args[0]);
}

template <Casing casing>
Result<Value> change_case(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("case change", arguments, {}));
  return context.text(with_case(self_text(self), casing));
}

// Words between white space, at most `most` cuts (negative: no limit), from either end.
std::vector<PlainSpan> words_of(std::string_view text, Int most, bool from_right) {
  std::vector<PlainSpan> out;
  const StripSide outer = from_right ? StripSide::kRight : StripSide::kLeft;
  PlainSpan rest{0, text.size()};
  const auto trim = [&] {
    const PlainSpan left = stripped(text.substr(rest.begin, rest.end - rest.begin), outer, nullptr);
    rest = {rest.begin + left.begin, rest.begin + left.end};
  };
  const auto is_space = [&](std::size_t at) {
    return is_python_space(decode_valid(text, at).value);
  };
  for (trim(); rest.begin < rest.end; trim()) {
    if (most == 0) {
      out.push_back(rest);  // white space at its far end stays
      break;
    }
    std::size_t at = from_right ? rest.end : rest.begin;
    if (from_right) {
      while (at > rest.begin && !is_space(previous_start(text, at))) {
        at = previous_start(text, at);
      }
      out.push_back({at, rest.end});
      rest.end = at;
    } else {
      while (at < rest.end && !is_space(at)) {
        at += decode_valid(text, at).bytes;
      }
      out.push_back({rest.begin, at});
      rest.begin = at;
    }
    most -= most > 0 ? 1 : 0;
  }
  if (from_right) {
    std::ranges::reverse(out);
  }
  return out;
}

std::vector<PlainSpan> parts_between(std::string_view text,
                                     std::string_view separator,
                                     Int most,
                                     bool from_right) {
  std::vector<PlainSpan> out;
  PlainSpan rest{0, text.size()};
  while (most != 0) {
    const std::string_view view = text.substr(rest.begin, rest.end - rest.begin);
    const std::size_t found = from_right ? rfind_in(view, separator) : find_in(view, separator);
    if (found == std::string_view::npos) {
      break;
    }
    const std::size_t at = rest.begin + found;
    if (from_right) {
      out.push_back({at + separator.size(), rest.end});
      rest.end = at;
    } else {
      out.push_back({rest.begin, at});
      rest.begin = at + separator.size();
    }
    most -= most > 0 ? 1 : 0;
  }
  out.push_back(rest);
  if (from_right) {
    std::ranges::reverse(out);
  }
  return out;
}

template <bool from_right>
Result<Value> split(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("split", arguments, {"sep", "maxsplit"}));
  const Text& text = self_text(self);
  GENESIS_TRY(Int most, need_int(args[1].value_or(Value::integer(-1)), "maxsplit"));
  // More parts than that could not be paid for.
  const auto affordable = static_cast<Int>(context.steps_left());
  most = most < 0 ? affordable : std::min(most, affordable);
  GENESIS_TRY_VOID(context.spend(1 + text.bytes.size() / 16));
  if (!args[0] || args[0]->is<None>()) {
    return text_list(context, text, words_of(text.bytes, most, from_right));
  }
  GENESIS_TRY(const TextRef separator, need_text(*args[0], "sep"));
  if (separator->bytes.empty()) {
    return template_error("empty separator");
  }
  return text_list(context, text, parts_between(text.bytes, separator->bytes, most, from_right));
}

Result<Value> splitlines(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("splitlines", arguments, {}));
  const Text& text = self_text(self);
  return text_list(context, text, lines_of(text.bytes, context.steps_left()));
}

template <bool from_right>
Result<Value> partition(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("partition", arguments, {"sep"}));
  GENESIS_TRY(const TextRef separator, need_text(args[0].value_or(Value()), "sep"));
  if (separator->bytes.empty()) {
    return template_error("empty separator");
  }
  const Text& text = self_text(self);
  GENESIS_TRY_VOID(context.spend_for(self));
  const std::size_t at =
      from_right ? rfind_in(text.bytes, separator->bytes) : find_in(text.bytes, separator->bytes);
  const std::size_t size = text.bytes.size();
  if (at == std::string::npos) {
    const Value empty = Value::text(std::string_view());
    return from_right ? context.list({empty, empty, self}, true)
                      : context.list({self, empty, empty}, true);
  }
  const std::size_t after = at + separator->bytes.size();
  return context.list({Value::text(part_of(text, 0, at)),
                       Value::text(part_of(text, at, after)),
                       Value::text(part_of(text, after, size))},
                      true);
}

// startswith and endswith: one text or a tuple of them.
template <bool at_end>
Result<Value> has_affix(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("startswith", arguments, {"affix"}));
  std::vector<Value> choices{args[0].value_or(Value())};
  if (const List* list = choices.front().as_list(); list != nullptr && list->tuple) {
    choices = list->items;
  }
  GENESIS_TRY_VOID(context.spend(choices.size()));
  const std::string_view text = self_text(self).bytes;
  for (const Value& choice : choices) {
    GENESIS_TRY(const TextRef affix, need_text(choice, "the argument of startswith or endswith"));
    if (at_end ? text.ends_with(affix->bytes) : text.starts_with(affix->bytes)) {
      return Value::boolean(true);
    }
  }
  return Value::boolean(false);
}

template <bool at_end>
Result<Value> remove_affix(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("removeprefix", arguments, {"affix"}));
  GENESIS_TRY(const TextRef affix, need_text(args[0].value_or(Value()), "the affix"));
  const Text& text = self_text(self);
  const std::size_t size = text.bytes.size();
  const std::size_t gone = affix->bytes.size();
  if (at_end) {
    return text.bytes.ends_with(affix->bytes) ? context.text(part_of(text, 0, size - gone))
                                              : context.text(text);
  }
  return text.bytes.starts_with(affix->bytes) ? context.text(part_of(text, gone, size))
                                              : context.text(text);
}

// The part of the text that find() and count() look at, as byte offsets.
Result<PlainSpan> searched(const Text& text,
                           const std::optional<Value>& start,
                           const std::optional<Value>& end) {
  const auto size = static_cast<Int>(length_in_characters(text.bytes));
  const auto bound = [&](const std::optional<Value>& given, Int otherwise) -> Result<std::size_t> {
    Int at = otherwise;
    if (given && !given->is<None>()) {
      GENESIS_TRY(at, need_int(*given, "a bound"));
      at += at < 0 ? size : 0;
    }
    return static_cast<std::size_t>(std::clamp<Int>(at, 0, size));
  };
  GENESIS_TRY(const std::size_t from, bound(start, 0));
  GENESIS_TRY(const std::size_t to, bound(end, size));
  return PlainSpan{character_offset(text.bytes, from), character_offset(text.bytes, to)};
}

template <bool from_right, bool must_exist>
Result<Value> find(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("find", arguments, {"sub", "start", "end"}));
  GENESIS_TRY(const TextRef part, need_text(args[0].value_or(Value()), "sub"));
  const Text& text = self_text(self);
  GENESIS_TRY_VOID(context.spend_for(self));
  GENESIS_TRY(const PlainSpan range, searched(text, args[1], args[2]));
  std::size_t found = std::string_view::npos;
  if (range.begin <= range.end) {
    const auto view = std::string_view(text.bytes).substr(range.begin, range.end - range.begin);
    found = from_right ? rfind_in(view, part->bytes) : find_in(view, part->bytes);
  }
  if (found == std::string_view::npos) {
    return must_exist ? Result<Value>(template_error("substring not found")) : Value::integer(-1);
  }
  const auto before = std::string_view(text.bytes).substr(0, range.begin + found);
  return Value::integer(static_cast<Int>(length_in_characters(before)));
}

Result<Value> count(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("count", arguments, {"sub"}));
  GENESIS_TRY(const TextRef part, need_text(args[0].value_or(Value()), "sub"));
  const std::string_view text = self_text(self).bytes;
  GENESIS_TRY_VOID(context.spend_for(self));
  if (part->bytes.empty()) {
    return Value::integer(static_cast<Int>(length_in_characters(text) + 1));
  }
  Int n = 0;
  for (std::size_t at = find_in(text, part->bytes); at != std::string_view::npos;
       at = find_in(text, part->bytes, at + part->bytes.size())) {
    ++n;
  }
  return Value::integer(n);
}

Result<Value> replace(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("replace", arguments, {"old", "new", "count"}));
  GENESIS_TRY(const TextRef old_part, need_text(args[0].value_or(Value()), "old"));
  GENESIS_TRY(const TextRef new_part, need_text(args[1].value_or(Value()), "new"));
  GENESIS_TRY(const Int most, need_int(args[2].value_or(Value::integer(-1)), "count"));
  const Text& text = self_text(self);
  if (!text.markup || new_part->markup) {
    return replace_text(context, text, *old_part, *new_part, most);
  }
  GENESIS_TRY(const Text escaped, escaped_text(context, *new_part));
  return replace_text(context, text, *old_part, escaped, most);
}

Result<Value> join(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(const auto args, bind("join", arguments, {"iterable"}));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, args[0].value_or(Value())));
  std::vector<TextRef> parts;
  for (const Value& item : items) {
    GENESIS_TRY(TextRef part, need_text(item, "a member of join()"));
    if (self_text(self).markup && !part->markup) {
      GENESIS_TRY(Text escaped, escaped_text(context, *part));
      part = std::make_shared<const Text>(std::move(escaped));
    }
    parts.push_back(std::move(part));
  }
  return join_texts(context, self_text(self), parts);
}

Result<Value> format(Context& context, const Value& self, Arguments& arguments) {
  return brace_format(context, self_text(self), arguments);
}

// isdigit() and its like: true if there are characters and all are of the kind.
template <bool (*is_kind)(UChar32)>
Result<Value> all_are(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("a test of characters", arguments, {}));
  GENESIS_TRY_VOID(context.spend_for(self));
  const std::string_view text = self_text(self).bytes;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_valid(text, at);
    if (!is_kind(static_cast<UChar32>(point.value))) {
      return Value::boolean(false);
    }
    at += point.bytes;
  }
  return Value::boolean(!text.empty());
}

bool is_alpha(UChar32 c) {
  return (U_GET_GC_MASK(c) & U_GC_L_MASK) != 0;
}

bool is_decimal(UChar32 c) {
  return u_charType(c) == U_DECIMAL_DIGIT_NUMBER;
}

bool is_digit(UChar32 c) {
  const int type = u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE);
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}

bool is_numeric(UChar32 c) {
  return u_getIntPropertyValue(c, UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

bool is_alnum(UChar32 c) {
  return is_alpha(c) || is_numeric(c);
}

bool is_space(UChar32 c) {
  return is_python_space(static_cast<char32_t>(c));
}

// islower() and isupper(): there is a cased character, and every cased one is of the kind.
template <bool upper>
Result<Value> all_cased(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("a test of case", arguments, {}));
  GENESIS_TRY_VOID(context.spend_for(self));
  const std::string_view text = self_text(self).bytes;
  bool any = false;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = decode_valid(text, at);
    const auto c = static_cast<UChar32>(point.value);
    at += point.bytes;
    if (u_istitle(c) != 0 || (upper ? u_isULowercase(c) : u_isUUppercase(c)) != 0) {
      return Value::boolean(false);
    }
    any |= (upper ? u_isUUppercase(c) : u_isULowercase(c)) != 0;
  }
  return Value::boolean(any);
}

struct Entry {
  std::string_view name;
  TextMethod run;
};

constexpr auto kMethods = std::to_array<Entry>({
    {"capitalize", change_case<Casing::kCapitalize>},
    {"count", count},
    {"endswith", has_affix<true>},
    {"find", find<false, false>},
    {"format", format},
    {"index", find<false, true>},
    {"isalnum", all_are<is_alnum>},
    {"isalpha", all_are<is_alpha>},
    {"isdecimal", all_are<is_decimal>},
    {"isdigit", all_are<is_digit>},
    {"islower", all_cased<false>},
    {"isnumeric", all_are<is_numeric>},
    {"isspace", all_are<is_space>},
    {"isupper", all_cased<true>},
    {"join", join},
    {"lower", change_case<Casing::kLower>},
    {"lstrip", strip<StripSide::kLeft>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"replace", replace},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<StripSide::kRight>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", has_affix<false>},
    {"strip", strip<StripSide::kBoth>},
    {"title", change_case<Casing::kTitle>},
    {"upper", change_case<Casing::kUpper>},
});

}  // namespace

TextMethod find_text_method(std::string_view name) {
  const auto found = std::ranges::find(kMethods, name, &Entry::name);
  return found == kMethods.end() ? nullptr : found->run;
}

}  // namespace genesis::text::jinja
