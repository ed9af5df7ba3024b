#include "text/chat_template.h"

#include "base/clock.h"
#include "text/assistant_spans.h"
#include "text/jinja/inspect.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json_value.h"
#include "text/jinja/parser.h"
#include "text/unicode.h"

#include <utility>

namespace genesis::text {

namespace {

using jinja::JsonSource;
using jinja::Value;

Result<void> define_all(jinja::Interpreter& interpreter,
                        std::string_view json,
                        std::string_view what,
                        JsonSource source) {
  if (json.empty()) {
    return {};
  }
  GENESIS_TRY(const Value values, jinja::value_from_json(json, what, source));
  if (values.as_dict() == nullptr) {
    return fail_param(std::string(what), "the template's variables must be a JSON object");
  }
  for (const auto& [name, value] : values.as_dict()->items) {
    interpreter.define(name.as_text()->bytes, value);
  }
  return {};
}

// Adds [begin, end), which does not begin before the last span.
void add_span(std::vector<PlainSpan>& spans, const jinja::Mark& mark) {
  if (!spans.empty() && spans.back().end == mark.begin) {
    spans.back().end = mark.end;
  } else {
    spans.push_back({mark.begin, mark.end});
  }
}

void add_source(std::vector<SourceSpan>& sources, const jinja::Mark& mark) {
  const jinja::Origin& origin = mark.origin;
  const SourceSpan span{
      .begin = mark.begin,
      .end = mark.end,
      .message = origin.message == jinja::kNoMessage ? std::nullopt : std::optional(origin.message),
      .part = origin.part};
  if (!sources.empty() && sources.back().end == span.begin &&
      sources.back().message == span.message && sources.back().part == span.part) {
    sources.back().end = span.end;
  } else {
    sources.push_back(span);
  }
}

RenderedPrompt prompt_of(jinja::Text text) {
  RenderedPrompt out;
  for (const jinja::Mark& mark : text.marks) {
    if (mark.origin.foreign) {
      add_span(out.from_messages, mark);
      add_source(out.sources, mark);
    }
    if (mark.origin.generated) {
      add_span(out.from_assistant, mark);
    }
  }
  out.text = std::move(text.bytes);
  return out;
}

}  // namespace

struct ChatTemplate::Program {
  std::string source;
  std::unique_ptr<const jinja::Template> body;
  TemplateLimits limits;
  bool marks_generation;

  Result<jinja::Text> run(const RenderInput& input, const Value& messages) const;
  Result<Turns> turns(const RenderInput& input, const Value& messages) const;
};

Result<jinja::Text> ChatTemplate::Program::run(const RenderInput& input,
                                               const Value& messages) const {
  TemplateLimits with_input = limits;
  with_input.steps += input.messages.size() + input.tools.size() + input.client_values.size();
  jinja::Interpreter interpreter(*body, with_input);
  interpreter.set_now(input.now.value_or(SystemClock().unix_ms() / 1000));
  interpreter.define("tools", Value::none());
  interpreter.define("documents", Value::none());
  GENESIS_TRY_VOID(
      define_all(interpreter, input.model_values, "model_values", JsonSource::kTrusted));
  GENESIS_TRY_VOID(
      define_all(interpreter, input.client_values, "chat_template_kwargs", JsonSource::kVariables));
  interpreter.define("messages", messages);
  if (!input.tools.empty()) {
    GENESIS_TRY(Value tools, jinja::value_from_json(input.tools, "tools", JsonSource::kTools));
    interpreter.define("tools", std::move(tools));
  }
  interpreter.define("add_generation_prompt", Value::boolean(input.add_generation_prompt));
  return interpreter.run();
}

// Refers to `input` and `messages`.
Result<Turns> ChatTemplate::Program::turns(const RenderInput& input, const Value& messages) const {
  const jinja::List* list = messages.as_list();
  if (list == nullptr) {
    return fail_param("messages", "the messages must be a JSON array");
  }
  Turns out;
  for (const Value& message : list->items) {
    const Value* role = message.as_dict() != nullptr ? message.as_dict()->find("role") : nullptr;
    const jinja::Text* name = role != nullptr ? role->as_text() : nullptr;
    out.roles.push_back(name != nullptr ? name->bytes : std::string());
  }
  out.end_tokens.assign(input.end_tokens.begin(), input.end_tokens.end());
  if (!input.model_values.empty()) {
    GENESIS_TRY(const Value values,
                jinja::value_from_json(input.model_values, "model_values", JsonSource::kTrusted));
    const Value* eos = values.as_dict() != nullptr ? values.as_dict()->find("eos_token") : nullptr;
    if (eos != nullptr && eos->as_text() != nullptr) {
      out.end_tokens.push_back(eos->as_text()->bytes);
    }
  }
  out.render_first = [this, input, list](std::size_t count) -> Result<RenderedPrompt> {
    RenderInput prompted = input;
    prompted.add_generation_prompt = true;
    const auto end = list->items.begin() + static_cast<std::ptrdiff_t>(count);
    GENESIS_TRY(jinja::Text text, run(prompted, jinja::make_list({list->items.begin(), end})));
    return prompt_of(std::move(text));
  };
  return out;
}

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, TemplateLimits limits) {
  if (!is_valid_utf8(source)) {
    return fail(ErrorCode::kInvalidArgument, "the chat template is not valid UTF-8");
  }
  GENESIS_TRY(auto body, jinja::parse_template(source, {.depth = limits.depth}));
  const bool marks_generation = jinja::has_generation_blocks(*body);
  ChatTemplate out;
  out.program_ = std::make_shared<const Program>(
      Program{std::string(source), std::move(body), limits, marks_generation});
  return out;
}

std::string_view ChatTemplate::source() const {
  return program_->source;
}

Result<RenderedPrompt> ChatTemplate::render(const RenderInput& input) const {
  GENESIS_TRY(const Value messages,
              jinja::value_from_json(input.messages, "messages", JsonSource::kMessages));
  GENESIS_TRY(jinja::Text text, program_->run(input, messages));
  RenderedPrompt prompt = prompt_of(std::move(text));
  if (input.mark_assistant && !program_->marks_generation) {
    GENESIS_TRY(const Turns turns, program_->turns(input, messages));
    prompt.from_assistant = assistant_spans(prompt, turns);
  }
  return prompt;
}

Result<RenderedPrompt> ChatTemplate::render(std::string_view messages_json,
                                            std::string_view tools_json,
                                            std::string_view extra_json,
                                            bool add_generation_prompt) const {
  return render({.messages = messages_json,
                 .tools = tools_json,
                 .model_values = extra_json,
                 .add_generation_prompt = add_generation_prompt});
}

bool ChatTemplate::mentions(std::string_view literal) const {
  return jinja::mentions(*program_->body, literal);
}

bool ChatTemplate::uses_variable(std::string_view name) const {
  return jinja::reads_variable(*program_->body, name);
}

}  // namespace genesis::text
