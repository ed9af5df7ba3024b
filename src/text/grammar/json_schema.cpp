#include "text/grammar/json_schema.h"

#include "base/json.h"
#include "text/grammar/number_language.h"
#include "text/grammar/regex_language.h"
#include "text/grammar/schema_compiler.h"
#include "text/grammar/schema_formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace genesis::text::grammar {

SchemaCompiler::SchemaCompiler(ExprPool& pool,
                               const json::value& document,
                               const JsonSchemaOptions& options)
    : pool_(pool),
      options_(options),
      text_(pool, options),
      finder_(document, pool.limits().depth) {}

Result<Expr> SchemaCompiler::compile(const Conjunction& given) {
  GENESIS_TRY_VOID(pool_.check_size());
  Conjunction conjunction;
  std::vector<const json::value*> key;
  for (const Conjunct& conjunct : given) {
    const json::value& schema = *conjunct.schema;
    const bool anything = (schema.is_bool() && schema.get_bool()) ||
                          (schema.is_object() && schema.get_object().empty());
    if (!anything && !contains(key, conjunct.schema)) {
      key.push_back(conjunct.schema);
      conjunction.push_back(conjunct);
    }
  }
  if (conjunction.empty()) {
    return text_.value();
  }
  std::ranges::sort(key);
  const auto [entry, fresh] = known_.try_emplace(std::move(key));
  Known& known = entry->second;
  if (!fresh) {
    if (known.finished) {
      return known.expr;
    }
    if (!known.rule) {
      known.rule = pool_.new_rule();
    }
    return *known.rule;
  }
  if (++depth_ > pool_.limits().depth) {
    return invalid_schema(conjunction.front().pointer,
                          fmt::format("nested more than {} deep", pool_.limits().depth));
  }
  GENESIS_TRY(const Expr made, compile_fresh(conjunction));
  --depth_;
  known.expr = made;
  known.finished = true;
  if (known.rule) {
    pool_.define(*known.rule, made);
    known.expr = *known.rule;
  }
  return known.expr;
}

Result<Expr> SchemaCompiler::compile_fresh(const Conjunction& conjunction) {
  GENESIS_TRY(const std::vector<Facts> alternatives, finder_.alternatives(conjunction));
  GENESIS_TRY_VOID(check_branches(alternatives));
  std::vector<Expr> parts;
  for (const Facts& facts : alternatives) {
    GENESIS_TRY(const Expr part, emit(facts));
    parts.push_back(part);
  }
  return pool_.choice(std::move(parts));
}

Result<Expr> SchemaCompiler::emit(const Facts& facts) {
  if (facts.any_value()) {
    return text_.value();
  }
  if (facts.allowed) {
    return emit_allowed(facts);
  }
  std::vector<Expr> parts;
  if ((facts.types & kNullType) != 0) {
    parts.push_back(pool_.literal("null"));
  }
  if ((facts.types & kBooleanType) != 0) {
    parts.push_back(text_.boolean());
  }
  const auto add = [&](std::uint8_t types, auto emit_type) -> Result<void> {
    if ((facts.types & types) != 0) {
      GENESIS_TRY(const Expr part, (this->*emit_type)(facts));
      parts.push_back(part);
    }
    return {};
  };
  GENESIS_TRY_VOID(add(kIntegerType | kFractionType, &SchemaCompiler::emit_number));
  GENESIS_TRY_VOID(add(kStringType, &SchemaCompiler::emit_string));
  GENESIS_TRY_VOID(add(kArrayType, &SchemaCompiler::emit_array));
  GENESIS_TRY_VOID(add(kObjectType, &SchemaCompiler::emit_object));
  return pool_.choice(std::move(parts));
}

Expr SchemaCompiler::value_text(const json::value& value) {
  if (value.is_object()) {
    std::vector<Expr> parts;
    for (const auto& member : value.get_object()) {
      parts.push_back(parts.empty() ? pool_.empty() : text_.comma());
      parts.push_back(pool_.literal("\"" + spelled(member.key()) + "\""));
      parts.push_back(text_.colon());
      parts.push_back(value_text(member.value()));
    }
    parts.push_back(text_.space());
    return text_.enclosed('{', pool_.sequence(std::move(parts)), '}');
  }
  if (value.is_array()) {
    std::vector<Expr> parts;
    for (const json::value& item : value.get_array()) {
      parts.push_back(parts.empty() ? pool_.empty() : text_.comma());
      parts.push_back(value_text(item));
    }
    parts.push_back(text_.space());
    return text_.enclosed('[', pool_.sequence(std::move(parts)), ']');
  }
  if (value.is_string()) {
    return pool_.literal("\"" + spelled(value.get_string()) + "\"");
  }
  if (value.is_double()) {
    std::string number;
    append_json_number(number, value.get_double());
    return pool_.literal(number);
  }
  return pool_.literal(json::serialize(value));
}

