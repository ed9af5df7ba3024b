#include "server/parse_format.h"

#include "base/json.h"
#include "server/fields.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace genesis::server {

namespace json = boost::json;

namespace {

using Kind = AnswerFormat::Kind;

AnswerFormat make(Kind kind, std::string source, std::string_view field) {
  return {.kind = kind, .source = std::move(source), .strict = false, .field = std::string(field)};
}

Result<const json::object*> object_at(const json::object& parent,
                                      std::string_view key,
                                      const std::string& place) {
  const json::object* object = is_given(parent, key) ? parent.at(key).if_object() : nullptr;
  if (object == nullptr) {
    return fail_param(place, fmt::format("'{}' must be an object", place));
  }
  return object;
}

// A JSON Schema: an object, a boolean, or either of them as JSON text.
Result<std::string> schema_text(const json::value& schema, const std::string& place) {
  if (schema.is_object() || schema.is_bool()) {
    return json::serialize(schema);
  }
  if (schema.is_string()) {
    const auto parsed = parse_json(schema.get_string());
    if (parsed && (parsed->is_object() || parsed->is_bool())) {
      return json::serialize(*parsed);
    }
  }
  return fail_param(place, fmt::format("'{}' must be a JSON Schema: an object", place));
}

Result<std::string> text_at(const json::object& parent,
                            std::string_view key,
                            const std::string& place) {
  const json::value* text = parent.if_contains(key);
  if (text == nullptr || !text->is_string() || text->get_string().empty()) {
    return fail_param(place, fmt::format("'{}' must be a string that is not empty", place));
  }
  return std::string(text->get_string());
}

// One of several fixed texts, as a schema; the answer is the text itself, so it becomes a pattern.
Result<std::string> choice_pattern(const json::value& choices, const std::string& place) {
  const json::array* list = choices.if_array();
  if (list == nullptr || list->empty()) {
    return fail_param(place,
                      fmt::format("'{}' must be a list of strings that is not empty", place));
  }
  std::string pattern;
  for (std::size_t i = 0; i < list->size(); ++i) {
    if (!(*list)[i].is_string()) {
      const std::string item = fmt::format("{}[{}]", place, i);
      return fail_param(item, fmt::format("'{}' must be a string", item));
    }
    pattern += i == 0 ? "" : "|";
    for (const char c : (*list)[i].get_string()) {
      if (std::string_view(R"(\^$.|?*+()[]{}/-)").contains(c)) {
        pattern += '\\';
      }
      pattern += c;
    }
  }
  return pattern;
}

Result<AnswerFormat> json_schema_format(const json::object& format) {
  const std::string place = "response_format.json_schema";
  GENESIS_TRY(const json::object* holder, object_at(format, "json_schema", place));
  GENESIS_TRY(const auto name, get_string(*holder, "name", place + "."));
  GENESIS_TRY(const auto strict, get_bool(*holder, "strict", place + "."));
  const json::value* schema = holder->if_contains("schema");
  if (schema == nullptr || schema->is_null()) {
    return fail_param(place + ".schema", fmt::format("'{}.schema' is required", place));
  }
  GENESIS_TRY(std::string text, schema_text(*schema, place + ".schema"));
  AnswerFormat out = make(Kind::kJsonSchema, std::move(text), "response_format");
  out.strict = strict.value_or(false);
  return out;
}

Result<AnswerFormat> response_format(const json::object& body) {
  const std::string_view field = "response_format";
  GENESIS_TRY(const json::object* format, object_at(body, field, std::string(field)));
  GENESIS_TRY(const auto type, get_string(*format, "type", "response_format."));
  if (!type) {
    return fail_param("response_format.type", "'response_format.type' is required");
  }
  if (*type == "text") {
    return AnswerFormat{};
  }
  if (*type == "json_schema" && !format->contains("value")) {
    return json_schema_format(*format);
  }
  // TGI's chat route says {"type": "json" | "regex", "value": ...}, Fireworks adds "grammar".
  const json::value* value = format->if_contains(*type == "grammar" ? "grammar" : "value");
  if (*type == "json_object" && value == nullptr) {
    return make(Kind::kJsonObject, {}, field);
  }
  if (value != nullptr && (*type == "json" || *type == "json_object" || *type == "json_schema")) {
    GENESIS_TRY(std::string text, schema_text(*value, "response_format.value"));
    return make(Kind::kJsonSchema, std::move(text), field);
  }
  if (*type == "regex") {
    GENESIS_TRY(std::string text, text_at(*format, "value", "response_format.value"));
    return make(Kind::kRegex, std::move(text), field);
  }
  if (*type == "grammar") {
    GENESIS_TRY(std::string text, text_at(*format, "grammar", "response_format.grammar"));
    return make(Kind::kGbnf, std::move(text), field);
  }
  return fail_param("response_format.type",
                    fmt::format("'response_format.type' is '{}'; known are text, json_object, "
                                "json_schema, regex and grammar",
                                *type));
}

// The members that vLLM's structured_outputs has, and its older guided_* fields under longer names.
Result<std::optional<AnswerFormat>> structured(const json::object& from,
                                               const std::string& prefix) {
  std::optional<AnswerFormat> out;
  for (const std::string_view key : {"json", "regex", "choice", "grammar", "json_object"}) {
    const std::string place = prefix + std::string(key);
    const std::string_view name = prefix.ends_with('_') ? std::string_view(place) : key;
    if (!is_given(from, name)) {
      continue;
    }
    if (out) {
      return fail_param(place,
                        fmt::format("'{}' and '{}' cannot both be given", out->field, place));
    }
    const json::value& value = from.at(name);
    std::string source;
    Kind kind = Kind::kJsonSchema;
    if (key == "json") {
      GENESIS_TRY(source, schema_text(value, place));
    } else if (key == "choice") {
      kind = Kind::kRegex;
      GENESIS_TRY(source, choice_pattern(value, place));
    } else if (key == "json_object") {
      GENESIS_TRY(const auto wanted, get_bool(from, name, prefix));
      if (!wanted.value_or(false)) {
        continue;
      }
      kind = Kind::kJsonObject;
    } else {
      kind = key == "regex" ? Kind::kRegex : Kind::kGbnf;
      GENESIS_TRY(source, text_at(from, name, place));
    }
    out = make(kind, std::move(source), place);
  }
  return out;
}

// Everything that can give a form; exactly one may.
Result<AnswerFormat> read_format(const json::object& body) {
  std::vector<AnswerFormat> found;
  if (is_given(body, "response_format")) {
    GENESIS_TRY(auto format, response_format(body));
    if (format.kind != Kind::kText) {
      found.push_back(std::move(format));
    }
  }
  if (is_given(body, "structured_outputs")) {
    GENESIS_TRY(const json::object* from,
                object_at(body, "structured_outputs", "structured_outputs"));
    GENESIS_TRY(auto format, structured(*from, "structured_outputs."));
    if (format) {
      found.push_back(*std::move(format));
    }
  }
  GENESIS_TRY(auto guided, structured(body, "guided_"));
  if (guided) {
    found.push_back(*std::move(guided));
  }
  if (is_given(body, "grammar")) {  // llama-server's name
    GENESIS_TRY(std::string text, text_at(body, "grammar", "grammar"));
    found.push_back(make(Kind::kGbnf, std::move(text), "grammar"));
  }
  if (found.size() > 1) {
    return fail_param(
        found[1].field,
        fmt::format("'{}' and '{}' cannot both be given", found[0].field, found[1].field));
  }
  return found.empty() ? AnswerFormat{} : std::move(found.front());
}

Result<ToolChoice> read_tool_choice(const json::object& body) {
  ToolChoice out;
  GENESIS_TRY(const auto parallel, get_bool(body, "parallel_tool_calls"));
  out.parallel = parallel.value_or(true);
  if (!is_given(body, "tool_choice")) {
    return out;
  }
  const json::value& choice = body.at("tool_choice");
  if (choice.is_string()) {
    const std::string_view word = choice.get_string();
    if (word != "none" && word != "auto" && word != "required") {
      return fail_param("tool_choice",
                        "'tool_choice' must be 'none', 'auto', 'required' or an object");
    }
    out.mode = word == "none"   ? ToolChoice::Mode::kNone
               : word == "auto" ? ToolChoice::Mode::kAuto
                                : ToolChoice::Mode::kRequired;
    return out;
  }
  GENESIS_TRY(const json::object* object, object_at(body, "tool_choice", "tool_choice"));
  GENESIS_TRY(const auto type, get_string(*object, "type", "tool_choice."));
  if (!type) {
    return fail_param("tool_choice.type", "'tool_choice.type' is required");
  }
  // Another type (custom, allowed_tools, a tool of the upstream's own) is for who knows it.
  out.mode = ToolChoice::Mode::kNamed;
  if (*type == "function") {
    GENESIS_TRY(const json::object* function,
                object_at(*object, "function", "tool_choice.function"));
    GENESIS_TRY(auto name, get_string(*function, "name", "tool_choice.function."));
    if (!name || name->empty()) {
      return fail_param("tool_choice.function.name", "'tool_choice.function.name' is required");
    }
    out.name = *std::move(name);
  }
  return out;
}

}  // namespace

