// Reaching into values: attributes, subscripts, slices, iteration, length.
#pragma once

#include "base/result.h"
#include "text/jinja/context.h"
#include "text/jinja/value.h"

#include <optional>
#include <string_view>
#include <vector>

namespace genesis::text::jinja {

// value.name: a method or attribute of the object, else the entry of that name, else undefined.
Result<Value> attribute(Context& context, const Value& value, std::string_view name);
// value[key]: the entry, else for text keys the attribute, else undefined.
Result<Value> item(Context& context, const Value& value, const Value& key);
// value[start:stop:step]; undefined stands for a part left out.
Result<Value> slice(
    Context& context, const Value& value, const Value& start, const Value& stop, const Value& step);

// The members in order: of a list, the keys of a dict, the characters of a text. Empties
// generators.
Result<std::vector<Value>> iterate(Context& context, const Value& value);
bool is_iterable(const Value& value);
// len(); nullopt if the type has none.
std::optional<std::size_t> length(const Value& value);
Result<bool> contains(Context& context, const Value& container, const Value& member);

// An attribute path of filters: "a.b.0", or a number.
Result<Value> attribute_path(Context& context, const Value& value, const Value& path);

}  // namespace genesis::text::jinja