namespace {

std::uint8_t type_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return kNullType;
    case json::kind::bool_:
      return kBooleanType;
    case json::kind::string:
      return kStringType;
    case json::kind::array:
      return kArrayType;
    case json::kind::object:
      return kObjectType;
    default:
      // 1.0 is an integer as well.
      return decimal_of(value)->fraction.empty() ? kIntegerType : kFractionType;
  }
}

bool within(const NumberRange& range, const Decimal& value) {
  NumberRange both = range;
  both.raise({.value = value});
  both.lower({.value = value});
  return !both.empty();
}

}  // namespace

Result<bool> SchemaCompiler::allows(const Facts& facts, const json::value& value) {
  const std::uint8_t type = type_of(value);
  if ((facts.types & type) == 0) {
    return false;
  }
  if (type == kIntegerType || type == kFractionType) {
    const Decimal number = *decimal_of(value);
    for (const auto& [factor, at] : facts.factors) {
      GENESIS_TRY(const Expr language, multiples(pool_, factor));
      GENESIS_TRY(const Dfa dfa, determinize(pool_, language));
      if (!dfa.contains(number.whole + (number.fraction.empty() ? "" : "." + number.fraction))) {
        return false;
      }
    }
    return within(facts.range, number);
  }
  if (type == kStringType) {
    GENESIS_TRY(const std::vector<Expr> parts, string_parts(facts));
    const std::string spelling = spelled(value.get_string());
    for (const Expr part : parts) {
      GENESIS_TRY(const Dfa dfa, determinize(pool_, part));
      if (!dfa.contains(spelling)) {
        return false;
      }
    }
    return true;
  }
  const bool object = type == kObjectType && !(facts.objects.empty() && facts.required.empty());
  const bool array = type == kArrayType && !facts.arrays.empty();
  if (object || array) {
    const std::string& at = object && !facts.objects.empty() ? facts.objects.front().pointer
                            : object                         ? std::string()
                                                             : facts.arrays.front().items_pointer;
    return unsupported_keyword("enum or const with objects or arrays beside other keywords", at);
  }
  return true;
}

Result<Expr> SchemaCompiler::emit_allowed(const Facts& facts) {
  std::vector<Expr> parts;
  for (const json::value* value : *facts.allowed) {
    GENESIS_TRY(const bool allowed, allows(facts, *value));
    if (allowed) {
      parts.push_back(value_text(*value));
    }
  }
  return pool_.choice(std::move(parts));
}

Result<Expr> SchemaCompiler::emit_number(const Facts& facts) {
  const bool whole = (facts.types & kFractionType) == 0;
  NumberRange range = facts.range;
  for (const Pattern& format : facts.formats) {
    if (format.text == "int32") {
      range.raise({.value = decimal_of(std::string_view("-2147483648"))});
      range.lower({.value = decimal_of(std::string_view("2147483647"))});
    }
  }
  if (facts.factors.empty()) {
    if (!range.low && !range.high) {
      return whole ? text_.integer() : text_.number();
    }
    return whole ? integers_within(pool_, range) : numbers_within(pool_, range);
  }
  const bool only_whole = whole || std::ranges::any_of(facts.factors, [](const auto& factor) {
                            return factor.first.fraction.empty();
                          });
  GENESIS_TRY(
      Dfa numbers,
      determinize(pool_,
                  only_whole ? integers_within(pool_, range) : numbers_within(pool_, range)));
  for (const auto& [factor, at] : facts.factors) {
    auto language = multiples(pool_, factor);
    if (!language) {
      return unsupported_keyword("multipleOf", at);
    }
    GENESIS_TRY(const Dfa dfa, determinize(pool_, *language));
    GENESIS_TRY(numbers, combine(numbers, dfa, Combine::kBoth));
  }
  return to_expr(pool_, numbers);
}

Expr SchemaCompiler::spelled_any() {
  if (!spelled_any_) {
    spelled_any_ = spelled_character(pool_, normal_ranges({}, true));
  }
  return *spelled_any_;
}

namespace {

Result<Expr> located(Result<Expr> result, const std::string& pointer) {
  if (!result) {
    Error error = std::move(result).error();
    error.param = pointer;
    error.message = fmt::format("the schema at '{}': {}", pointer, error.message);
    return std::unexpected(std::move(error));
  }
  return result;
}

}  // namespace

// Each part is a language that holds all spellings the string may have.
Result<std::vector<Expr>> SchemaCompiler::string_parts(const Facts& facts) {
  const auto spell = [this](const std::vector<CodePointRange>& ranges) {
    return spelled_character(pool_, ranges);
  };
  std::vector<Expr> parts;
  for (const Pattern& pattern : facts.patterns) {
    const RegexOptions options{.character = spell, .search = true, .ecma_dot = true};
    GENESIS_TRY(const Expr part,
                located(regex_language(pool_, pattern.text, options), pattern.pointer));
    parts.push_back(part);
  }
  for (const Pattern& format : facts.formats) {
    const auto pattern = format_pattern(format.text);
    if (!pattern && !is_number_format(format.text)) {
      return fail_param(
          format.pointer,
          fmt::format("the format '{}' at '{}' is not supported", format.text, format.pointer),
          ErrorCode::kUnsupported);
    }
    if (pattern && !pattern->empty()) {
      const RegexOptions options{.character = spell};
      GENESIS_TRY(const Expr part,
                  located(regex_language(pool_, *pattern, options), format.pointer));
      parts.push_back(part);
    }
  }
  if (facts.length.least > 0 || facts.length.most) {
    parts.push_back(pool_.repeat(spelled_any(), facts.length.least, facts.length.most));
  }
  return parts;
}

