#include "text/jinja/access.h"

#include "text/jinja/literal.h"
#include "text/jinja/methods.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace genesis::text::jinja {

namespace {

Value no_such(const Value& value, std::string_view name) {
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", type_name(value), name));
}

// True while more items than `index` are there, fetching as far as needed.
Result<bool> reach(Loop& loop, std::size_t index) {
  while (loop.items.size() <= index) {
    if (!loop.pull) {
      return false;
    }
    GENESIS_TRY(const bool more, loop.pull());
    if (!more) {
      return false;
    }
  }
  return true;
}

Result<std::size_t> loop_length(Loop& loop) {
  GENESIS_TRY_VOID(reach(loop, static_cast<std::size_t>(-1)));
  return loop.items.size();
}

Value count(std::size_t n) {
  return Value::integer(static_cast<Int>(n));
}

// `loop.name`; nullopt if there is no such attribute.
Result<std::optional<Value>> loop_attribute(const Value& value, Loop& loop, std::string_view name) {
  const std::size_t index = loop.index;
  if (name == "index" || name == "index0") {
    return count(index + (name == "index" ? 1U : 0U));
  }
  if (name == "first") {
    return Value::boolean(index == 0);
  }
  if (name == "last" || name == "nextitem") {
    GENESIS_TRY(const bool more, reach(loop, index + 1));
    if (name == "last") {
      return Value::boolean(!more);
    }
    return more ? loop.items[index + 1] : Value::undefined("there is no next item");
  }
  if (name == "previtem") {
    return index > 0 ? loop.items[index - 1] : Value::undefined("there is no previous item");
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    GENESIS_TRY(const std::size_t total, loop_length(loop));
    return count(name == "length" ? total : total - index - (name == "revindex" ? 0U : 1U));
  }
  if (name == "depth" || name == "depth0") {
    return count(loop.depth + (name == "depth" ? 1U : 0U));
  }
  if (name == "cycle" || name == "changed") {
    return make_callable(
        {.kind = Callable::Kind::kMethod, .name = std::string(name), .self = value});
  }
  return std::nullopt;
}

Result<std::optional<Value>> own_attribute(const Value& value, std::string_view name) {
  if (const auto* loop = value.get<std::shared_ptr<Loop>>()) {
    return loop_attribute(value, **loop, name);
  }
  if (const auto* space = value.get<std::shared_ptr<Namespace>>()) {
    Value* found = (*space)->find(name);
    return found != nullptr ? std::optional(*found) : std::nullopt;
  }
  if (const auto* callable = value.get<std::shared_ptr<const Callable>>();
      callable != nullptr && (*callable)->kind == Callable::Kind::kMacro && name == "name") {
    return Value::text(std::string_view((*callable)->name));
  }
  // In Python dict["x"] is a generic alias, which jinja2 tries after the attribute: a dict again.
  if (const auto* callable = value.get<std::shared_ptr<const Callable>>();
      callable != nullptr && (*callable)->kind == Callable::Kind::kFunction &&
      (*callable)->name == "dict" && name != "fromkeys") {
    return value;
  }
  if (is_mutator(value, name)) {
    return Value::undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(value)));
  }
  if (has_method(value, name)) {
    return make_callable(
        {.kind = Callable::Kind::kMethod, .name = std::string(name), .self = value});
  }
  return std::nullopt;
}

// The entry of a dict, list or text; nullopt if there is none.
Result<std::optional<Value>> entry(Context& context, const Value& value, const Value& key) {
  if (const Dict* dict = value.as_dict()) {
    context.touch(*dict);
    if (!hashable(key)) {
      return std::nullopt;  // jinja2 takes Python's TypeError for a missing member
    }
    GENESIS_TRY_VOID(context.spend(key.is<TextRef>() ? extent_of(key).weight : dict->items.size()));
    const Value* found = dict->find(key);
    return found != nullptr ? std::optional(*found) : std::nullopt;
  }
  const Text* text = value.as_text();
  const List* list = value.as_list();
  if ((text == nullptr && list == nullptr) || (!key.is<Int>() && !key.is<bool>())) {
    return std::nullopt;
  }
  GENESIS_TRY_VOID(context.spend(text != nullptr ? extent_of(value).weight : 1));
  GENESIS_TRY(Int index, need_int(key, "an index"));
  const auto size = static_cast<Int>(*length(value));
  index += index < 0 ? size : 0;
  if (index < 0 || index >= size) {
    return std::nullopt;
  }
  if (list != nullptr) {
    return list->items[static_cast<std::size_t>(index)];
  }
  const std::size_t at = character_offset(text->bytes, static_cast<std::size_t>(index));
  return Value::text(part_of(*text, at, at + decode_valid(text->bytes, at).bytes));
}

