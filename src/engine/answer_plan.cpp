#include "engine/answer_plan.h"

#include "base/sha256.h"
#include "text/answer/tool_grammar.h"
#include "text/answer/tool_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

namespace genesis::engine {

namespace {

using Builder = text::GrammarBuilder;
using Expr = Builder::Expr;
using Mode = ToolChoice::Mode;

// Everything that a form is built from; shared with the worker that builds it.
struct FormPlan {
  AnswerFormat format;
  Mode mode = Mode::kNone;
  bool parallel = true;
  std::vector<text::ToolSpec> tools;  // that may be called
  text::ToolFormat tool_format = text::ToolFormat::kNone;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  text::ReasoningFormat reasoning = text::ReasoningFormat::kNone;
  bool starts_in_reasoning = false;
};

Result<Expr> format_expr(Builder& builder, const AnswerFormat& format) {
  switch (format.kind) {
    case AnswerFormat::Kind::kText:
      break;
    case AnswerFormat::Kind::kJsonObject:
      return builder.json_object();
    case AnswerFormat::Kind::kJsonSchema:
      return builder.json_schema(format.source, {.closed_objects = format.strict});
    case AnswerFormat::Kind::kRegex:
      return builder.regex(format.source);
    case AnswerFormat::Kind::kGbnf:
      return builder.gbnf(format.source);
  }
  return fail(ErrorCode::kInternal, "an answer without a form has no language");
}

// What comes behind the thoughts.
Result<Expr> said_expr(Builder& builder, const FormPlan& plan) {
  if (plan.tools.empty()) {
    return format_expr(builder, plan.format);
  }
  const text::ToolLanguage language{
      .format = plan.tool_format, .tools = plan.tools, .tokenizer = plan.tokenizer.get()};
  // A named tool is called once, as OpenAI does it.
  const bool several = plan.parallel && plan.mode != Mode::kNamed;
  const text::CallCount count{.least = 1,
                              .most = several ? std::optional<std::size_t>() : std::size_t{1}};
  if (plan.mode == Mode::kAuto && plan.format.kind == AnswerFormat::Kind::kText) {
    return text::tool_answer_expr(builder, language, text::ToolChoice{}, count);
  }
  GENESIS_TRY(const Expr calls, text::tool_calls_expr(builder, language, count));
  if (plan.mode != Mode::kAuto) {
    return calls;
  }
  GENESIS_TRY(const Expr form, format_expr(builder, plan.format));
  return builder.choice(std::array{calls, form});
}

Result<Expr> build_form(Builder& builder, const FormPlan& plan) {
  GENESIS_TRY(const Expr said, said_expr(builder, plan));
  if (plan.reasoning == text::ReasoningFormat::kNone) {
    return said;
  }
  const Expr thought = text::reasoning_prefix_expr(
      builder, {.format = plan.reasoning, .inside = plan.starts_in_reasoning}, *plan.tokenizer);
  return builder.sequence(std::array{thought, said});
}

// Equal for equal plans: a digest of everything that build_form() reads.
std::string name_of(const FormPlan& plan) {
  Sha256 sha;
  const auto add = [&sha](std::string_view part) {
    sha.update(fmt::format("{}:", part.size()));
    sha.update(part);
  };
  add(fmt::format("{} {} {} {} {} {} {}",
                  static_cast<int>(plan.format.kind),
                  plan.format.strict,
                  static_cast<int>(plan.mode),
                  plan.parallel,
                  static_cast<int>(plan.tool_format),
                  static_cast<int>(plan.reasoning),
                  plan.starts_in_reasoning));
  add(plan.format.source);
  for (const text::ToolSpec& tool : plan.tools) {
    add(tool.name);
    add(tool.parameters_json);
    add(tool.strict ? "strict" : "");
  }
  return to_hex(sha.finish());
}

// The tools that the answer may call.
Result<std::vector<text::ToolSpec>> callable(const ToolChoice& choice,
                                             std::vector<text::ToolSpec> tools) {
  if (choice.mode == Mode::kNone) {
    return std::vector<text::ToolSpec>{};
  }
  if (choice.mode == Mode::kAuto) {
    return tools;
  }
  if (tools.empty()) {
    return fail_param("tool_choice", "'tool_choice' asks for a call, but there are no 'tools'");
  }
  if (choice.mode == Mode::kNamed) {
    std::erase_if(tools, [&](const text::ToolSpec& tool) { return tool.name != choice.name; });
    if (tools.empty()) {
      return fail_param(
          "tool_choice.function.name",
          fmt::format("'tool_choice' names '{}', which is none of the 'tools'", choice.name));
    }
  }
  return tools;
}

// What is asked of the form of the answer and this engine does not know: the fields from before
// `tools`.
Result<void> check_demands(const ChatInput& input) {
  for (const std::string& field : input.demands) {
    if (field != input.format.field && field != "tool_choice") {
      return fail_param(
          field,
          fmt::format("'{}' is not supported by this engine; use 'tools' and 'tool_choice'", field),
          ErrorCode::kUnsupported);
    }
  }
  return {};
}

}  // namespace

Result<AnswerPlan> plan_answer(const ChatRequest& request,
                               const TextAssets& assets,
                               const ModelVoice& voice) {
  const ChatInput& input = *request.input;
  GENESIS_TRY_VOID(check_demands(input));
  FormPlan form;
  if (is_chat(request.dialect)) {
    GENESIS_TRY(auto tools, text::parse_tools(input.tools_json));
    GENESIS_TRY(form.tools, callable(input.tool_choice, std::move(tools)));
  }
  AnswerPlan plan;
  GENESIS_TRY(plan.prompt, make_prompt(request, assets, voice, form.tools));
  if (is_chat(request.dialect) &&
      (!form.tools.empty() || voice.reasoning != text::ReasoningFormat::kNone)) {
    plan.parts = text::AnswerOptions{
        .tools = form.tools.empty() ? text::ToolFormat::kNone : voice.tools,
        .reasoning = voice.reasoning,
        .starts_in_reasoning = plan.prompt.starts_in_reasoning,
        .tool_names = text::tool_names(form.tools),
        .flow = input.tool_choice.mode == Mode::kAuto ? text::CallFlow::kLiveBehindMarker
                                                      : text::CallFlow::kLive,
    };
  }
  if (input.format.kind == AnswerFormat::Kind::kText && form.tools.empty()) {
    return plan;
  }
  form.format = input.format;
  form.mode = form.tools.empty() ? Mode::kNone : input.tool_choice.mode;
  form.parallel = input.tool_choice.parallel;
  form.tool_format = voice.tools;
  form.tokenizer = assets.tokenizer;
  form.reasoning = is_chat(request.dialect) ? voice.reasoning : text::ReasoningFormat::kNone;
  form.starts_in_reasoning = plan.prompt.starts_in_reasoning;
  plan.form_name = name_of(form);
  plan.form = [form = std::make_shared<const FormPlan>(std::move(form))](Builder& builder) {
    return build_form(builder, *form);
  };
  return plan;
}

Error form_error(Error error, const ChatRequest& request) {
  if (!error.param.starts_with("tools") && !request.input->format.field.empty()) {
    error.param = request.input->format.field;
  }
  return error;
}

}  // namespace genesis::engine
