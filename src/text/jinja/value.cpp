#include "text/jinja/value.h"

#include "text/jinja/callable.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace genesis::text::jinja {

namespace {

// Up to this many entries a search from the front is as good as an index.
constexpr std::size_t kSmallDict = 8;
constexpr std::size_t kTextBytesPerNode = 64;
// Where counting ends; far above any budget of steps.
constexpr std::size_t kMostWeight = std::size_t{1} << 40;

std::string_view key_text(const std::pair<Value, Value>& entry) {
  return entry.first.as_text()->bytes;
}

// Numbers compare by value whatever their type. Beyond 2^53 an integer and a float are compared as
// floats, which can only err for integers no template holds.
bool equal_numbers(const Value& a, const Value& b) {
  const auto whole = [](const Value& v) -> const Int* { return v.get<Int>(); };
  const auto real = [&](const Value& v) {
    if (const double* d = v.get<double>()) {
      return *d;
    }
    return whole(v) != nullptr ? static_cast<double>(*whole(v)) : (*v.get<bool>() ? 1.0 : 0.0);
  };
  if (whole(a) != nullptr && whole(b) != nullptr) {
    return *whole(a) == *whole(b);
  }
  return real(a) == real(b);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  return a.items.size() == b.items.size() && std::ranges::all_of(a.items, [&](const auto& entry) {
           const Value* other = b.find(entry.first);
           return other != nullptr && equal(entry.second, *other);
         });
}

bool equal_callables(const Callable& a, const Callable& b) {
  return a.kind == b.kind && a.name == b.name && a.macro == b.macro && equal(a.self, b.self);
}

}  // namespace

const Value* Dict::find(std::string_view key) const {
  if (items.size() <= kSmallDict) {
    for (const auto& entry : items) {
      const Text* text = entry.first.as_text();
      if (text != nullptr && text->bytes == key) {
        return &entry.second;
      }
    }
    return nullptr;
  }
  const auto at = std::ranges::lower_bound(
      by_text, key, {}, [&](std::uint32_t i) { return key_text(items[i]); });
  return at != by_text.end() && key_text(items[*at]) == key ? &items[*at].second : nullptr;
}

const Value* Dict::find(const Value& key) const {
  if (const Text* text = key.as_text()) {
    return find(text->bytes);
  }
  for (const auto& entry : items) {
    if (!entry.first.is<TextRef>() && equal(entry.first, key)) {
      return &entry.second;
    }
  }
  return nullptr;
}

Value* Namespace::find(std::string_view name) {
  for (auto& [known, value] : attributes) {
    if (known == name) {
      return &value;
    }
  }
  return nullptr;
}

Extent extent_of(const Value& value) {
  if (const List* list = value.as_list()) {
    return list->extent;
  }
  if (const Dict* dict = value.as_dict()) {
    return dict->extent;
  }
  if (const Text* text = value.as_text()) {
    return {0, 1 + text->bytes.size() / kTextBytesPerNode};
  }
  // Namespaces, generators and loops are neither printed nor compared through.
  return {0, 1};
}

void Extent::hold(const Value& member) {
  const Extent inner = extent_of(member);
  depth = std::max(depth, inner.depth + 1);
  weight = std::min(weight + inner.weight, kMostWeight);
}

Value make_list(std::vector<Value> items, bool tuple) {
  List list{std::move(items), tuple, {1, 1}};
  for (const Value& item : list.items) {
    list.extent.hold(item);
  }
  return Value(Value::Data(std::make_shared<const List>(std::move(list))));
}

Value make_generator(std::vector<Value> items, std::optional<Error> failure) {
  return Value(
      Value::Data(std::make_shared<Generator>(Generator{std::move(items), std::move(failure), 0})));
}

Value* DictBuilder::find(const Value& key) {
  if (const Text* text = key.as_text()) {
    const auto found = by_text_.find(text->bytes);
    return found == by_text_.end() ? nullptr : &dict_.items[found->second].second;
  }
  for (const std::uint32_t at : others_) {
    if (equal(dict_.items[at].first, key)) {
      return &dict_.items[at].second;
    }
  }
  return nullptr;
}