// Python's slice.indices(): where to start and stop, and how many steps lie between.
struct SliceRange {
  Int start;
  Int step;
  std::size_t count;
};

Result<SliceRange> slice_range(Int size, const Value& start, const Value& stop, const Value& step) {
  const auto given = [](const Value& v) { return !v.is_undefined() && !v.is<None>(); };
  Int stride = 1;
  if (given(step)) {
    GENESIS_TRY(stride, need_int(step, "a slice step"));
  }
  if (stride == 0) {
    return template_error("slice step cannot be zero");
  }
  const Int lowest = stride < 0 ? -1 : 0;
  const Int highest = stride < 0 ? size - 1 : size;
  const auto bound = [&](const Value& v, Int otherwise) -> Result<Int> {
    if (!given(v)) {
      return otherwise;
    }
    GENESIS_TRY(Int at, need_int(v, "a slice bound"));
    at += at < 0 ? size : 0;
    return std::clamp(at, lowest, highest);
  };
  GENESIS_TRY(const Int from, bound(start, stride < 0 ? highest : lowest));
  GENESIS_TRY(const Int to, bound(stop, stride < 0 ? lowest : highest));
  const Int span = stride < 0 ? from - to : to - from;
  const Int magnitude = stride < 0 ? -stride : stride;
  const Int count = span <= 0 ? 0 : (span - 1) / magnitude + 1;
  return SliceRange{from, stride, static_cast<std::size_t>(count)};
}

Result<Value> slice_text(Context& context, const Text& text, const SliceRange& range) {
  if (range.step == 1) {
    const std::size_t begin = character_offset(text.bytes, static_cast<std::size_t>(range.start));
    const std::size_t bytes =
        character_offset(std::string_view(text.bytes).substr(begin), range.count);
    return context.text(part_of(text, begin, begin + bytes));
  }
  GENESIS_TRY_VOID(context.spend(text.bytes.size() / 16 + text.marks.size()));
  TextBuilder out;
  if (range.count > 0) {
    std::size_t at = character_offset(text.bytes, static_cast<std::size_t>(range.start));
    const Int stride = range.step < 0 ? -range.step : range.step;
    for (std::size_t i = 0; i < range.count; ++i) {
      for (Int moved = 0; i > 0 && moved < stride; ++moved) {
        at = range.step < 0 ? previous_start(text.bytes, at)
                            : at + decode_valid(text.bytes, at).bytes;
      }
      out.add_part(text, at, at + decode_valid(text.bytes, at).bytes);
    }
  }
  Text made = out.take();
  made.markup = text.markup;
  return context.text(std::move(made));
}

}  // namespace

Result<Value> attribute(Context& context, const Value& value, std::string_view name) {
  if (value.is_undefined()) {
    return undefined_error(value);
  }
  if (const Dict* dict = value.as_dict()) {
    context.touch(*dict);
  }
  if (name.starts_with('_')) {
    return Value::undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(value)));
  }
  GENESIS_TRY(std::optional<Value> own, own_attribute(value, name));
  if (own) {
    return std::move(*own);
  }
  if (value.as_dict() != nullptr) {
    GENESIS_TRY(std::optional<Value> found, entry(context, value, Value::text(name)));
    if (found) {
      return std::move(*found);
    }
  }
  return no_such(value, name);
}

Result<Value> item(Context& context, const Value& value, const Value& key) {
  if (value.is_undefined()) {
    return undefined_error(value);
  }
  GENESIS_TRY(std::optional<Value> found, entry(context, value, key));
  if (found) {
    return std::move(*found);
  }
  if (const Text* name = key.as_text()) {
    if (name->bytes.starts_with('_') && value.as_dict() != nullptr) {
      return no_such(value, name->bytes);
    }
    GENESIS_TRY(std::optional<Value> own, own_attribute(value, name->bytes));
    return own ? std::move(*own) : no_such(value, name->bytes);
  }
  return Value::undefined(fmt::format("'{}' has no such element", type_name(value)));
}