Result<void> read_answer_form(const json::object& body, ChatInput& input) {
  GENESIS_TRY(input.format, read_format(body));
  GENESIS_TRY(input.tool_choice, read_tool_choice(body));
  if (is_given(body, "chat_template_kwargs")) {
    GENESIS_TRY(const json::object* variables,
                object_at(body, "chat_template_kwargs", "chat_template_kwargs"));
    input.template_variables = json::serialize(*variables);
  }
  if (input.format.kind != Kind::kText) {
    input.demands.push_back(input.format.field);
  }
  if (input.tool_choice.mode == ToolChoice::Mode::kRequired ||
      input.tool_choice.mode == ToolChoice::Mode::kNamed) {
    input.demands.emplace_back("tool_choice");
  }
  for (const std::string_view old : {"functions", "function_call"}) {
    if (is_given(body, old)) {
      input.demands.emplace_back(old);
    }
  }
  return {};
}

Result<AnswerFormat> read_tgi_grammar(const json::value& grammar, std::string_view prefix) {
  const std::string place = fmt::format("{}grammar", prefix);
  const json::object* object = grammar.if_object();
  if (object == nullptr) {
    return fail_param(place, "`grammar` must be an object with a `type` and a `value`");
  }
  GENESIS_TRY(const auto type, get_string(*object, "type", place + "."));
  const json::value* value = object->if_contains("value");
  if (!type || value == nullptr) {
    return fail_param(place, "`grammar` must be an object with a `type` and a `value`");
  }
  if (*type == "regex") {
    GENESIS_TRY(std::string text, text_at(*object, "value", place + ".value"));
    return make(Kind::kRegex, std::move(text), place);
  }
  if (*type == "json" || *type == "json_object") {
    GENESIS_TRY(std::string text, schema_text(*value, place + ".value"));
    return make(Kind::kJsonSchema, std::move(text), place);
  }
  if (*type == "json_schema") {
    const json::object* holder = value->if_object();
    const json::value* schema = holder == nullptr ? nullptr : holder->if_contains("schema");
    GENESIS_TRY(std::string text, schema_text(schema ? *schema : *value, place + ".value"));
    return make(Kind::kJsonSchema, std::move(text), place);
  }
  return fail_param(place + ".type", "`grammar` type must be json, json_schema or regex");
}

}  // namespace genesis::server