void DictBuilder::set(Value key, Value value) {
  dict_.extent.hold(key);
  dict_.extent.hold(value);
  if (Value* old = find(key)) {
    *old = std::move(value);
    return;
  }
  const auto at = static_cast<std::uint32_t>(dict_.items.size());
  if (const Text* text = key.as_text()) {
    by_text_.emplace(text->bytes, at);
  } else {
    others_.push_back(at);
  }
  dict_.items.emplace_back(std::move(key), std::move(value));
}

bool DictBuilder::add(const Value& key) {
  if (find(key) != nullptr) {
    return false;
  }
  set(key, Value());
  return true;
}

Value DictBuilder::take() {
  if (dict_.items.size() > kSmallDict) {
    for (const auto& [key, at] : by_text_) {
      dict_.by_text.push_back(at);
    }
  }
  dict_.extent.depth = std::max<std::size_t>(dict_.extent.depth, 1);
  return Value(Value::Data(std::make_shared<const Dict>(std::move(dict_))));
}

bool truthy(const Value& value) {
  if (const bool* b = value.get<bool>()) {
    return *b;
  }
  if (const Int* i = value.get<Int>()) {
    return *i != 0;
  }
  if (const double* d = value.get<double>()) {
    return *d != 0.0;
  }
  if (const Text* text = value.as_text()) {
    return !text->bytes.empty();
  }
  if (const List* list = value.as_list()) {
    return !list->items.empty();
  }
  if (const Dict* dict = value.as_dict()) {
    return !dict->items.empty();
  }
  if (const auto* loop = value.get<std::shared_ptr<Loop>>()) {
    return !(*loop)->items.empty();
  }
  return !value.is_undefined() && !value.is<None>();
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return equal_numbers(a, b);
  }
  if (a.data().index() != b.data().index()) {
    return false;
  }
  if (a.is_undefined() || a.is<None>()) {
    return true;
  }
  if (const Text* text = a.as_text()) {
    return text->bytes == b.as_text()->bytes;
  }
  if (const List* list = a.as_list()) {
    return list->tuple == b.as_list()->tuple &&
           std::ranges::equal(list->items, b.as_list()->items, equal);
  }
  if (const Dict* dict = a.as_dict()) {
    return equal_dicts(*dict, *b.as_dict());
  }
  if (const auto* callable = a.get<std::shared_ptr<const Callable>>()) {
    return equal_callables(**callable, **b.get<std::shared_ptr<const Callable>>());
  }
  if (const auto* space = a.get<std::shared_ptr<Namespace>>()) {
    return *space == *b.get<std::shared_ptr<Namespace>>();
  }
  if (const auto* generator = a.get<std::shared_ptr<Generator>>()) {
    return *generator == *b.get<std::shared_ptr<Generator>>();
  }
  return *a.get<std::shared_ptr<Loop>>() == *b.get<std::shared_ptr<Loop>>();
}

bool hashable(const Value& value) {
  if (const List* list = value.as_list()) {
    return list->tuple && std::ranges::all_of(list->items, hashable);
  }
  return !value.is<std::shared_ptr<const Dict>>();
}

std::string_view type_name(const Value& value) {
  constexpr std::array<std::string_view, std::variant_size_v<Value::Data>> kNames = {"undefined",
                                                                                     "NoneType",
                                                                                     "bool",
                                                                                     "int",
                                                                                     "float",
                                                                                     "str",
                                                                                     "list",
                                                                                     "dict",
                                                                                     "generator",
                                                                                     "Namespace",
                                                                                     "function",
                                                                                     "LoopContext"};
  const List* list = value.as_list();
  return list != nullptr && list->tuple ? "tuple" : kNames[value.data().index()];
}

}  // namespace genesis::text::jinja
