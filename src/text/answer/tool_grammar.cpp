// Canonical forms only: what the parser tolerates beside them a model needs not be offered.
#include "text/answer/tool_grammar.h"

#include "base/json.h"
#include "text/answer/tool_dialect.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace genesis::text {

namespace json = boost::json;

namespace {

using Expr = GrammarBuilder::Expr;

// Between </think> and the answer models write one or two newlines.
constexpr std::size_t kMostBlanks = 4;

// How the format writes calls: before the first, between, behind the last, and around each.
struct Shape {
  std::string_view marker;  // opens; may be a special token
  std::string_view open;
  std::string_view between;
  std::string_view close;
  std::string_view end_marker;
  std::string_view call_open;
  std::string_view call_close;
};

Shape shape_of(ToolFormat format) {
  switch (format) {
    case ToolFormat::kLlama3:
      return {.between = "; "};
    case ToolFormat::kMistral:
      return {.marker = "[TOOL_CALLS]", .open = "[", .between = ", ", .close = "]"};
    case ToolFormat::kGemmaJson:
      return {.between = "\n", .call_open = "```json\n", .call_close = "\n```"};
    case ToolFormat::kPhi4:
      return {.marker = "<|tool_call|>",
              .open = "[",
              .between = ", ",
              .close = "]",
              .end_marker = "<|/tool_call|>"};
    case ToolFormat::kDeepSeek:
      return {.marker = "<｜tool▁calls▁begin｜>",
              .between = "\n",
              .end_marker = "<｜tool▁calls▁end｜>"};
    case ToolFormat::kNone:
    case ToolFormat::kHermes:
      break;
  }
  return {.between = "\n", .call_open = "\n", .call_close = "\n"};
}

// The schema of a tool's arguments, which must be an object's: without a `type` it says so only in
// effect, when it is no combination of others.
Result<std::string> object_schema(const ToolSpec& tool, const std::string& place) {
  auto parsed = parse_json(tool.parameters_json);
  if (!parsed || !parsed->is_object()) {
    return fail_param(place, fmt::format("'{}' must be a JSON Schema object", place));
  }
  const json::object& schema = parsed->get_object();
  if (const json::value* type = schema.if_contains("type")) {
    if (type->is_string() && type->get_string() == "object") {
      return tool.parameters_json;
    }
    return fail_param(place + ".type",
                      fmt::format("'{}.type' must be 'object': arguments are one", place));
  }
  const auto combines = [&schema](std::string_view key) { return schema.contains(key); };
  constexpr std::array<std::string_view, 6> kCombiners{
      "$ref", "anyOf", "oneOf", "allOf", "enum", "const"};
  if (std::ranges::any_of(kCombiners, combines)) {
    return tool.parameters_json;
  }
  const std::string_view rest =
      std::string_view(tool.parameters_json).substr(tool.parameters_json.find('{') + 1);
  return fmt::format("{{\"type\":\"object\"{}{}", schema.empty() ? "" : ",", rest);
}

class Writer {
 public:
  // `first` is the place of the first tool in the request.
  Writer(GrammarBuilder& builder, const ToolLanguage& language, std::size_t first = 0)
      : builder_(builder), language_(language), first_(first) {}

  // A marker as the vocabulary has it.
  Expr marker(std::string_view text) {
    const auto id = language_.tokenizer->token_id(text);
    return id && language_.tokenizer->is_special(*id) ? builder_.special_token(text)
                                                      : builder_.literal(text);
  }

  // Mistral's later vocabularies have a token between name and arguments.
  bool mistral_header() const {
    return language_.format == ToolFormat::kMistral &&
           language_.tokenizer->token_id("[ARGS]").has_value();
  }

  Result<Expr> calls(CallCount count) {
    if (mistral_header()) {
      return header_calls(count);
    }
    const Shape shape = shape_of(language_.format);
    GENESIS_TRY(const Expr call, any_call(shape));
    const std::array<Expr, 2> next{builder_.literal(shape.between), call};
    // Sentencepiece vocabularies have the bracket behind a special token with a blank before it.
    const bool blank = language_.format == ToolFormat::kMistral;
    const std::array<Expr, 7> all{
        marker_or_nothing(shape.marker),
        builder_.repeat(builder_.literal(" "), 0, blank ? 1 : 0),
        builder_.literal(shape.open),
        call,
        builder_.repeat(builder_.sequence(next), count.least - 1, less_one(count.most)),
        builder_.literal(shape.close),
        marker_or_nothing(shape.end_marker)};
    return builder_.sequence(all);
  }

 private:
  static std::optional<std::size_t> less_one(std::optional<std::size_t> most) {
    return most ? std::optional(*most - 1) : std::nullopt;
  }

  Expr marker_or_nothing(std::string_view text) {
    return text.empty() ? builder_.literal("") : marker(text);
  }

  Result<Expr> arguments(std::size_t index) {
    const ToolSpec& tool = language_.tools[index];
    if (tool.parameters_json.empty()) {
      return builder_.literal("{}");
    }
    const std::string place = fmt::format("tools[{}].function.parameters", first_ + index);
    GENESIS_TRY(const std::string schema, object_schema(tool, place));
    auto expr = builder_.json_schema(schema, {.closed_objects = true});
    if (!expr && expr.error().code == ErrorCode::kUnsupported && !tool.strict) {
      return builder_.json_object();
    }
    if (!expr) {
      Error error = std::move(expr).error();
      error.message = fmt::format("'{}': {}", place, error.message);
      error.param = place;
      return std::unexpected(std::move(error));
    }
    return expr;
  }

