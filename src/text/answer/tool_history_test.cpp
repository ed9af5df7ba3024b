// Histories with calls: what is refused and how it is named; what templates get to see.
#include "text/answer/tool_history.h"

#include "text/answer/tool_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace genesis::text {
namespace {

using testing::HasSubstr;

std::string call(const std::string& id, const std::string& name, const std::string& arguments) {
  return R"({"id":")" + id + R"(","type":"function","function":{"name":")" + name +
         R"(","arguments":)" + arguments + "}}";
}

std::string assistant(const std::string& calls, const std::string& content = "null") {
  return R"({"role":"assistant","content":)" + content + R"(,"tool_calls":[)" + calls + "]}";
}

std::string result(const std::string& id, const std::string& text) {
  return R"({"role":"tool","tool_call_id":")" + id + R"(","content":")" + text + "\"}";
}

const std::string kUser = R"({"role":"user","content":"hi"})";

// The field that the error names; empty when the history is fine.
std::string wrong(const std::string& messages) {
  const auto checked = check_history("[" + messages + "]");
  if (checked) {
    return "";
  }
  EXPECT_EQ(checked.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(checked.error().message, HasSubstr("'" + checked.error().param));
  return checked.error().param;
}

TEST(History, IsFine) {
  EXPECT_EQ(wrong(""), "");
  EXPECT_EQ(wrong(kUser), "");
  EXPECT_EQ(
      wrong(kUser + "," + assistant(call("c1", "f", R"("{\"a\": 1}")")) + "," + result("c1", "1")),
      "");
  EXPECT_EQ(wrong(assistant(call("c1", "f", R"("")") + "," + call("c2", "f", "{}")) + "," +
                  result("c2", "2") + "," + result("c1", "1")),
            "")
      << "any order, empty and object arguments";
  EXPECT_EQ(wrong(assistant(call("c1", "f", R"("{}")")) + "," + kUser), "") << "no result";
  EXPECT_EQ(wrong(assistant(call("c1", "f", R"("{}")")) + R"(,{"role":"tool","content":"x"})"), "")
      << "no id, but one call only";
  EXPECT_EQ(wrong(R"({"role":"assistant","content":"x","tool_calls":[]})"), "");
  EXPECT_EQ(wrong(R"({"role":"assistant","content":null,"tool_calls":null})"), "");
}

TEST(History, NamesWhatIsWrong) {
  EXPECT_EQ(check_history("{}").error().param, "messages");
  EXPECT_EQ(check_history("[").error().param, "messages");
  EXPECT_EQ(wrong("1"), "messages[0]");
  EXPECT_EQ(wrong("{}"), "messages[0].role");
  const auto bad_call = [](const std::string& one) { return wrong(kUser + "," + assistant(one)); };
  EXPECT_EQ(bad_call("7"), "messages[1].tool_calls[0]");
  EXPECT_EQ(bad_call(call("c", "f", R"("{}")") + ",{}"), "messages[1].tool_calls[1].id");
  EXPECT_EQ(bad_call(R"({"id":"c","type":"custom"})"), "messages[1].tool_calls[0].type");
  EXPECT_EQ(bad_call(R"({"id":"c"})"), "messages[1].tool_calls[0].function");
  EXPECT_EQ(bad_call(R"({"id":"c","function":{}})"), "messages[1].tool_calls[0].function.name");
  EXPECT_EQ(bad_call(call("c", "", R"("{}")")), "messages[1].tool_calls[0].function.name");
  EXPECT_EQ(bad_call(call("", "f", R"("{}")")), "messages[1].tool_calls[0].id");
  const std::string arguments = "messages[1].tool_calls[0].function.arguments";
  EXPECT_EQ(bad_call(call("c", "f", R"("{\"a\"")")), arguments);
  EXPECT_EQ(bad_call(call("c", "f", R"("[1]")")), arguments);
  EXPECT_EQ(bad_call(call("c", "f", R"("\"{}\"")")), arguments);
  EXPECT_EQ(bad_call(call("c", "f", "[1]")), arguments);
  EXPECT_EQ(bad_call(call("c", "f", R"("{}")") + "," + call("c", "g", R"("{}")")),
            "messages[1].tool_calls[1].id");
  EXPECT_EQ(wrong(R"({"role":"user","content":"","tool_calls":[)" + call("c", "f", "{}") + "]}"),
            "messages[0].tool_calls");
  EXPECT_EQ(wrong(R"({"role":"assistant","tool_calls":{}})"), "messages[0].tool_calls");
  EXPECT_EQ(wrong(result("c", "x")), "messages[0].tool_call_id");
  EXPECT_EQ(wrong(assistant(call("c", "f", "{}")) + "," + result("d", "x")),
            "messages[1].tool_call_id");
  EXPECT_EQ(wrong(R"({"role":"tool","content":"x"})"), "messages[0].tool_call_id");
  EXPECT_EQ(wrong(assistant(call("c", "f", "{}") + "," + call("d", "f", "{}")) +
                  R"(,{"role":"tool","content":"x"})"),
            "messages[1].tool_call_id");
  std::string many;
  for (std::size_t i = 0; i <= kMostCallsInTurn; ++i) {
    many += (i > 0 ? "," : "") + call("c" + std::to_string(i), "f", "{}");
  }
  EXPECT_EQ(wrong(assistant(many)), "messages[0].tool_calls");
}

constexpr TemplateTraits kAll{
    .lists_tools = true, .takes_system = true, .takes_results = true, .takes_calls = true};

std::string shaped(const std::string& messages, const HistoryShape& shape) {
  const auto out = template_messages("[" + messages + "]", shape);
  return out ? *out : "error: " + out.error().message;
}

TEST(TemplateMessages, ArgumentsBecomeMappings) {
  EXPECT_EQ(shaped(assistant(call("c", "f", R"("{\"b\": 1.0, \"a\": \"\\u00e9\"}")")) + "," +
                       result("c", "x"),
                   {.traits = kAll}),
            R"([{"role":"assistant","content":"","tool_calls":[{"id":"c","type":"function",)"
            R"("function":{"name":"f","arguments":{"b": 1.0, "a": "\u00e9"}}}]},)"
            R"({"role":"tool","content":"x","tool_call_id":"c"}])");
  EXPECT_EQ(shaped(kUser, {.traits = {}}), "[" + kUser + "]") << "nothing to do";
}

TEST(TemplateMessages, AsTheTemplateInsists) {
  TemplateTraits deepseek = kAll;
  deepseek.calls = {.arguments_as_text = true, .null_content = true};
  EXPECT_EQ(shaped(assistant(call("c", "f", R"("{\"a\": 1}")"), R"("")"), {.traits = deepseek}),
            R"([{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function",)"
            R"("function":{"name":"f","arguments":"{\"a\": 1}"}}]}])");
  TemplateTraits mistral = kAll;
  mistral.calls.short_ids = true;
  const std::string text =
      shaped(assistant(call("call_abc", "f", "{}") + "," + call("abcdefghi", "f", "{}")) + "," +
                 result("call_abc", "x") + "," + result("abcdefghi", "y"),
             {.traits = mistral});
  EXPECT_THAT(text, HasSubstr(R"("id":"abcdefghi")"));
  const std::size_t at = text.find(R"("id":")") + 6;
  const std::string id = text.substr(at, 9);
  EXPECT_EQ(text[at + 9], '"');
  EXPECT_THAT(text, HasSubstr(R"("content":"x","tool_call_id":")" + id + "\""));
}

TEST(TemplateMessages, OneCallATurn) {
  TemplateTraits llama = kAll;
  llama.calls.one_a_turn = true;
  const std::string out = shaped(
      kUser + "," + assistant(call("c1", "f", "{}") + "," + call("c2", "g", "{}"), R"("Both.")") +
          "," + result("c2", "two") + "," + result("c1", "one") + "," + kUser,
      {.traits = llama});
  const std::string one = R"("tool_calls":[{"id":"c1","type":"function","function":{"name":"f",)"
                          R"("arguments":{}}}]})";
  const std::string two = R"("tool_calls":[{"id":"c2","type":"function","function":{"name":"g",)"
                          R"("arguments":{}}}]})";
  EXPECT_EQ(out,
            "[" + kUser + R"(,{"role":"assistant","content":"Both.",)" + one +
                R"(,{"role":"tool","content":"one","tool_call_id":"c1"})" +
                R"(,{"role":"assistant","content":"",)" + two +
                R"(,{"role":"tool","content":"two","tool_call_id":"c2"},)" + kUser + "]");
}

TEST(TemplateMessages, AsTextWhereTheTemplateKnowsNoTools) {
  const HistoryShape gemma{.format = ToolFormat::kHermes, .traits = {}, .instruction = "Tools: f"};
  EXPECT_EQ(
      shaped(R"({"role":"system","content":"Be kind."},)" + kUser + "," +
                 assistant(call("c1", "f", "{}") + "," + call("c2", "f", "{}"), R"("Look.")") +
                 "," + result("c1", "one") + "," + result("c2", "two") + "," + kUser + "," + kUser,
             gemma),
      R"([{"role":"user","content":"Be kind.\n\nTools: f\n\nhi"},{"role":"assistant","content":)"
      R"("Look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n)"
      R"(<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"},)"
      R"({"role":"user","content":"<tool_response>\none\n</tool_response>\n)"
      R"(<tool_response>\ntwo\n</tool_response>\nhi"},)" +
          kUser + "]");
  EXPECT_EQ(shaped(kUser, {.traits = kAll, .instruction = "Tools: f"}),
            R"([{"role":"system","content":"Tools: f"},)" + kUser + "]");
}

TemplateTraits probe(std::string_view source) {
  return probe_template(ChatTemplate::parse(source).value(), R"({"bos_token":"<s>"})");
}

TEST(TemplateTraits, AreFoundByRendering) {
  const TemplateTraits chatml =
      probe("{% for m in messages %}{{ m.role + m.content }}{% endfor %}");
  EXPECT_TRUE(chatml.takes_system);
  EXPECT_FALSE(chatml.lists_tools || chatml.takes_calls || chatml.takes_results);

  const TemplateTraits qwen = probe(
      "{{ tools | tojson }}{% for m in messages %}{{ m.role + m.content }}"
      "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}"
      "{% endfor %}{% endfor %}");
  EXPECT_TRUE(qwen.lists_tools && qwen.takes_system && qwen.takes_calls && qwen.takes_results);
  EXPECT_FALSE(qwen.calls.arguments_as_text || qwen.calls.null_content || qwen.calls.short_ids ||
               qwen.calls.one_a_turn);

  const TemplateTraits deepseek = probe(
      "{% for m in messages %}{% if m.content is none %}{% for c in m.tool_calls %}"
      "{{ c.function.name + c.function.arguments }}{% endfor %}{% else %}{{ m.content }}"
      "{% endif %}{% endfor %}");
  EXPECT_TRUE(deepseek.takes_calls && deepseek.calls.arguments_as_text &&
              deepseek.calls.null_content);
  EXPECT_FALSE(deepseek.lists_tools);

  const TemplateTraits strict = probe(
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
      "{{ m.content }}{% if m.tool_calls %}{% if m.tool_calls | length > 1 or "
      "m.tool_calls[0].id | length != 9 %}{{ raise_exception('no') }}{% endif %}"
      "{{ m.tool_calls[0].function | tojson }}{% endif %}{% endfor %}");
  EXPECT_TRUE(strict.takes_calls && strict.calls.short_ids && strict.calls.one_a_turn);
  EXPECT_FALSE(strict.takes_system);
}

}  // namespace
}  // namespace genesis::text
