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
  EXPECT_TRUE(exhausted("{{ 10 ** 10 ** 10 }}"));
  EXPECT_TRUE(exhausted("{{ 'x' | center(10 ** 9) }}"));
  EXPECT_TRUE(exhausted("{{ '%99999d' % 1 }}"));
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

// The error of rendering `messages_json` with a template in the ChatML style.
Error message_error(std::string_view messages_json) {
  const auto chat = ChatTemplate::parse(kChatMl);
  const auto prompt = chat->render({.messages = messages_json});
  EXPECT_FALSE(prompt.has_value()) << messages_json;
  return prompt ? Error() : prompt.error();
}

TEST(ChatTemplate, AMessageItCannotTakeIsNamed) {
  for (const std::string_view odd : {R"({"role":"user","content":null})",
                                     R"({"role":"user","content":["x"]})",
                                     R"({"role":"user","content":7})",
                                     R"({"role":"user"})",
                                     R"({"content":"x"})"}) {
    const Error error =
        message_error(R"([{"role":"user","content":"fine"},)" + std::string(odd) + "]");
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << odd;
    EXPECT_EQ(error.param, "messages[1]") << odd;
    EXPECT_THAT(error.message, HasSubstr("messages[1]")) << odd;
  }
  EXPECT_EQ(message_error(R"(["x"])").code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(message_error(R"({"a":1})").code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(error_of("{{ messages[0].calls[0].name }}").param, "messages[0]");
  EXPECT_EQ(error_of("{{ 1 + none }}").param, "messages");
  EXPECT_EQ(error_of("{{ raise_exception('no ' + messages[1].role) }}").param, "messages[1]");
}

TEST(ChatTemplate, SaysWhichMessageAndFieldTextCameFrom) {
  const auto chat = ChatTemplate::parse(
      "{% for m in messages %}{{ m.role ~ ':' ~ m.content }}{{ m.name }}{{ m.thinking }}"
      "{{ m.tool_calls }}{% endfor %}{{ tools[0] }}{{ city }}{{ bos_token }}");
  const auto prompt = chat->render({.messages = R"([{"role":"u","content":"ab"},)"
                                                R"({"role":"a","content":"c","name":"n",)"
                                                R"("thinking":"t","tool_calls":"x"}])",
                                    .tools = R"(["tool"])",
                                    .model_values = R"({"bos_token":"<s>"})",
                                    .client_values = R"({"city":"W"})"});
  ASSERT_TRUE(prompt);
  EXPECT_EQ(prompt->text, "u:aba:cntxtoolW<s>");
  EXPECT_THAT(prompt->sources,
              testing::ElementsAre(SourceSpan{0, 1, 0, SourcePart::kRole},
                                   SourceSpan{2, 4, 0, SourcePart::kContent},
                                   SourceSpan{4, 5, 1, SourcePart::kRole},
                                   SourceSpan{6, 7, 1, SourcePart::kContent},
                                   SourceSpan{7, 8, 1, SourcePart::kOther},
                                   SourceSpan{8, 9, 1, SourcePart::kReasoning},
                                   SourceSpan{9, 10, 1, SourcePart::kToolCalls},
                                   SourceSpan{10, 14, std::nullopt, SourcePart::kTools},
                                   SourceSpan{14, 15, std::nullopt, SourcePart::kVariables}));
  ASSERT_EQ(prompt->from_messages.size(), 3U);
  EXPECT_EQ(prompt->from_messages.back().end, 15U);
}

TEST(ChatTemplate, FollowsTextThroughChangesOfCase) {
  EXPECT_THAT(marked("{{ ('ßß' ~ messages[0].content ~ 'İ') | upper }}"),
              testing::ElementsAre("HI <B>"));
  EXPECT_THAT(marked("{{ ('éa ' ~ messages[0].content ~ ' ßx').title() }}"),
              testing::ElementsAre("Hi <B>"));
}

TEST(ChatTemplate, MarksWhatTheModelWrites) {
  const auto written = [](std::string_view source) {
    const auto chat = ChatTemplate::parse(source);
    const auto prompt = chat->render({.messages = kMessages,
                                      .model_values = R"({"eos_token":"<|im_end|>"})",
                                      .mark_assistant = true});
    std::vector<std::string> out;
    for (const PlainSpan& span : prompt.value().from_assistant) {
      out.push_back(prompt->text.substr(span.begin, span.end - span.begin));
    }
    return out;
  };
  EXPECT_THAT(written(kChatMl), testing::ElementsAre("Yo<|im_end|>"));
  EXPECT_THAT(written("{% for m in messages %}{% generation %}[{{ m.content }}]{% endgeneration %}"
                      "|{% endfor %}"),
              testing::ElementsAre("[Hi <b>]", "[Yo]"));
  EXPECT_THAT(written("{% set x %}a{% generation %}b{% endgeneration %}c{% endset %}{{ x[1:] }}"),
              testing::ElementsAre("b"));
  EXPECT_THAT(written("{{ messages[0].content }}"), testing::IsEmpty());
}

TEST(ChatTemplate, AsksTheClockItIsGiven) {
  const auto chat = ChatTemplate::parse("{{ strftime_now('%s') }}");
  EXPECT_EQ(chat->render({.messages = "[]", .now = 1'773'065'106})->text, "1773065106");
  EXPECT_GT(chat->render({.messages = "[]"})->text, "1773065106");
}

TEST(ChatTemplate, TellsWhatItMentionsAndReads) {
  const auto chat = ChatTemplate::parse(
      "<a>{% set own = tools %}{% if f(x=own['<b>']) is in ('<c>',) %}{% endif %}{{ y.attribute "
      "}}");
  ASSERT_TRUE(chat);
  for (const std::string_view literal : {"<a>", "<b>", "<c>", "a"}) {
    EXPECT_TRUE(chat->mentions(literal)) << literal;
  }
  EXPECT_FALSE(chat->mentions("<d>"));
  for (const std::string_view name : {"tools", "f", "own", "y"}) {
    EXPECT_TRUE(chat->uses_variable(name)) << name;
  }
  for (const std::string_view name : {"x", "attribute", "messages"}) {
    EXPECT_FALSE(chat->uses_variable(name)) << name;
  }
}

TEST(ChatTemplate, MissingFiltersFailWhereTheyRun) {
  EXPECT_EQ(text_of("{% if false %}{{ 1 | frobnicate }}{% endif %}x"), "x");
  EXPECT_EQ(error_of("{% if true %}{{ 1 | frobnicate }}{% endif %}x").code,
            ErrorCode::kUnsupported);
  EXPECT_FALSE(ChatTemplate::parse("{% for a in [] %}{{ 1 | frobnicate }}{% endfor %}"));
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