  Result<Expr> any_call(const Shape& shape) {
    std::vector<Expr> choices;
    for (std::size_t i = 0; i < language_.tools.size(); ++i) {
      GENESIS_TRY(const Expr one, arguments(i));
      choices.push_back(language_.format == ToolFormat::kDeepSeek ? deepseek_call(i, one)
                                                                  : json_call(i, one));
    }
    const bool hermes = language_.format == ToolFormat::kHermes;
    const std::array<Expr, 5> around{marker_or_nothing(hermes ? "<tool_call>" : ""),
                                     builder_.literal(shape.call_open),
                                     builder_.choice(choices),
                                     builder_.literal(shape.call_close),
                                     marker_or_nothing(hermes ? "</tool_call>" : "")};
    return builder_.sequence(around);
  }

  Expr json_call(std::size_t index, Expr arguments) {
    const std::string head = fmt::format("{{\"name\": \"{}\", \"{}\": ",
                                         language_.tools[index].name,
                                         tool_dialect(language_.format).arguments_name);
    const std::array<Expr, 3> parts{builder_.literal(head), arguments, builder_.literal("}")};
    return builder_.sequence(parts);
  }

  Expr deepseek_call(std::size_t index, Expr arguments) {
    const std::string name = language_.tools[index].name + "\n```json\n";
    const std::array<Expr, 7> parts{marker("<｜tool▁call▁begin｜>"),
                                    builder_.literal("function"),
                                    marker("<｜tool▁sep｜>"),
                                    builder_.literal(name),
                                    arguments,
                                    builder_.literal("\n```"),
                                    marker("<｜tool▁call▁end｜>")};
    return builder_.sequence(parts);
  }

  // [TOOL_CALLS]name[ARGS]{...}, the marker before each.
  Result<Expr> header_calls(CallCount count) {
    std::vector<Expr> choices;
    for (std::size_t i = 0; i < language_.tools.size(); ++i) {
      GENESIS_TRY(const Expr one, arguments(i));
      const std::array<Expr, 3> parts{
          builder_.literal(language_.tools[i].name), marker("[ARGS]"), one};
      choices.push_back(builder_.sequence(parts));
    }
    const std::array<Expr, 2> call{marker("[TOOL_CALLS]"), builder_.choice(choices)};
    return builder_.repeat(builder_.sequence(call), count.least, count.most);
  }

  GrammarBuilder& builder_;
  const ToolLanguage& language_;
  std::size_t first_;
};

// What free text must not contain, as a call begins so.
std::string_view call_opening(ToolFormat format) {
  switch (format) {
    case ToolFormat::kLlama3:
      return "{\"name\": \"";
    case ToolFormat::kGemmaJson:
      return "```json\n{\"name\": \"";
    default:
      return tool_dialect(format).openers.front().marker;
  }
}

}  // namespace

Result<Expr> tool_calls_expr(GrammarBuilder& builder,
                             const ToolLanguage& language,
                             CallCount count) {
  return Writer(builder, language).calls(count);
}

Result<Expr> tool_answer_expr(GrammarBuilder& builder,
                              const ToolLanguage& language,
                              const ToolChoice& choice,
                              CallCount count) {
  if (choice.kind == ToolChoice::Kind::kRequired) {
    return tool_calls_expr(builder, language, count);
  }
  if (choice.kind == ToolChoice::Kind::kNamed) {
    const auto named = std::ranges::find(language.tools, choice.name, &ToolSpec::name);
    if (named == language.tools.end()) {
      return fail_param("tool_choice.function.name",
                        fmt::format("no tool '{}' among 'tools'", choice.name));
    }
    const ToolLanguage one{
        .format = language.format, .tools = {&*named, 1}, .tokenizer = language.tokenizer};
    return Writer(builder, one, static_cast<std::size_t>(named - language.tools.begin()))
        .calls(count);
  }
  const Expr text = builder.text_without(call_opening(language.format));
  if (choice.kind == ToolChoice::Kind::kNone) {
    return text;
  }
  GENESIS_TRY(const Expr calls, tool_calls_expr(builder, language, count));
  if (language.format == ToolFormat::kLlama3) {
    const std::array<Expr, 2> either{text, calls};
    return builder.choice(either);
  }
  const std::array<Expr, 2> both{text, builder.repeat(calls, 0, 1)};
  return builder.sequence(both);
}

Expr reasoning_prefix_expr(GrammarBuilder& builder,
                           ReasoningStart start,
                           const Tokenizer& tokenizer) {
  const ReasoningMarkers markers = reasoning_markers(start.format);
  if (markers.open.empty()) {
    return builder.literal("");
  }
  const ToolLanguage language{.tokenizer = &tokenizer};
  Writer writer(builder, language);
  std::bitset<256> blank;
  blank.set(' ').set('\n');
  const std::array<Expr, 3> rest{builder.text_without(markers.close),
                                 writer.marker(markers.close),
                                 builder.repeat(builder.byte(blank), 0, kMostBlanks)};
  const Expr inside = builder.sequence(rest);
  if (start.inside) {
    return inside;
  }
  const std::array<Expr, 2> block{writer.marker(markers.open), inside};
  return builder.repeat(builder.sequence(block), 0, 1);
}

}  // namespace genesis::text
