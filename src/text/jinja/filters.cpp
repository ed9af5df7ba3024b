// Look-up, and the filters on single values: numbers, defaults, JSON.
#include "text/jinja/filters.h"

#include "text/jinja/access.h"
#include "text/jinja/literal.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace genesis::text::jinja {

namespace {

Result<Value> absolute(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("abs", arguments, {}));
  if (const double* d = input.get<double>()) {
    return Value::real(std::fabs(*d));
  }
  GENESIS_TRY(const Int i, need_int(input, "the input of abs"));
  return i < 0 ? negated(input) : Value::integer(i);
}

Result<Value> default_value(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("default", arguments, {"default_value", "boolean"}));
  const bool falsy_too = args[1] && truthy(*args[1]);
  if (input.is_undefined() || (falsy_too && !truthy(input))) {
    return args[0].value_or(Value::text(std::string_view()));
  }
  return input;
}

// int(): also of a text with white space around or a fraction.
std::optional<Int> to_int(const Value& value, Int base) {
  if (const double* d = value.get<double>()) {
    const bool fits = std::fabs(*d) < 1e38;
    return fits ? std::optional(static_cast<Int>(*d)) : std::nullopt;
  }
  const Text* text = value.as_text();
  if (text == nullptr) {
    const auto i = need_int(value, "");
    return i ? std::optional(*i) : std::nullopt;
  }
  const PlainSpan inner = stripped(text->bytes, StripSide::kBoth, nullptr);
  const std::string digits = text->bytes.substr(inner.begin, inner.end - inner.begin);
  if (base == 10) {
    if (const auto whole = parse_int(digits)) {
      return whole;
    }
  } else {
    char* end = nullptr;
    const long long parsed = std::strtoll(digits.c_str(), &end, static_cast<int>(base));
    if (!digits.empty() && *end == '\0') {
      return parsed;
    }
  }
  const auto real = parse_float(digits);
  return real && std::fabs(*real) < 1e38 ? std::optional(static_cast<Int>(*real)) : std::nullopt;
}

Result<Value> int_filter(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("int", arguments, {"default", "base"}));
  if (input.is_undefined()) {
    return undefined_error(input);
  }
  GENESIS_TRY(const Int base, need_int(args[1].value_or(Value::integer(10)), "base"));
  if (base < 2 || base > 36) {
    return template_error("int: the base must be between 2 and 36");
  }
  if (const auto value = to_int(input, base)) {
    return Value::integer(*value);
  }
  return args[0].value_or(Value::integer(0));
}

Result<Value> float_filter(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("float", arguments, {"default"}));
  if (input.is_undefined()) {
    return undefined_error(input);
  }
  if (const Text* text = input.as_text()) {
    const PlainSpan inner = stripped(text->bytes, StripSide::kBoth, nullptr);
    const auto value =
        parse_float(std::string_view(text->bytes).substr(inner.begin, inner.end - inner.begin));
    return value ? Value::real(*value) : args[0].value_or(Value::real(0));
  }
  if (input.is<double>()) {
    return input;
  }
  const auto whole = need_int(input, "");
  return whole ? Value::real(static_cast<double>(*whole)) : args[0].value_or(Value::real(0));
}

