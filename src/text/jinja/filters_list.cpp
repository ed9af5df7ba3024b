// Filters on lists and dicts as a whole: order, ends, sums.
#include "text/jinja/access.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/order.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace genesis::text::jinja {

namespace {

bool given(const std::optional<Value>& value) {
  return value && !value->is<None>();
}

// What sort() and its like compare: an attribute, in lower case unless case counts.
Result<Value> sort_key(Context& context,
                       const Value& item,
                       const std::optional<Value>& attribute,
                       bool case_sensitive) {
  Value key = item;
  if (given(attribute)) {
    GENESIS_TRY(key, attribute_path(context, item, *attribute));
  }
  if (const Text* text = key.as_text(); text != nullptr && !case_sensitive) {
    return context.text(with_case(*text, Casing::kLower));
  }
  return key;
}

Result<std::vector<Value>> sort_keys(Context& context,
                                     const std::vector<Value>& items,
                                     const std::optional<Value>& attribute,
                                     bool case_sensitive) {
  std::vector<Value> keys;
  for (const Value& item : items) {
    GENESIS_TRY(Value key, sort_key(context, item, attribute, case_sensitive));
    keys.push_back(std::move(key));
  }
  return keys;
}

// "a,b" sorts by both.
Result<std::vector<Value>> multi_keys(Context& context,
                                      const std::vector<Value>& items,
                                      const std::optional<Value>& attributes,
                                      bool case_sensitive) {
  const Text* names = attributes ? attributes->as_text() : nullptr;
  if (names == nullptr || !names->bytes.contains(',')) {
    return sort_keys(context, items, attributes, case_sensitive);
  }
  std::vector<std::vector<Value>> keys(items.size());
  for (std::string_view rest = names->bytes;;) {
    const std::size_t comma = rest.find(',');
    GENESIS_TRY(const auto column,
                sort_keys(context, items, Value::text(rest.substr(0, comma)), case_sensitive));
    for (std::size_t i = 0; i < items.size(); ++i) {
      keys[i].push_back(column[i]);
    }
    if (comma == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(comma + 1);
  }
  std::vector<Value> out;
  for (std::vector<Value>& key : keys) {
    out.push_back(make_list(std::move(key)));
  }
  return out;
}

Result<Value> sort(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  GENESIS_TRY(const std::vector<Value> keys,
              multi_keys(context, items, args[2], args[1] && truthy(*args[1])));
  GENESIS_TRY(const auto order, sorted_order(context, keys, args[0] && truthy(*args[0])));
  std::vector<Value> out;
  for (const std::size_t at : order) {
    out.push_back(items[at]);
  }
  return context.list(std::move(out));
}

Result<Value> dictsort(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  const Dict* dict = input.as_dict();
  if (dict == nullptr) {
    return template_error(fmt::format("dictsort needs a dict, not a {}", type_name(input)));
  }
  const Text* by = args[1] ? args[1]->as_text() : nullptr;
  if (by != nullptr && by->bytes != "key" && by->bytes != "value") {
    return template_error("dictsort sorts by either \"key\" or \"value\"");
  }
  const bool by_value = by != nullptr && by->bytes == "value";
  std::vector<Value> items;
  for (const auto& [key, value] : dict->items) {
    items.push_back(by_value ? value : key);
  }
  GENESIS_TRY(const auto keys,
              sort_keys(context, items, std::nullopt, args[0] && truthy(*args[0])));
  GENESIS_TRY(const auto order, sorted_order(context, keys, args[2] && truthy(*args[2])));
  std::vector<Value> out;
  for (const std::size_t at : order) {
    GENESIS_TRY(Value pair, context.list({dict->items[at].first, dict->items[at].second}, true));
    out.push_back(std::move(pair));
  }
  return context.list(std::move(out));
}

Result<Value> unique(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("unique", arguments, {"case_sensitive", "attribute"}));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  GENESIS_TRY(const std::vector<Value> keys,
              sort_keys(context, items, args[1], args[0] && truthy(*args[0])));
  std::vector<Value> out;
  DictBuilder seen;
  std::size_t count = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!hashable(keys[i])) {
      return template_error(fmt::format("unique: a {} cannot be hashed", type_name(keys[i])));
    }
    GENESIS_TRY_VOID(context.spend(keys[i].is<TextRef>() ? 1 : 1 + count / 16));
    if (seen.add(keys[i])) {
      ++count;
      out.push_back(items[i]);
    }
  }
  return context.generator(std::move(out));
}

