// The template engine on its own: golden renderings, limits, provenance. Byte equality with jinja2
// is proven in tests/parity.
#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace genesis::text {
namespace {

using testing::HasSubstr;

constexpr std::string_view kMessages =
    R"([{"role":"user","content":"Hi <b>"},{"role":"assistant","content":"Yo"}])";
constexpr std::string_view kChatMl =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

Result<RenderedPrompt> render(std::string_view source, TemplateLimits limits = {}) {
  const auto chat = ChatTemplate::parse(source, limits);
  if (!chat) {
    return std::unexpected(chat.error());
  }
  return chat->render(kMessages, "", R"({"bos_token":"<s>","n":3})", true);
}

std::string text_of(std::string_view source) {
  const auto prompt = render(source);
  return prompt ? prompt->text : "error: " + prompt.error().message;
}

Error error_of(std::string_view source, TemplateLimits limits = {}) {
  const auto prompt = render(source, limits);
  EXPECT_FALSE(prompt.has_value()) << source;
  return prompt ? Error() : prompt.error();
}

std::vector<std::string> marked(std::string_view source) {
  const RenderedPrompt prompt = render(source).value();
  std::vector<std::string> out;
  for (const PlainSpan& span : prompt.from_messages) {
    out.push_back(prompt.text.substr(span.begin, span.end - span.begin));
  }
  return out;
}

TEST(ChatTemplate, RendersChatMl) {
  EXPECT_EQ(text_of(kChatMl),
            "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi <b><|im_end|>\n"
            "<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, MarksWhatUsersWrote) {
  EXPECT_THAT(marked(kChatMl), testing::ElementsAre("user", "Hi <b>", "assistant", "Yo"));
  EXPECT_THAT(marked("{{ bos_token }}{{ messages[0].content | upper }}{{ n }}"),
              testing::ElementsAre("HI <B>"));
  EXPECT_THAT(marked("{{ ('x' + messages[0].content)[0:3] | trim }}"), testing::ElementsAre("Hi"));
  EXPECT_THAT(marked("{{ messages[1] | tojson }}"),
              testing::ElementsAre("role", "assistant", "content", "Yo"));
  EXPECT_THAT(marked("{{ 'own' if messages }}"), testing::IsEmpty());
}

TEST(ChatTemplate, SpeaksPython) {
  EXPECT_EQ(text_of("{{ [1, 2.0, none, true, 'it\\'s'] }}"), "[1, 2.0, None, True, \"it's\"]");
  EXPECT_EQ(text_of("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 1e16 }}"), "-4 2 3.5 1e+16");
  EXPECT_EQ(text_of("{{ 'abc'[::-1] }} {{ [1,2,3][-2:] }} {{ 'x' in 'xyz' }}"), "cba [2, 3] True");
  EXPECT_EQ(text_of("{% set ns = namespace(n=0) %}{% for i in range(4) if i is odd %}"
                    "{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}"),
            "4");
  EXPECT_EQ(text_of("{{ {'b': [1], 'a': 'é<'} | tojson }}"), R"({"b": [1], "a": "é<"})");
  EXPECT_EQ(text_of("{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}"),
            "1213");
}

TEST(ChatTemplate, ControlsWhiteSpace) {
  EXPECT_EQ(text_of("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
  EXPECT_EQ(text_of("a  {{- 1 -}}  b {# c #}\nd"), "a1b d");
}

TEST(ChatTemplate, RaisedMessagesReachTheCallerAsTheyAre) {
  const Error error = error_of("{{ raise_exception('Roles must alternate!') }}");
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(error.message, "Roles must alternate!");
}

TEST(ChatTemplate, ErrorsNameLineAndConstruct) {
  Error error = error_of("a\nb {{ 'x' | frobnicate }}");
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_THAT(error.message, HasSubstr("line 2"));
  EXPECT_THAT(error.message, HasSubstr("frobnicate"));
  error = error_of("\n\n{% include 'x' %}");
  EXPECT_THAT(error.message, testing::AllOf(HasSubstr("line 3"), HasSubstr("include")));
  error = error_of("\n{{ nope.attribute }}");
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message, testing::AllOf(HasSubstr("line 2"), HasSubstr("nope")));
  for (const std::string_view source : {"{% if x %}",
                                        "{{ (1 }}",
                                        "{{ 'a }}",
                                        "{# a",
                                        "{% raw %}",
                                        "{% endfor %}",
                                        "{{ 1 + }}",
                                        "{% for x %}{% endfor %}",
                                        "{% set 1 = 2 %}",
                                        "{{ a b }}",
                                        "\xFF"}) {
    EXPECT_EQ(error_of(source).code, ErrorCode::kInvalidArgument) << source;
  }
}

TEST(ChatTemplate, ReachesNothingOfTheHost) {
  for (const std::string_view source : {"{{ ''.__class__.x }}",
                                        "{{ messages.append(1) }}",
                                        "{{ messages[0].update({}) }}",
                                        "{{ messages.__len__() }}",
                                        "{{ range.__globals__.x }}"}) {
    EXPECT_EQ(error_of(source).code, ErrorCode::kInvalidArgument) << source;
  }
  EXPECT_EQ(text_of("{{ ''.__class__ is defined }}{{ open is defined }}"), "FalseFalse");
}

TEST(ChatTemplate, HoldsItsLimits) {
  const auto exhausted = [](std::string_view source) {
    return error_of(source, {.steps = 50'000, .output_bytes = 100'000}).code ==
           ErrorCode::kResourceExhausted;
  };
  EXPECT_TRUE(
      exhausted("{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}"));
  EXPECT_TRUE(exhausted("{{ 'x' * 1000000 }}"));
  EXPECT_TRUE(exhausted("{% for a in range(9000) %}0123456789abcdef{% endfor %}"));
  EXPECT_TRUE(
      exhausted("{% set s = namespace(t='x') %}{% for a in range(40) %}"
                "{% set s.t = s.t + s.t %}{% endfor %}"));
  EXPECT_TRUE(
      exhausted("{% set s = namespace(l=[]) %}{% for a in range(40) %}"
                "{% set s.l = [s.l, s.l] %}{% endfor %}{{ s.l }}"));
  EXPECT_TRUE(
      exhausted("{% set s = namespace(l=[]) %}{% for a in range(500) %}"
                "{% set s.l = [s.l] %}{% endfor %}"));
  EXPECT_TRUE(exhausted("{{ range(20000) }}"));
  EXPECT_TRUE(exhausted("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"));
}

TEST(ChatTemplate, RefusesDeepTrees) {
  const auto repeated = [](std::string_view part, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) {
      out += part;
    }
    return out;
  };
  EXPECT_FALSE(render("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}"));
  EXPECT_FALSE(render("{{ 1" + repeated("|abs", 5000) + " }}"));
  EXPECT_FALSE(render("{{ " + repeated("not ", 5000) + "1 }}"));
  EXPECT_FALSE(render("{{ " + repeated("-", 5000) + "1 }}"));
  EXPECT_FALSE(render(repeated("{% if 1 %}", 5000)));
  EXPECT_EQ(text_of("{{ 0" + repeated(" + 1", 300) + " }}"), "300");
}

TEST(ChatTemplate, ObjectsThatHoldThemselvesAreFreed) {
  // A leak would show under the address sanitizer.
  EXPECT_EQ(
      text_of("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.list = [ns] %}"
              "{% macro m() %}{% endmacro %}{% set ns.m = m %}"
              "{% for x in [1] %}{{ loop.changed(loop) }}{% set ns.loop = loop %}{% endfor %}"),
      "True");
}

TEST(ChatTemplate, ChecksItsInput) {
  const auto chat = ChatTemplate::parse("{{ messages }}{{ tools }}");
  ASSERT_TRUE(chat);
  EXPECT_EQ(chat->render("[]", "", "", false)->text, "[]None");
  for (const std::string_view json :
       {"", "[", "[1,]", "{\"a\"}", "\"\\ud800\"", "[\"\xFF\"]", "01", "[1] 2", "nul"}) {
    const auto prompt = chat->render(json, "", "", false);
    ASSERT_FALSE(prompt) << json;
    EXPECT_EQ(prompt.error().param, "messages");
  }
  EXPECT_FALSE(chat->render(std::string(100'000, '['), "", "", false));
  EXPECT_FALSE(chat->render("[]", "", "[]", false));
  EXPECT_EQ(chat->render("[18446744073709551616, 0.1, -0, 1E2]", "", "", false)->text,
            "[18446744073709551616, 0.1, 0, 100.0]None");
}

}  // namespace
}  // namespace genesis::text
