#include "text/grammar/schema_facts.h"

#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace genesis::text::grammar {

namespace {

// Combinations of the branches of several anyOf; far above any schema people write.
constexpr std::size_t kMostAlternatives = 512;

// Say nothing about whether a value is valid. The last ones are annotations of OpenAPI.
constexpr std::array<std::string_view, 22> kAnnotations = {"title",
                                                           "description",
                                                           "default",
                                                           "examples",
                                                           "example",
                                                           "$schema",
                                                           "$id",
                                                           "id",
                                                           "$comment",
                                                           "$anchor",
                                                           "$defs",
                                                           "definitions",
                                                           "deprecated",
                                                           "readOnly",
                                                           "writeOnly",
                                                           "$vocabulary",
                                                           "contentSchema",
                                                           "contentEncoding",
                                                           "contentMediaType",
                                                           "nullable",
                                                           "discriminator",
                                                           "externalDocs"};

constexpr std::array<std::string_view, 16> kUnsupported = {"not",
                                                           "if",
                                                           "then",
                                                           "else",
                                                           "dependentRequired",
                                                           "dependencies",
                                                           "contains",
                                                           "dependentSchemas",
                                                           "minContains",
                                                           "maxContains",
                                                           "$dynamicRef",
                                                           "$recursiveRef",
                                                           "unevaluatedItems",
                                                           "$dynamicAnchor",
                                                           "extends",
                                                           "disallow"};

struct TypeName {
  std::string_view name;
  std::uint8_t bits;
};

constexpr std::array<TypeName, 7> kTypeNames = {{{"null", kNullType},
                                                 {"boolean", kBooleanType},
                                                 {"integer", kIntegerType},
                                                 {"number", kIntegerType | kFractionType},
                                                 {"string", kStringType},
                                                 {"array", kArrayType},
                                                 {"object", kObjectType}}};

std::optional<std::size_t> count_of(const json::value& value) {
  if (value.is_int64() && value.get_int64() >= 0) {
    return static_cast<std::size_t>(value.get_int64());
  }
  if (value.is_uint64()) {
    return static_cast<std::size_t>(value.get_uint64());
  }
  if (value.is_double() && value.get_double() >= 0 && value.get_double() < 1e15 &&
      value.get_double() == static_cast<double>(static_cast<std::int64_t>(value.get_double()))) {
    return static_cast<std::size_t>(value.get_double());
  }
  return std::nullopt;
}

bool same_value(const json::value& a, const json::value& b) {
  const auto x = decimal_of(a);
  const auto y = decimal_of(b);
  return x && y ? compare(*x, *y) == 0 : a == b;
}

void restrict_to(Facts& facts, std::vector<const json::value*> values) {
  if (facts.allowed) {
    std::erase_if(values, [&](const json::value* value) {
      return std::ranges::none_of(
          *facts.allowed, [&](const json::value* known) { return same_value(*known, *value); });
    });
  }
  facts.allowed = std::move(values);
}

std::string unescape_pointer(std::string_view token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    unsigned value = 0;
    if (token[i] == '~' && i + 1 < token.size()) {
      out.push_back(token[++i] == '1' ? '/' : '~');
    } else if (token[i] == '%' && i + 2 < token.size() &&
               std::from_chars(&token[i + 1], &token[i + 1] + 2, value, 16).ptr == &token[i] + 3) {
      out.push_back(static_cast<char>(value));
      i += 2;
    } else {
      out.push_back(token[i]);
    }
  }
  return out;
}

}  // namespace

std::string child_pointer(const std::string& pointer, std::string_view key) {
  std::string out = pointer + "/";
  for (const char c : key) {
    out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  }
  return out;
}

std::unexpected<Error> unsupported_keyword(std::string_view keyword, const std::string& pointer) {
  return fail_param(pointer.empty() ? "/" : pointer,
                    fmt::format("the schema keyword '{}' at '{}' is not supported",
                                keyword,
                                pointer.empty() ? "/" : pointer),
                    ErrorCode::kUnsupported);
}

std::unexpected<Error> invalid_schema(const std::string& pointer, std::string_view what) {
  const std::string where = pointer.empty() ? "/" : pointer;
  return fail_param(where, fmt::format("the schema at '{}': {}", where, what));
}

bool Facts::any_value() const {
  return types == kAllTypes && !allowed && !range.low && !range.high && factors.empty() &&
         length.least == 0 && !length.most && patterns.empty() && formats.empty() &&
         objects.empty() && unevaluated.empty() && required.empty() && properties.least == 0 &&
         !properties.most && names.empty() && arrays.empty() && items.least == 0 && !items.most &&
         unique_pointer.empty();
}

