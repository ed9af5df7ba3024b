// Filters that look at each member: map, select and reject, groupby.
#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/order.h"
#include "text/jinja/predicates.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

// Takes the first positional argument out.
std::optional<Value> take_first(Arguments& arguments) {
  if (arguments.positional.empty()) {
    return std::nullopt;
  }
  Value first = std::move(arguments.positional.front());
  arguments.positional.erase(arguments.positional.begin());
  return first;
}

Result<Value> map_attribute(Context& context, const Value& input, Arguments& arguments) {
  Value path;
  Value otherwise;
  arguments.take("attribute", path);
  const bool has_default = arguments.take("default", otherwise) && !otherwise.is<None>();
  if (!arguments.named.empty()) {
    return template_error(
        fmt::format("map: unexpected argument '{}'", arguments.named.front().first));
  }
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  std::vector<Value> out;
  for (const Value& item : items) {
    Result<Value> value = attribute_path(context, item, path);
    if (!value) {
      return context.generator(std::move(out), std::move(value).error());
    }
    out.push_back(value->is_undefined() && has_default ? otherwise : std::move(*value));
  }
  return context.generator(std::move(out));
}

Result<Value> map(Context& context, const Value& input, Arguments& arguments) {
  if (!truthy(input)) {
    return context.generator({});
  }
  const bool by_attribute =
      std::ranges::any_of(arguments.named, [](const auto& a) { return a.first == "attribute"; });
  if (arguments.positional.empty() && by_attribute) {
    return map_attribute(context, input, arguments);
  }
  const std::optional<Value> name = take_first(arguments);
  const Text* text = name ? name->as_text() : nullptr;
  const Filter* filter = text != nullptr ? find_filter(text->bytes) : nullptr;
  if (filter == nullptr) {
    return template_error("map needs the name of a filter, or attribute=");
  }
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  std::vector<Value> out;
  for (const Value& item : items) {
    GENESIS_TRY_VOID(context.spend(1));
    const Context::Nested nested(context);
    GENESIS_TRY_VOID(nested.check());
    Arguments copy = arguments;
    Result<Value> value = filter->run(context, item, copy);
    if (!value) {
      return context.generator(std::move(out), std::move(value).error());
    }
    out.push_back(std::move(*value));
  }
  return context.generator(std::move(out));
}

// The answer of a test, or of plain truth, to a member or its attribute.
Result<bool> passes_test(Context& context,
                         const Value& item,
                         const std::optional<Value>& path,
                         const Test* test,
                         const Arguments& arguments) {
  GENESIS_TRY_VOID(context.spend(1));
  Value tested = item;
  if (path) {
    GENESIS_TRY(tested, attribute_path(context, item, *path));
  }
  if (test == nullptr) {
    return truthy(tested);
  }
  Arguments copy = arguments;
  return test->run(context, tested, copy);
}

template <bool keep, bool by_attribute>
Result<Value> select(Context& context, const Value& input, Arguments& arguments) {
  if (!truthy(input)) {
    return context.generator({});
  }
  std::optional<Value> path;
  if (by_attribute) {
    path = take_first(arguments);
    if (!path) {
      return template_error("Missing parameter for attribute name");
    }
  }
  const Test* test = nullptr;
  if (const std::optional<Value> name = take_first(arguments)) {
    const Text* text = name->as_text();
    test = text != nullptr ? find_test(text->bytes) : nullptr;
    if (test == nullptr) {
      return template_error("select and reject need the name of a test");
    }
  }
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  std::vector<Value> out;
  for (const Value& item : items) {
    const Result<bool> passes = passes_test(context, item, path, test, arguments);
    if (!passes) {
      return context.generator(std::move(out), passes.error());
    }
    if (*passes == keep) {
      out.push_back(item);
    }
  }
  return context.generator(std::move(out));
}

Result<Value> lowered(Context& context, const Value& value, bool case_sensitive) {
  const Text* text = value.as_text();
  return text == nullptr || case_sensitive ? Result<Value>(value)
                                           : context.text(with_case(*text, Casing::kLower));
}

// A list of (grouper, list) pairs, sorted by the attribute.
Result<Value> groupby(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("groupby", arguments, {"attribute", "default", "case_sensitive"}));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  const bool case_sensitive = args[2] && truthy(*args[2]);
  std::vector<Value> labels;
  std::vector<Value> keys;
  for (const Value& item : items) {
    GENESIS_TRY(Value label, attribute_path(context, item, args[0].value_or(Value())));
    if (label.is_undefined() && args[1]) {
      label = *args[1];
    }
    GENESIS_TRY(Value key, lowered(context, label, case_sensitive));
    keys.push_back(std::move(key));
    labels.push_back(std::move(label));
  }
  GENESIS_TRY(const auto order, sorted_order(context, keys, false));
  std::vector<Value> out;
  for (std::size_t at = 0; at < order.size();) {
    const Value& key = keys[order[at]];
    const Value& label = labels[order[at]];
    std::vector<Value> group;
    for (; at < order.size() && equal(keys[order[at]], key); ++at) {
      group.push_back(items[order[at]]);
    }
    GENESIS_TRY(Value members, context.list(std::move(group)));
    GENESIS_TRY(Value pair, context.list({label, std::move(members)}, true));
    out.push_back(std::move(pair));
  }
  return context.list(std::move(out));
}

constexpr auto kFilters = std::to_array<Filter>({
    {"groupby", groupby},
    {"map", map},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
});

}  // namespace

const Filter* find_selection_filter(std::string_view name) {
  const auto found = std::ranges::find(kFilters, name, &Filter::name);
  return found == kFilters.end() ? nullptr : &*found;
}

}  // namespace genesis::text::jinja
