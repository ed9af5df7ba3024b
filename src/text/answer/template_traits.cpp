// Probing by words that no template writes of its own.
#include "text/answer/template_traits.h"

#include <string>

namespace genesis::text {

namespace {

constexpr std::string_view kTools =
    R"([{"type":"function","function":{"name":"probe_zq_tool","description":"d",)"
    R"("parameters":{"type":"object","properties":{"zq_key":{"type":"string","description":"d"}},)"
    R"("required":["zq_key"]}}}])";
constexpr std::string_view kUser = R"({"role":"user","content":"probe_zq_user"})";

std::string call(const CallTraits& traits, std::string_view id) {
  std::string out = R"({"id":")" + std::string(id);
  out += R"(","type":"function","function":{"name":"probe_zq_tool","arguments":)";
  out += traits.arguments_as_text ? R"("{\"zq_key\": \"zq_value\"}")" : R"({"zq_key":"zq_value"})";
  return out + "}}";
}

std::string result(std::string_view id) {
  return R"({"role":"tool","name":"probe_zq_tool","tool_call_id":")" + std::string(id) +
         R"(","content":"probe_zq_result"})";
}

// A conversation with a turn of `count` calls and their results.
std::string with_calls(const CallTraits& traits, int count) {
  std::string calls;
  std::string results;
  for (int i = 0; i < count; ++i) {
    const std::string id = (traits.short_ids ? "probezq0" : "call_probe_zq_0") + std::to_string(i);
    calls += (i > 0 ? "," : "") + call(traits, id);
    results += "," + result(id);
  }
  return "[" + std::string(kUser) + R"(,{"role":"assistant","content":)" +
         (traits.null_content ? "null" : "\"\"") + R"(,"tool_calls":[)" + calls + "]}" + results +
         "]";
}

class Probe {
 public:
  Probe(const ChatTemplate& chat_template, std::string_view extra_json)
      : template_(chat_template), extra_(extra_json) {}

  // Empty when the template refuses.
  std::string render(std::string_view messages, std::string_view tools) const {
    auto prompt = template_.render(messages, tools, extra_, /*add_generation_prompt=*/true);
    return prompt ? std::move(prompt->text) : std::string();
  }

  bool shows_calls(const CallTraits& traits, int count) const {
    const std::string text = render(with_calls(traits, count), kTools);
    // In a string inside of a string the quotes would be escaped.
    std::size_t at = 0;
    for (int i = 0; i < count; ++i) {
      at = text.find("\"zq_key\"", at);
      if (at == std::string::npos) {
        return false;
      }
      at = text.find("\"zq_value\"", at);
    }
    return text.contains("probe_zq_tool");
  }

 private:
  const ChatTemplate& template_;
  std::string_view extra_;
};

}  // namespace

TemplateTraits probe_template(const ChatTemplate& chat_template, std::string_view extra_json) {
  const Probe probe(chat_template, extra_json);
  const std::string user(kUser);
  TemplateTraits traits;
  traits.lists_tools = probe.render("[" + user + "]", kTools).contains("probe_zq_tool");
  traits.takes_system =
      probe.render(R"([{"role":"system","content":"probe_zq_system"},)" + user + "]", "")
          .contains("probe_zq_system");
  for (int way = 0; way < 8 && !traits.takes_calls; ++way) {
    traits.calls = {.arguments_as_text = (way & 4) != 0,
                    .null_content = (way & 1) != 0,
                    .short_ids = (way & 2) != 0};
    traits.takes_calls = probe.shows_calls(traits.calls, 1);
  }
  if (!traits.takes_calls) {
    traits.calls = {};
    return traits;
  }
  traits.calls.one_a_turn = !probe.shows_calls(traits.calls, 2);
  traits.takes_results =
      probe.render(with_calls(traits.calls, 1), kTools).contains("probe_zq_result");
  return traits;
}

}  // namespace genesis::text