Result<std::vector<Facts>> FactFinder::alternatives(const Conjunction& conjunction) {
  Draft first;
  for (std::size_t i = conjunction.size(); i-- > 0;) {
    first.tasks.push_back({conjunction[i], nullptr});
  }
  std::vector<Draft> drafts;
  drafts.push_back(std::move(first));
  std::vector<Facts> done;
  while (!drafts.empty()) {
    Draft draft = std::move(drafts.back());
    drafts.pop_back();
    GENESIS_TRY_VOID(expand(std::move(draft), drafts, done));
    if (drafts.size() + done.size() > kMostAlternatives) {
      return invalid_schema(
          conjunction.front().pointer,
          fmt::format("anyOf and oneOf combine to more than {} alternatives", kMostAlternatives));
    }
  }
  return done;
}

Result<void> FactFinder::expand(Draft draft, std::vector<Draft>& drafts, std::vector<Facts>& done) {
  while (!draft.tasks.empty()) {
    const Task task = std::move(draft.tasks.back());
    draft.tasks.pop_back();
    GENESIS_TRY(const bool alive, apply(task, draft, drafts));
    if (!alive) {
      return {};
    }
  }
  done.push_back(std::move(draft.facts));
  return {};
}

Result<bool> FactFinder::apply(const Task& task, Draft& draft, std::vector<Draft>& drafts) {
  const json::value& schema = *task.conjunct.schema;
  const std::string& pointer = task.conjunct.pointer;
  if (schema.is_bool()) {
    return schema.get_bool();
  }
  if (!schema.is_object()) {
    return invalid_schema(pointer, "a schema is an object or a boolean");
  }
  std::size_t length = 0;
  for (const Trail* at = task.trail.get(); at != nullptr; at = at->before.get()) {
    if (at->schema == &schema) {
      return false;  // a circle adds no value that was not there without it
    }
    if (++length > depth_) {
      return invalid_schema(pointer, fmt::format("nested more than {} deep", depth_));
    }
  }
  if (contains(draft.seen, &schema)) {
    return true;
  }
  draft.seen.push_back(&schema);
  const auto trail = std::make_shared<const Trail>(Trail{&schema, task.trail});
  const json::object& object = schema.get_object();
  GENESIS_TRY_VOID(add_keywords(object, pointer, draft.facts));
  if (const json::value* reference = object.if_contains("$ref")) {
    if (!reference->is_string()) {
      return invalid_schema(pointer, "$ref is not a string");
    }
    const std::string_view target = reference->get_string();
    GENESIS_TRY(const json::value* found, resolve(target, pointer));
    draft.tasks.push_back({{found, std::string(target.substr(target.find('#') + 1))}, trail});
  }
  std::vector<Draft> open;
  open.push_back(std::move(draft));
  for (const std::string_view key : {"allOf", "anyOf", "oneOf"}) {
    const json::value* list = object.if_contains(key);
    if (list == nullptr) {
      continue;
    }
    const std::string base = child_pointer(pointer, key);
    if (!list->is_array() || list->get_array().empty()) {
      return invalid_schema(base, "not a list of schemas");
    }
    const json::array& branches = list->get_array();
    if (key == "allOf") {
      for (Draft& one : open) {
        // Tasks are taken from the back; members keep the order in which they are declared.
        for (std::size_t i = branches.size(); i-- > 0;) {
          one.tasks.push_back({{&branches[i], fmt::format("{}/{}", base, i)}, trail});
        }
      }
      continue;
    }
    std::vector<Draft> combined;
    for (const Draft& one : open) {
      for (std::size_t i = 0; i < branches.size(); ++i) {
        Draft& copy = combined.emplace_back(one);
        copy.tasks.push_back({{&branches[i], fmt::format("{}/{}", base, i)}, trail});
        if (key == "oneOf" && branches.size() > 1) {
          copy.facts.branches.push_back({{list, base}, i});
        }
      }
      if (combined.size() > kMostAlternatives) {
        return invalid_schema(base, "too many combinations of anyOf and oneOf");
      }
    }
    open = std::move(combined);
  }
  if (open.size() == 1) {
    draft = std::move(open.front());
    return true;
  }
  // The first branch comes first out of `drafts`.
  for (std::size_t i = open.size(); i-- > 0;) {
    drafts.push_back(std::move(open[i]));
  }
  return false;
}