// Decimal rounding, halves to even, as Python's round(): printf rounds the exact binary value.
double round_decimal(double value, Int digits) {
  if (!std::isfinite(value) || digits > 300) {
    return value;
  }
  if (digits >= 0) {
    std::array<char, 700> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.*f", static_cast<int>(digits), value);
    return std::strtod(buffer.data(), nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::isinf(scale) ? 0.0 : std::nearbyint(value / scale) * scale;
}

Result<Value> round_filter(Context&, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("round", arguments, {"precision", "method"}));
  GENESIS_TRY(const Int digits, need_int(args[0].value_or(Value::integer(0)), "precision"));
  const Text* method = args[1] ? args[1]->as_text() : nullptr;
  const std::string_view how = method != nullptr ? std::string_view(method->bytes) : "common";
  if (how != "common" && how != "ceil" && how != "floor") {
    return template_error("method must be common, ceil or floor");
  }
  double value = 0;
  if (const double* d = input.get<double>()) {
    value = *d;
  } else {
    GENESIS_TRY(const Int whole, need_int(input, "the input of round"));
    if (how == "common" && digits >= 0) {
      return Value::integer(whole);
    }
    value = static_cast<double>(whole);
  }
  if (how == "common") {
    const double rounded = round_decimal(value, digits);
    return input.is<double>() ? Value::real(rounded) : Value::integer(static_cast<Int>(rounded));
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  return Value::real((how == "ceil" ? std::ceil(value * scale) : std::floor(value * scale)) /
                     scale);
}

Result<Value> length_filter(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY_VOID(bind("length", arguments, {}));
  if (input.as_text() != nullptr) {
    GENESIS_TRY_VOID(context.spend_for(input));
  }
  const auto size = length(input);
  if (!size) {
    return template_error(fmt::format("a {} has no length", type_name(input)));
  }
  return Value::integer(static_cast<Int>(*size));
}

Result<Value> attr_filter(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(auto args, bind("attr", arguments, {"name"}));
  GENESIS_TRY(const TextRef name, need_text(args[0].value_or(Value()), "name"));
  // Unlike a dot, this filter does not look into dicts.
  if (input.as_dict() != nullptr && input.as_dict()->find(name->bytes) != nullptr) {
    return Value::undefined(fmt::format("no attribute '{}'", name->bytes));
  }
  return attribute(context, input, name->bytes);
}

Result<JsonStyle> json_style(Arguments& arguments) {
  GENESIS_TRY(auto args,
              bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = args[0] && truthy(*args[0]);
  style.sort_keys = args[3] && truthy(*args[3]);
  if (args[1] && !args[1]->is<None>()) {
    constexpr Int kMostIndent = 1000;
    if (const Text* text = args[1]->as_text()) {
      style.indent = text->bytes;
    } else {
      GENESIS_TRY(const Int spaces, need_int(*args[1], "indent"));
      style.indent =
          std::string(static_cast<std::size_t>(std::clamp<Int>(spaces, 0, kMostIndent)), ' ');
    }
    style.item_separator = ",";
  }
  if (args[2] && !args[2]->is<None>()) {
    const List* pair = args[2]->as_list();
    if (pair == nullptr || pair->items.size() != 2) {
      return template_error("separators must be a pair of strings");
    }
    GENESIS_TRY(const TextRef item, need_text(pair->items[0], "a separator"));
    GENESIS_TRY(const TextRef key, need_text(pair->items[1], "a separator"));
    style.item_separator = item->bytes;
    style.key_separator = key->bytes;
  }
  return style;
}

Result<Value> tojson(Context& context, const Value& input, Arguments& arguments) {
  GENESIS_TRY(const JsonStyle style, json_style(arguments));
  GENESIS_TRY(Text text, to_json(context, input, style));
  return context.text(std::move(text));
}

constexpr auto kFilters = std::to_array<Filter>({
    {"abs", absolute},
    {"attr", attr_filter},
    {"count", length_filter},
    {"d", default_value},
    {"default", default_value},
    {"float", float_filter},
    {"int", int_filter},
    {"length", length_filter},
    {"round", round_filter},
    {"tojson", tojson},
});

}  // namespace

const Filter* find_filter(std::string_view name) {
  const auto found = std::ranges::find(kFilters, name, &Filter::name);
  if (found != kFilters.end()) {
    return &*found;
  }
  for (const auto find : {find_text_filter, find_list_filter, find_selection_filter}) {
    if (const Filter* filter = find(name)) {
      return filter;
    }
  }
  return nullptr;
}

}  // namespace genesis::text::jinja