template <bool largest>
Result<Value> extreme(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"}));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  if (items.empty()) {
    return Value::undefined("No aggregated item, sequence was empty.");
  }
  GENESIS_TRY(const std::vector<Value> keys,
              sort_keys(context, items, args[1], args[0] && truthy(*args[0])));
  std::size_t best = 0;
  for (std::size_t i = 1; i < items.size(); ++i) {
    GENESIS_TRY(const auto order, compare(context, keys[i], keys[best]));
    best = (largest ? order > 0 : order < 0) ? i : best;
  }
  return items[best];
}

Result<Value> sum(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("sum", arguments, {"attribute", "start"}));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  Value total = args[1].value_or(Value::integer(0));
  if (total.as_text() != nullptr) {
    return template_error("sum() cannot sum strings");
  }
  for (Value value : items) {
    if (given(args[0])) {
      GENESIS_TRY(value, attribute_path(context, value, *args[0]));
    }
    GENESIS_TRY(total, arithmetic(context, Operator::kAdd, total, value));
  }
  return total;
}

Result<Value> first(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("first", arguments, {}));
  if (const auto* generator = input.get<std::shared_ptr<Generator>>();
      generator != nullptr && (*generator)->next < (*generator)->items.size()) {
    return (*generator)->items[(*generator)->next++];
  }
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Result<Value> last(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("last", arguments, {}));
  if (input.is<std::shared_ptr<Generator>>()) {
    return template_error("last: a generator cannot be reversed");
  }
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Result<Value> list(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("list", arguments, {}));
  GENESIS_TRY(std::vector<Value> items, iterate(context, input));
  return context.list(std::move(items));
}

Result<Value> reverse(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("reverse", arguments, {}));
  if (input.as_text() != nullptr) {
    return slice(context, input, Value(), Value(), Value::integer(-1));
  }
  GENESIS_TRY(std::vector<Value> items, iterate(context, input));
  std::ranges::reverse(items);
  // reversed() of a generator is not possible, so jinja2 makes a list of it.
  return input.is<std::shared_ptr<Generator>>() ? context.list(std::move(items))
                                                : context.generator(std::move(items));
}

Result<Value> items(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("items", arguments, {}));
  std::vector<Value> out;
  if (const Dict* dict = input.as_dict()) {
    for (const auto& [key, value] : dict->items) {
      GENESIS_TRY(Value pair, context.list({key, value}, true));
      out.push_back(std::move(pair));
    }
  } else if (!input.is_undefined()) {
    return template_error("Can only get item pairs from a mapping.");
  }
  return context.generator(std::move(out));
}

// batch(n): runs of n; with a filler the last run is made full.
Result<Value> batch(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("batch", arguments, {"linecount", "fill_with"}));
  GENESIS_TRY(const Int size, need_int(args[0].value_or(Value()), "linecount"));
  GENESIS_TRY(const std::vector<Value> items, iterate(context, input));
  if (size < 1 || size > static_cast<Int>(context.limits().range_items)) {
    return template_error("batch: linecount must be positive and not too large");
  }
  const auto step = static_cast<std::size_t>(size);
  std::vector<Value> out;
  for (std::size_t at = 0; at < items.size(); at += step) {
    const std::size_t end = std::min(at + step, items.size());
    std::vector<Value> run(items.begin() + static_cast<std::ptrdiff_t>(at),
                           items.begin() + static_cast<std::ptrdiff_t>(end));
    if (given(args[1])) {
      run.resize(step, *args[1]);
    }
    GENESIS_TRY(Value made, context.list(std::move(run)));
    out.push_back(std::move(made));
  }
  return context.generator(std::move(out));
}

constexpr auto kFilters = std::to_array<Filter>({
    {"batch", batch},
    {"dictsort", dictsort},
    {"first", first},
    {"items", items},
    {"last", last},
    {"list", list},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reverse", reverse},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
});

}  // namespace

const Filter* find_list_filter(std::string_view name) {
  const auto found = std::ranges::find(kFilters, name, &Filter::name);
  return found == kFilters.end() ? nullptr : &*found;
}

}  // namespace genesis::text::jinja