Result<void> FactFinder::add_types(const json::value& value,
                                   const std::string& pointer,
                                   Facts& facts) {
  std::uint8_t bits = 0;
  const auto add = [&](const json::value& name) {
    const auto found = std::ranges::find_if(kTypeNames, [&](const TypeName& type) {
      return name.is_string() && type.name == std::string_view(name.get_string());
    });
    if (found == kTypeNames.end()) {
      return false;
    }
    bits |= found->bits;
    return true;
  };
  bool known = !value.is_array() && add(value);
  if (value.is_array()) {
    known = std::ranges::all_of(value.get_array(), add);
  }
  if (!known) {
    return invalid_schema(child_pointer(pointer, "type"), "not the name of a type");
  }
  facts.types &= bits;
  return {};
}

Result<void> FactFinder::add_keywords(const json::object& schema,
                                      const std::string& pointer,
                                      Facts& facts) {
  // OpenAPI's way to say "or null".
  const json::value* nullable = schema.if_contains("nullable");
  if (const json::value* type = schema.if_contains("type")) {
    Facts own;
    GENESIS_TRY_VOID(add_types(*type, pointer, own));
    const bool or_null = nullable != nullptr && nullable->is_bool() && nullable->get_bool();
    facts.types &= own.types | (or_null ? kNullType : 0);
  }
  for (const auto& member : schema) {
    GENESIS_TRY_VOID(add_keyword(member.key(), member.value(), pointer, facts));
  }
  ObjectRules rules{.pointer = pointer};
  const auto object_of = [&](std::string_view key) -> Result<const json::object*> {
    const json::value* value = schema.if_contains(key);
    if (value != nullptr && !value->is_object()) {
      return invalid_schema(child_pointer(pointer, key), "not an object");
    }
    return value == nullptr ? nullptr : &value->get_object();
  };
  GENESIS_TRY(rules.properties, object_of("properties"));
  GENESIS_TRY(rules.patterns, object_of("patternProperties"));
  rules.additional = schema.if_contains("additionalProperties");
  if (rules.properties != nullptr || rules.patterns != nullptr || rules.additional != nullptr) {
    facts.objects.push_back(std::move(rules));
  }
  ArrayRules arrays{.prefix_pointer = child_pointer(pointer, "prefixItems"),
                    .items_pointer = child_pointer(pointer, "items")};
  const json::value* prefix = schema.if_contains("prefixItems");
  arrays.items = schema.if_contains("items");
  if (arrays.items != nullptr && arrays.items->is_array()) {
    // Before draft 2020-12 a list of items was what prefixItems is now.
    prefix = std::exchange(arrays.items, schema.if_contains("additionalItems"));
    arrays.prefix_pointer =
        std::exchange(arrays.items_pointer, child_pointer(pointer, "additionalItems"));
  }
  if (prefix != nullptr && !prefix->is_array()) {
    return invalid_schema(arrays.prefix_pointer, "not a list of schemas");
  }
  arrays.prefix = prefix == nullptr ? nullptr : &prefix->get_array();
  if (arrays.prefix != nullptr || arrays.items != nullptr) {
    facts.arrays.push_back(std::move(arrays));
  }
  return {};
}

namespace {

struct CountKeyword {
  std::string_view name;
  CountRange Facts::* range;
  bool is_most;
};

constexpr std::array<CountKeyword, 6> kCountKeywords = {
    {{"minLength", &Facts::length, false},
     {"maxLength", &Facts::length, true},
     {"minItems", &Facts::items, false},
     {"maxItems", &Facts::items, true},
     {"minProperties", &Facts::properties, false},
     {"maxProperties", &Facts::properties, true}}};

Result<bool> add_count(std::string_view key,
                       const json::value& value,
                       const std::string& at,
                       Facts& facts) {
  const auto keyword = std::ranges::find(kCountKeywords, key, &CountKeyword::name);
  if (keyword == kCountKeywords.end()) {
    return false;
  }
  const auto count = count_of(value);
  if (!count) {
    return invalid_schema(at, "not a whole number from 0");
  }
  CountRange& range = facts.*(keyword->range);
  if (keyword->is_most) {
    range.most = std::min(range.most.value_or(*count), *count);
  } else {
    range.least = std::max(range.least, *count);
  }
  return true;
}

Result<bool> add_number(std::string_view key,
                        const json::value& value,
                        const std::string& at,
                        Facts& facts) {
  const bool low = key == "minimum" || key == "exclusiveMinimum";
  const bool high = key == "maximum" || key == "exclusiveMaximum";
  if (!low && !high && key != "multipleOf") {
    return false;
  }
  if (value.is_bool() && key.starts_with("exclusive")) {
    // Draft 4: a flag of the neighbour.
    return value.get_bool() ? Result<bool>(unsupported_keyword(key, at)) : Result<bool>(true);
  }
  const auto number = decimal_of(value);
  if (!number) {
    return invalid_schema(at, "not a number");
  }
  if (key == "multipleOf") {
    if (number->zero() || number->negative) {
      return invalid_schema(at, "not above 0");
    }
    facts.factors.emplace_back(*number, at);
    return true;
  }
  const Bound bound{.value = *number, .exclusive = key.starts_with("exclusive")};
  if (low) {
    facts.range.raise(bound);
  } else {
    facts.range.lower(bound);
  }
  return true;
}

Result<void> add_required(const json::value& value, const std::string& at, Facts& facts) {
  if (value.is_bool()) {
    return {};  // draft 3 and OpenAPI parameters: said of the member itself
  }
  if (!value.is_array()) {
    return invalid_schema(at, "not a list of names");
  }
  for (const json::value& name : value.get_array()) {
    if (!name.is_string()) {
      return invalid_schema(at, "not a list of names");
    }
    const std::string text(name.get_string());
    if (!contains(facts.required, text)) {
      facts.required.push_back(text);
    }
  }
  return {};
}

}  // namespace