Result<Value> slice(Context& context,
                    const Value& value,
                    const Value& start,
                    const Value& stop,
                    const Value& step) {
  const Text* text = value.as_text();
  const List* list = value.as_list();
  if (value.is_undefined()) {
    return undefined_error(value);
  }
  if (text == nullptr && list == nullptr) {
    return template_error(fmt::format("a {} cannot be sliced", type_name(value)));
  }
  GENESIS_TRY_VOID(context.spend(text != nullptr ? extent_of(value).weight : 1));
  GENESIS_TRY(const SliceRange range,
              slice_range(static_cast<Int>(*length(value)), start, stop, step));
  if (text != nullptr) {
    return slice_text(context, *text, range);
  }
  std::vector<Value> items;
  Int index = range.start;
  for (std::size_t i = 0; i < range.count; ++i, index += range.step) {
    items.push_back(list->items[static_cast<std::size_t>(index)]);
  }
  return context.list(std::move(items), list->tuple);
}

Result<std::vector<Value>> iterate(Context& context, const Value& value) {
  std::vector<Value> out;
  if (const List* list = value.as_list()) {
    GENESIS_TRY_VOID(context.spend(list->items.size()));
    return list->items;
  }
  if (const Dict* dict = value.as_dict()) {
    GENESIS_TRY_VOID(context.spend(dict->items.size()));
    for (const auto& pair : dict->items) {
      out.push_back(pair.first);
    }
    return out;
  }
  if (const Text* text = value.as_text()) {
    // One object a character.
    constexpr std::uint64_t kStepsPerCharacter = 4;
    GENESIS_TRY_VOID(context.spend(text->bytes.size() * kStepsPerCharacter));
    for (std::size_t at = 0; at < text->bytes.size();) {
      const std::size_t bytes = decode_valid(text->bytes, at).bytes;
      Text character = part_of(*text, at, at + bytes);
      character.markup = false;
      out.push_back(Value::text(std::move(character)));
      at += bytes;
    }
    return out;
  }
  if (const auto* generator = value.get<std::shared_ptr<Generator>>()) {
    Generator& source = **generator;
    GENESIS_TRY_VOID(context.spend(source.items.size() - source.next));
    out.assign(source.items.begin() + static_cast<std::ptrdiff_t>(source.next), source.items.end());
    source.next = source.items.size();
    if (source.failure) {
      return std::unexpected(*source.failure);
    }
    return out;
  }
  if (value.is_undefined()) {
    return out;
  }
  return template_error(fmt::format("a {} cannot be iterated over", type_name(value)));
}

bool is_iterable(const Value& value) {
  return value.as_list() != nullptr || value.as_dict() != nullptr || value.as_text() != nullptr ||
         value.is<std::shared_ptr<Generator>>() || value.is_undefined() ||
         value.is<std::shared_ptr<Loop>>();
}

std::optional<std::size_t> length(const Value& value) {
  if (const List* list = value.as_list()) {
    return list->items.size();
  }
  if (const Dict* dict = value.as_dict()) {
    return dict->items.size();
  }
  if (const Text* text = value.as_text()) {
    return length_in_characters(text->bytes);
  }
  return value.is_undefined() ? std::optional<std::size_t>(0) : std::nullopt;
}

Result<bool> contains(Context& context, const Value& container, const Value& member) {
  if (const Text* text = container.as_text()) {
    GENESIS_TRY(const TextRef part, need_text(member, "the left side of 'in' a string"));
    GENESIS_TRY_VOID(context.spend(extent_of(container).weight + extent_of(member).weight));
    return find_in(text->bytes, part->bytes) != std::string_view::npos;
  }
  if (const Dict* dict = container.as_dict()) {
    if (!hashable(member)) {
      return template_error(fmt::format("a {} cannot be a key of a dict", type_name(member)));
    }
    context.touch(*dict);
    GENESIS_TRY_VOID(
        context.spend(member.is<TextRef>() ? extent_of(member).weight : dict->items.size()));
    return dict->find(member) != nullptr;
  }
  GENESIS_TRY(const std::vector<Value> items, iterate(context, container));
  const std::size_t weight = extent_of(member).weight;
  for (const Value& item : items) {
    GENESIS_TRY_VOID(context.spend(std::min(weight, extent_of(item).weight)));
    if (equal(item, member)) {
      return true;
    }
  }
  return false;
}

Result<Value> attribute_path(Context& context, const Value& value, const Value& path) {
  const Text* text = path.as_text();
  if (text == nullptr) {
    return item(context, value, path);
  }
  Value at = value;
  std::string_view rest = text->bytes;
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string_view name = rest.substr(0, dot);
    const bool is_number =
        !name.empty() && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
    const auto number = is_number ? parse_int(name) : std::nullopt;
    GENESIS_TRY_VOID(context.spend(1));
    GENESIS_TRY(at, item(context, at, number ? Value::integer(*number) : Value::text(name)));
    if (dot == std::string_view::npos) {
      return at;
    }
    rest.remove_prefix(dot + 1);
  }
}

}  // namespace genesis::text::jinja
