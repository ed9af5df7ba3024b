#include "text/jinja/methods.h"

#include "text/jinja/access.h"
#include "text/jinja/text_methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

using Method = Result<Value> (*)(Context&, const Value&, Arguments&);

struct Entry {
  std::string_view name;
  Method run;
};

const Dict& dict_of(const Value& self) {
  return *self.as_dict();
}

Result<Value> dict_get(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("get", arguments, {"key", "default"}));
  if (!args[0] || !hashable(*args[0])) {
    return template_error("get() needs a key");
  }
  context.touch(dict_of(self));
  GENESIS_TRY_VOID(context.spend(args[0]->is<TextRef>() ? extent_of(*args[0]).weight
                                                        : dict_of(self).items.size()));
  const Value* found = dict_of(self).find(*args[0]);
  return found != nullptr ? *found : args[1].value_or(Value::none());
}

Result<Value> dict_items(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("items", arguments, {}));
  std::vector<Value> out;
  for (const auto& [key, value] : dict_of(self).items) {
    GENESIS_TRY(Value pair, context.list({key, value}, true));
    out.push_back(std::move(pair));
  }
  return context.list(std::move(out));
}

Result<Value> dict_keys(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("keys", arguments, {}));
  GENESIS_TRY(std::vector<Value> keys, iterate(context, self));
  return context.list(std::move(keys));
}

Result<Value> dict_values(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("values", arguments, {}));
  std::vector<Value> out;
  for (const auto& entry : dict_of(self).items) {
    out.push_back(entry.second);
  }
  return context.list(std::move(out));
}

// Values cannot change, so a copy is the same object.
Result<Value> copy(Context&, const Value& self, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("copy", arguments, {}));
  return self;
}

Result<std::vector<std::size_t>> places_of(Context& context,
                                           const Value& self,
                                           const Value& member) {
  std::vector<std::size_t> out;
  const std::vector<Value>& items = self.as_list()->items;
  for (std::size_t i = 0; i < items.size(); ++i) {
    GENESIS_TRY_VOID(context.spend(std::min(extent_of(items[i]).weight, extent_of(member).weight)));
    if (equal(items[i], member)) {
      out.push_back(i);
    }
  }
  return out;
}

Result<Value> list_count(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("count", arguments, {"value"}));
  GENESIS_TRY(const auto places, places_of(context, self, args[0].value_or(Value())));
  return Value::integer(static_cast<Int>(places.size()));
}

Result<Value> list_index(Context& context, const Value& self, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("index", arguments, {"value"}));
  GENESIS_TRY(const auto places, places_of(context, self, args[0].value_or(Value())));
  if (places.empty()) {
    return template_error("index(): the value is not in the list");
  }
  return Value::integer(static_cast<Int>(places.front()));
}

Result<Value> loop_cycle(Context&, const Value& self, Arguments& arguments) {
  const Loop& loop = **self.get<std::shared_ptr<Loop>>();
  if (arguments.positional.empty() || !arguments.named.empty()) {
    return template_error("no items for cycling given");
  }
  return arguments.positional[loop.index % arguments.positional.size()];
}

Result<Value> loop_changed(Context& context, const Value& self, Arguments& arguments) {
  Loop& loop = **self.get<std::shared_ptr<Loop>>();
  // After its end a loop may be held by a value inside itself; nothing is stored there any more.
  if (!loop.running) {
    return template_error("changed() was called after the loop");
  }
  GENESIS_TRY(Value now, context.list(std::move(arguments.positional), true));
  GENESIS_TRY_VOID(context.spend_for(now));
  const bool changed = loop.changed.is_undefined() || !equal(loop.changed, now);
  loop.changed = std::move(now);
  return Value::boolean(changed);
}

constexpr auto kDictMethods = std::to_array<Entry>({{"copy", copy},
                                                    {"get", dict_get},
                                                    {"items", dict_items},
                                                    {"keys", dict_keys},
                                                    {"values", dict_values}});
constexpr auto kListMethods =
    std::to_array<Entry>({{"copy", copy}, {"count", list_count}, {"index", list_index}});
constexpr auto kLoopMethods =
    std::to_array<Entry>({{"changed", loop_changed}, {"cycle", loop_cycle}});

constexpr auto kDictMutators =
    std::to_array<std::string_view>({"clear", "pop", "popitem", "setdefault", "update"});
constexpr auto kListMutators = std::to_array<std::string_view>(
    {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"});

template <typename Table>
Method find_in(const Table& table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &Entry::name);
  return found == table.end() ? nullptr : found->run;
}

Method find_method(const Value& value, std::string_view name) {
  if (value.as_text() != nullptr) {
    return find_text_method(name);
  }
  if (const List* list = value.as_list()) {
    return list->tuple && name == "copy" ? nullptr : find_in(kListMethods, name);
  }
  if (value.as_dict() != nullptr) {
    return find_in(kDictMethods, name);
  }
  return value.is<std::shared_ptr<Loop>>() ? find_in(kLoopMethods, name) : nullptr;
}

}  // namespace

bool has_method(const Value& value, std::string_view name) {
  return find_method(value, name) != nullptr;
}

bool is_mutator(const Value& value, std::string_view name) {
  if (value.as_dict() != nullptr) {
    return std::ranges::find(kDictMutators, name) != kDictMutators.end();
  }
  const List* list = value.as_list();
  return list != nullptr && !list->tuple &&
         std::ranges::find(kListMutators, name) != kListMutators.end();
}

Result<Value> call_method(Context& context, const Callable& method, Arguments arguments) {
  const Method run = find_method(method.self, method.name);
  if (run == nullptr) {
    return template_error(
        fmt::format("'{}' has no method '{}'", type_name(method.self), method.name));
  }
  GENESIS_TRY_VOID(context.spend(1));
  return run(context, method.self, arguments);
}

}  // namespace genesis::text::jinja