Result<void> FactFinder::add_keyword(std::string_view key,
                                     const json::value& value,
                                     const std::string& pointer,
                                     Facts& facts) {
  if (contains(kAnnotations, key)) {
    return {};
  }
  const std::string at = child_pointer(pointer, key);
  if (contains(kUnsupported, key)) {
    return unsupported_keyword(key, at);
  }
  GENESIS_TRY(const bool counted, add_count(key, value, at, facts));
  GENESIS_TRY(const bool number, add_number(key, value, at, facts));
  if (counted || number) {
    return {};
  }
  if (key == "required") {
    return add_required(value, at, facts);
  }
  if (key == "const") {
    restrict_to(facts, {&value});
  } else if (key == "enum") {
    if (!value.is_array()) {
      return invalid_schema(at, "not a list of values");
    }
    std::vector<const json::value*> values;
    for (const json::value& one : value.get_array()) {
      values.push_back(&one);
    }
    restrict_to(facts, std::move(values));
  } else if (key == "pattern" || key == "format") {
    if (!value.is_string()) {
      return invalid_schema(at, "not a string");
    }
    auto& list = key == "pattern" ? facts.patterns : facts.formats;
    list.push_back({std::string(value.get_string()), at});
  } else if (key == "uniqueItems") {
    if (value.is_bool() && value.get_bool()) {
      facts.unique_pointer = at;
    }
  } else if (key == "propertyNames") {
    facts.names.push_back({&value, at});
  } else if (key == "unevaluatedProperties") {
    facts.unevaluated.push_back({&value, at});
  }
  return {};
}

const json::value* FactFinder::find_anchor(const json::value& within,
                                           std::string_view name,
                                           std::size_t depth) {
  if (depth > kMaxJsonDepth) {
    return nullptr;
  }
  if (within.is_array()) {
    for (const json::value& item : within.get_array()) {
      if (const json::value* found = find_anchor(item, name, depth + 1)) {
        return found;
      }
    }
  }
  if (!within.is_object()) {
    return nullptr;
  }
  const json::value* anchor = within.get_object().if_contains("$anchor");
  if (anchor != nullptr && anchor->is_string() && std::string_view(anchor->get_string()) == name) {
    return &within;
  }
  for (const auto& member : within.get_object()) {
    if (const json::value* found = find_anchor(member.value(), name, depth + 1)) {
      return found;
    }
  }
  return nullptr;
}

Result<const json::value*> FactFinder::resolve(std::string_view reference,
                                               const std::string& pointer) {
  const std::string at = child_pointer(pointer, "$ref");
  if (!reference.starts_with('#')) {
    return fail_param(at,
                      fmt::format("the schema keyword '$ref' at '{}' leads out of the document to "
                                  "'{}'; only references that begin with '#' are supported",
                                  at,
                                  reference),
                      ErrorCode::kUnsupported);
  }
  reference.remove_prefix(1);
  const json::value* found = &document_;
  if (!reference.empty() && !reference.starts_with('/')) {
    found = find_anchor(document_, reference, 0);
  }
  while (found != nullptr && reference.starts_with('/')) {
    reference.remove_prefix(1);
    const std::size_t end = std::min(reference.find('/'), reference.size());
    const std::string token = unescape_pointer(reference.substr(0, end));
    reference.remove_prefix(end);
    std::size_t index = 0;
    if (found->is_object()) {
      found = found->get_object().if_contains(token);
    } else if (found->is_array() &&
               std::from_chars(token.data(), token.data() + token.size(), index).ec ==
                   std::errc() &&
               index < found->get_array().size()) {
      found = &found->get_array()[index];
    } else {
      found = nullptr;
    }
  }
  if (found == nullptr) {
    return invalid_schema(at, "nothing is at the place $ref names");
  }
  return found;
}

}  // namespace genesis::text::grammar