Result<std::optional<Expr>> SchemaCompiler::spelled_string(const Facts& facts) {
  GENESIS_TRY(const std::vector<Expr> parts, string_parts(facts));
  if (parts.size() <= 1) {
    return parts.empty() ? std::nullopt : std::optional(parts.front());
  }
  GENESIS_TRY(Dfa all, determinize(pool_, parts.front()));
  for (std::size_t i = 1; i < parts.size(); ++i) {
    GENESIS_TRY(const Dfa more, determinize(pool_, parts[i]));
    GENESIS_TRY(all, combine(all, more, Combine::kBoth));
  }
  return to_expr(pool_, all);
}

Result<Expr> SchemaCompiler::emit_string(const Facts& facts) {
  const Expr quote = pool_.literal("\"");
  if (facts.patterns.empty() && facts.formats.empty()) {
    const bool free = facts.length.least == 0 && !facts.length.most;
    return free ? text_.string()
                : pool_.sequence(
                      {quote,
                       pool_.repeat(text_.any_character(), facts.length.least, facts.length.most),
                       quote});
  }
  GENESIS_TRY(const std::optional<Expr> inner, spelled_string(facts));
  const bool plain_length = facts.length.least == 0 && !facts.length.most;
  if (inner && facts.patterns.empty() && facts.formats.size() == 1 && plain_length) {
    return pool_.well_known(facts.formats.front().text,
                            pool_.sequence({pool_.literal("\""), *inner, pool_.literal("\"")}));
  }
  return inner ? pool_.sequence({quote, *inner, quote}) : text_.string();
}

Conjunction SchemaCompiler::item_schemas(const Facts& facts, std::size_t index) const {
  Conjunction schemas;
  for (const ArrayRules& rules : facts.arrays) {
    if (rules.prefix != nullptr && index < rules.prefix->size()) {
      schemas.push_back(
          {&(*rules.prefix)[index], fmt::format("{}/{}", rules.prefix_pointer, index)});
    } else if (rules.items != nullptr) {
      schemas.push_back({rules.items, rules.items_pointer});
    }
  }
  return schemas;
}

Result<Expr> SchemaCompiler::emit_array(const Facts& facts) {
  std::size_t prefix = 0;
  for (const ArrayRules& rules : facts.arrays) {
    prefix = std::max(prefix, rules.prefix == nullptr ? 0 : rules.prefix->size());
  }
  const std::size_t least = facts.items.least;
  const std::size_t most = facts.items.most.value_or(std::numeric_limits<std::size_t>::max());
  if (!facts.unique_pointer.empty() && most > 1) {
    return unsupported_keyword("uniqueItems", facts.unique_pointer);
  }
  if (facts.arrays.empty() && least == 0 && !facts.items.most) {
    return text_.any_array();
  }
  prefix = std::min(prefix, most);
  // Nodes 2 + i: so many items are written.
  std::vector<Arc> arcs = {{0, pool_.empty(), 2}};
  for (std::size_t i = 0; i <= prefix; ++i) {
    const auto node = static_cast<std::uint32_t>(2 + i);
    if (i >= least) {
      arcs.push_back({node, i == 0 ? pool_.empty() : text_.space(), 1});
    }
    if (i == most) {
      break;
    }
    GENESIS_TRY(const Expr item, compile(item_schemas(facts, i)));
    const Expr first = i == 0 ? item : pool_.sequence({text_.comma(), item});
    if (i < prefix) {
      arcs.push_back({node, first, node + 1});
      continue;
    }
    const std::size_t needed = least > i + 1 ? least - i - 1 : 0;
    const auto room = facts.items.most ? std::optional(most - i - 1) : std::nullopt;
    const Expr rest = pool_.repeat(pool_.sequence({text_.comma(), item}), needed, room);
    arcs.push_back({node, pool_.sequence({first, rest, text_.space()}), 1});
  }
  return text_.enclosed(
      '[', pool_.graph(static_cast<std::uint32_t>(prefix + 3), std::move(arcs)), ']');
}

Result<Expr> json_schema(ExprPool& pool,
                         std::string_view schema_json,
                         const JsonSchemaOptions& options) {
  auto document = parse_json(schema_json);
  if (!document) {
    Error error = std::move(document).error();
    error.code = ErrorCode::kInvalidArgument;
    error.message = "the schema is not JSON: " + error.message;
    return std::unexpected(std::move(error));
  }
  SchemaCompiler compiler(pool, *document, options);
  return compiler.compile({{&*document, ""}});
}

}  // namespace genesis::text::grammar
