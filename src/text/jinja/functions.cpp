#include "text/jinja/functions.h"

#include "text/jinja/access.h"
#include "text/jinja/print.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

namespace genesis::text::jinja {

namespace {

using Function = Result<Value> (*)(Context&, Arguments&);

struct Entry {
  std::string_view name;
  Function run;
};

Result<Value> range(Context& context, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("range", arguments, {"start", "stop", "step"}));
  if (!args[0]) {
    return template_error("range() needs an end");
  }
  GENESIS_TRY(Int start, need_int(*args[0], "range()'s argument"));
  Int stop = start;
  Int step = 1;
  if (args[1]) {
    GENESIS_TRY(stop, need_int(*args[1], "range()'s argument"));
  } else {
    start = 0;
  }
  if (args[2]) {
    GENESIS_TRY(step, need_int(*args[2], "range()'s argument"));
  }
  constexpr Int kFar = Int{1} << 62;
  if (step == 0 || std::max({start, stop, step}) > kFar || std::min({start, stop, step}) < -kFar) {
    return template_error("range(): a step of zero, or a bound too large");
  }
  const Int span = step > 0 ? stop - start : start - stop;
  const Int magnitude = step > 0 ? step : -step;
  const Int count = span <= 0 ? 0 : (span - 1) / magnitude + 1;
  if (count > static_cast<Int>(context.limits().range_items)) {
    return fail(ErrorCode::kResourceExhausted,
                fmt::format("range() of more than {} items", context.limits().range_items));
  }
  std::vector<Value> items;
  for (Int i = 0; i < count; ++i) {
    items.push_back(Value::integer(start + i * step));
  }
  return context.list(std::move(items));
}

// The pairs of dict(mapping_or_pairs, **named).
Result<DictBuilder> pairs_of(Context& context, Arguments& arguments) {
  DictBuilder out;
  if (arguments.positional.size() > 1) {
    return template_error("at most one positional argument is possible");
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional.front();
    GENESIS_TRY(const std::vector<Value> items, iterate(context, source));
    const Dict* dict = source.as_dict();
    for (const Value& entry : items) {
      const List* pair = entry.as_list();
      if (dict == nullptr && (pair == nullptr || pair->items.size() != 2)) {
        return template_error("a dict is made of pairs");
      }
      const Value& key = dict != nullptr ? entry : pair->items[0];
      if (!hashable(key)) {
        return template_error(fmt::format("a {} cannot be a key of a dict", type_name(key)));
      }
      GENESIS_TRY_VOID(
          context.spend(extent_of(key).weight + (key.is<TextRef>() ? 1 : items.size() / 16)));
      out.set(key, dict != nullptr ? *dict->find(key) : pair->items[1]);
    }
  }
  for (auto& [name, value] : arguments.named) {
    out.set(Value::text(std::string_view(name)), std::move(value));
  }
  return out;
}

Result<Value> dict(Context& context, Arguments& arguments) {
  GENESIS_TRY(DictBuilder pairs, pairs_of(context, arguments));
  return context.dict(std::move(pairs));
}

Result<Value> make_namespace(Context& context, Arguments& arguments) {
  GENESIS_TRY(DictBuilder pairs, pairs_of(context, arguments));
  const Value attributes = pairs.take();
  GENESIS_TRY(std::shared_ptr<Namespace> space, context.new_namespace());
  for (const auto& [key, value] : attributes.as_dict()->items) {
    GENESIS_TRY(const TextRef name, need_text(key, "an attribute of a namespace"));
    space->attributes.emplace_back(name->bytes, value);
  }
  return Value(Value::Data(std::move(space)));
}

Result<Value> raise_exception(Context& context, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("raise_exception", arguments, {"message"}));
  GENESIS_TRY(Text message, to_str(context, args[0].value_or(Value())));
  return context.raise(std::move(message.bytes));
}

Result<Value> strftime_now(Context& context, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("strftime_now", arguments, {"format"}));
  GENESIS_TRY(const TextRef format, need_text(args[0].value_or(Value()), "the format of a date"));
  const auto now = static_cast<std::time_t>(context.now());
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 4096> buffer{};
  const std::size_t bytes =
      std::strftime(buffer.data(), buffer.size(), format->bytes.c_str(), &local);
  const std::string date = to_valid_utf8(std::string_view(buffer.data(), bytes));
  return context.text(derived(date, *format));
}

Result<Value> joiner(Context& context, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("joiner", arguments, {"sep"}));
  GENESIS_TRY(std::shared_ptr<Namespace> state, context.new_namespace());
  state->attributes.emplace_back("separator", args[0].value_or(Value::text(", ")));
  state->attributes.emplace_back("used", Value::boolean(false));
  return make_callable({.kind = Callable::Kind::kJoiner,
                        .name = "joiner",
                        .self = Value(Value::Data(std::move(state)))});
}

constexpr auto kFunctions = std::to_array<Entry>({
    {"dict", dict},
    {"joiner", joiner},
    {"namespace", make_namespace},
    {"raise_exception", raise_exception},
    {"range", range},
    {"strftime_now", strftime_now},
});

}  // namespace

bool is_function(std::string_view name) {
  return std::ranges::find(kFunctions, name, &Entry::name) != kFunctions.end();
}

Result<Value> call_function(Context& context, std::string_view name, Arguments arguments) {
  const auto found = std::ranges::find(kFunctions, name, &Entry::name);
  if (found == kFunctions.end()) {
    return template_error(fmt::format("'{}' is not a function", name));
  }
  GENESIS_TRY_VOID(context.spend(1));
  return found->run(context, arguments);
}

// Nothing the first time, the separator from then on.
Result<Value> call_joiner(Context&, const Callable& joiner, const Arguments& arguments) {
  if (!arguments.positional.empty() || !arguments.named.empty()) {
    return template_error("a joiner takes no arguments");
  }
  Namespace& state = **joiner.self.get<std::shared_ptr<Namespace>>();
  Value* used = state.find("used");
  const bool before = truthy(*used);
  *used = Value::boolean(true);
  return before ? *state.find("separator") : Value::text(std::string_view());
}

}  // namespace genesis::text::jinja
