#include "text/chat_template.h"

#include "text/jinja/interpreter.h"
#include "text/jinja/json_value.h"
#include "text/jinja/parser.h"
#include "text/unicode.h"

#include <utility>

namespace genesis::text {

struct ChatTemplate::Program {
  std::string source;
  std::unique_ptr<const jinja::Template> body;
  TemplateLimits limits;
};

Result<ChatTemplate> ChatTemplate::parse(std::string_view source, TemplateLimits limits) {
  if (!is_valid_utf8(source)) {
    return fail(ErrorCode::kInvalidArgument, "the chat template is not valid UTF-8");
  }
  GENESIS_TRY(auto body, jinja::parse_template(source, {.depth = limits.depth}));
  ChatTemplate out;
  out.program_ = std::make_shared<const Program>(Program{std::string(source), std::move(body), limits});
  return out;
}

std::string_view ChatTemplate::source() const {
  return program_->source;
}

Result<RenderedPrompt> ChatTemplate::render(std::string_view messages_json,
                                            std::string_view tools_json,
                                            std::string_view extra_json,
                                            bool add_generation_prompt) const {
  using jinja::Value;
  jinja::Interpreter interpreter(*program_->body, program_->limits);
  interpreter.define("tools", Value::none());
  interpreter.define("documents", Value::none());
  if (!extra_json.empty()) {
    GENESIS_TRY(const Value extra, jinja::value_from_json(extra_json, "extra", false));
    if (extra.as_dict() == nullptr) {
      return fail_param("extra", "the template's further variables must be a JSON object");
    }
    for (const auto& [name, value] : extra.as_dict()->items) {
      interpreter.define(name.as_text()->bytes, value);
    }
  }
  GENESIS_TRY(Value messages, jinja::value_from_json(messages_json, "messages", true));
  interpreter.define("messages", std::move(messages));
  if (!tools_json.empty()) {
    GENESIS_TRY(Value tools, jinja::value_from_json(tools_json, "tools", true));
    interpreter.define("tools", std::move(tools));
  }
  interpreter.define("add_generation_prompt", Value::boolean(add_generation_prompt));
  GENESIS_TRY(jinja::Text text, interpreter.run());
  return RenderedPrompt{std::move(text.bytes), std::move(text.foreign)};
}

}  // namespace genesis::text
