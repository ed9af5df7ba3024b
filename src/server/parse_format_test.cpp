// response_format, tool_choice and their kin: what is read, and how each wrong one is refused.
#include "server/parse_format.h"

#include "base/json.h"
#include "server/parse_openai.h"
#include "server/parse_tgi.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace genesis::server {
namespace {

using Kind = AnswerFormat::Kind;

std::string chat_with(std::string_view fields) {
  return R"({"messages":[{"role":"user","content":"x"}],)" + std::string(fields) + "}";
}

TEST(AnswerForm, EveryNameOfAForm) {
  struct Case {
    const char* fields;
    Kind kind;
    const char* source;
    const char* field;
  };

  for (const Case& c : std::vector<Case>{
           {R"("response_format":{"type":"text"})", Kind::kText, "", ""},
           {R"("response_format":{"type":"json_object"})",
            Kind::kJsonObject,
            "",
            "response_format"},
           {R"("response_format":{"type":"json_schema","json_schema":{"name":"a",)"
            R"("schema":{"type":"null"}}})",
            Kind::kJsonSchema,
            R"({"type":"null"})",
            "response_format"},
           {R"("response_format":{"type":"json","value":{"type":"null"}})",
            Kind::kJsonSchema,
            R"({"type":"null"})",
            "response_format"},
           {R"("response_format":{"type":"regex","value":"a+"})",
            Kind::kRegex,
            "a+",
            "response_format"},
           {R"("response_format":{"type":"grammar","grammar":"root ::= \"a\""})",
            Kind::kGbnf,
            "root ::= \"a\"",
            "response_format"},
           {R"("structured_outputs":{"regex":"a+"})",
            Kind::kRegex,
            "a+",
            "structured_outputs.regex"},
           {R"("structured_outputs":{"json_object":true})",
            Kind::kJsonObject,
            "",
            "structured_outputs.json_object"},
           {R"("guided_choice":["a.b","c"])", Kind::kRegex, "a\\.b|c", "guided_choice"},
           {R"("guided_json":"{\"type\":\"null\"}")",
            Kind::kJsonSchema,
            R"({"type":"null"})",
            "guided_json"},
           {R"("grammar":"root ::= \"a\"")", Kind::kGbnf, "root ::= \"a\"", "grammar"}}) {
    const auto call = parse_chat_request(chat_with(c.fields));
    ASSERT_TRUE(call) << c.fields << ": " << call.error().message;
    const ChatInput& input = *call->request.input;
    EXPECT_EQ(input.format.kind, c.kind) << c.fields;
    EXPECT_EQ(input.format.source, c.source) << c.fields;
    EXPECT_EQ(input.format.field, c.field) << c.fields;
    EXPECT_EQ(input.demands.size(), c.kind == Kind::kText ? 0U : 1U) << c.fields;
  }
}

TEST(AnswerForm, ToolChoice) {
  using Mode = ToolChoice::Mode;
  const auto choice = [](std::string_view fields) {
    return parse_chat_request(chat_with(fields)).value().request.input->tool_choice;
  };
  EXPECT_EQ(choice(R"("n":1)").mode, Mode::kAuto);
  EXPECT_TRUE(choice(R"("n":1)").parallel);
  EXPECT_EQ(choice(R"("tool_choice":"none")").mode, Mode::kNone);
  EXPECT_EQ(choice(R"("tool_choice":"required","parallel_tool_calls":false)").mode,
            Mode::kRequired);
  EXPECT_FALSE(choice(R"("tool_choice":"required","parallel_tool_calls":false)").parallel);
  const ToolChoice named = choice(R"("tool_choice":{"type":"function","function":{"name":"f"}})");
  EXPECT_EQ(named.mode, Mode::kNamed);
  EXPECT_EQ(named.name, "f");
}

TEST(AnswerForm, WrongOnesAreNamed) {
  struct Case {
    const char* fields;
    const char* param;
  };

  for (const Case& c : std::vector<Case>{
           {R"("response_format":"json")", "response_format"},
           {R"("response_format":{})", "response_format.type"},
           {R"("response_format":{"type":"xml"})", "response_format.type"},
           {R"("response_format":{"type":"json_schema"})", "response_format.json_schema"},
           {R"("response_format":{"type":"json_schema","json_schema":{}})",
            "response_format.json_schema.schema"},
           {R"("response_format":{"type":"json_schema","json_schema":{"schema":3}})",
            "response_format.json_schema.schema"},
           {R"("response_format":{"type":"regex","value":""})", "response_format.value"},
           {R"("guided_choice":[])", "guided_choice"},
           {R"("guided_choice":["a",1])", "guided_choice[1]"},
           {R"("guided_json":{},"guided_regex":"a")", "guided_regex"},
           {R"("guided_json":{},"response_format":{"type":"json_object"})", "guided_json"},
           {R"("tool_choice":"always")", "tool_choice"},
           {R"("tool_choice":{})", "tool_choice.type"},
           {R"("tool_choice":{"type":"function"})", "tool_choice.function"},
           {R"("tool_choice":{"type":"function","function":{"name":""}})",
            "tool_choice.function.name"},
           {R"("parallel_tool_calls":"yes")", "parallel_tool_calls"},
           {R"("chat_template_kwargs":[])", "chat_template_kwargs"}}) {
    const auto call = parse_chat_request(chat_with(c.fields));
    ASSERT_FALSE(call) << c.fields;
    EXPECT_EQ(call.error().param, c.param) << c.fields;
  }
}

TEST(AnswerForm, TgiGrammar) {
  const auto format = [](std::string_view grammar) {
    const std::string body =
        R"({"inputs":"x","parameters":{"grammar":)" + std::string(grammar) + "}}";
    return parse_tgi_request(body, TgiRoute::kGenerate).value().request.input->format;
  };
  EXPECT_EQ(format(R"({"type":"json","value":{"type":"null"}})").kind, Kind::kJsonSchema);
  EXPECT_EQ(
      format(R"({"type":"json_schema","value":{"name":"a","schema":{"type":"null"}}})").source,
      R"({"type":"null"})");
  const AnswerFormat regex = format(R"({"type":"regex","value":"[0-9]+"})");
  EXPECT_EQ(regex.kind, Kind::kRegex);
  EXPECT_EQ(regex.field, "parameters.grammar");
}

}  // namespace
}  // namespace genesis::server
