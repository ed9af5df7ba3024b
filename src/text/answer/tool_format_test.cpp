// Which format a model speaks, told from its template and vocabulary; what is read back of what is
// written; where reasoning begins.
#include "text/answer/tool_format.h"

#include "text/answer/answer_parser.h"
#include "text/answer/tool_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace genesis::text {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Tokenizer> tokenizer(const std::vector<std::string>& special) {
  GgufVocabulary vocabulary{.model = "gpt2",
                            .pre = "smollm",
                            .tokens = {"a", "<s>"},
                            .token_types = {1, 3},
                            .merges = {}};
  vocabulary.bos_id = vocabulary.eos_id = 1;
  for (const std::string& token : special) {
    vocabulary.tokens.push_back(token);
    vocabulary.token_types.push_back(3);
  }
  return Tokenizer::from_gguf(vocabulary).value();
}

ToolFormat detect(std::string_view source, const std::vector<std::string>& special = {}) {
  return detect_tool_format(source, *tokenizer(special));
}

// Lines of the templates that the models bring.
TEST(ToolFormat, IsToldByTheTemplate) {
  EXPECT_EQ(detect(R"({{- '\n<tool_call>\n{"name": "' }}{{- tool_call.name }})"),
            ToolFormat::kHermes);
  EXPECT_EQ(detect(R"({{- 'Respond in the format {"name": function name, "parameters": dictionary )"
                   R"(of argument name and its value}.' }})",
                   {"<|python_tag|>"}),
            ToolFormat::kLlama3);
  EXPECT_EQ(detect(R"({{- "[TOOL_CALLS][" }})"), ToolFormat::kMistral);
  EXPECT_EQ(
      detect("{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type']}}"),
      ToolFormat::kDeepSeek);
  EXPECT_EQ(detect("{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' }}"),
            ToolFormat::kPhi4);
}

TEST(ToolFormat, IsToldByTheVocabularyWhereTheTemplateKnowsNoTools) {
  constexpr std::string_view kChatMl = "{{'<|im_start|>' + message['role']}}";
  EXPECT_EQ(detect(kChatMl), ToolFormat::kHermes);
  EXPECT_EQ(detect(kChatMl, {"<start_of_turn>"}), ToolFormat::kGemmaJson);
  EXPECT_EQ(detect(kChatMl, {"<|python_tag|>"}), ToolFormat::kLlama3);
  EXPECT_EQ(detect(kChatMl, {"[TOOL_CALLS]"}), ToolFormat::kMistral);
}

TEST(ReasoningFormat, IsToldByTemplateOrVocabulary) {
  const auto none = tokenizer({});
  EXPECT_EQ(detect_reasoning_format("{{ content.split('</think>')[-1] }}", *none),
            ReasoningFormat::kThink);
  EXPECT_EQ(detect_reasoning_format("{{ content }}", *none), ReasoningFormat::kNone);
  EXPECT_EQ(detect_reasoning_format("", *tokenizer({"<think>", "</think>"})),
            ReasoningFormat::kThink);
  EXPECT_EQ(detect_reasoning_format("", *tokenizer({"<think>"})), ReasoningFormat::kNone);
  EXPECT_EQ(detect_reasoning_format("", *tokenizer({"[THINK]", "[/THINK]"})),
            ReasoningFormat::kMistralThink);
}

TEST(ReasoningFormat, StartsWhereThePromptEnds) {
  using enum ReasoningFormat;
  EXPECT_TRUE(starts_in_reasoning("<｜Assistant｜><think>\n", kThink)) << "DeepSeek-R1";
  EXPECT_TRUE(starts_in_reasoning("<think>", kThink));
  EXPECT_FALSE(starts_in_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n", kThink))
      << "Qwen3 with enable_thinking=false";
  EXPECT_FALSE(starts_in_reasoning("<|im_start|>assistant\n", kThink));
  EXPECT_FALSE(starts_in_reasoning("What is <think>?<｜Assistant｜>", kThink));
  EXPECT_FALSE(starts_in_reasoning("<think>\n", kNone));
  EXPECT_FALSE(starts_in_reasoning("", kThink));
  EXPECT_FALSE(starts_in_reasoning(" \n", kThink));
}

TEST(ToolCallId, IsWhatTheTemplatesTakeBack) {
  const RandomBits bits{.high = 0x123456789ABCDEF0, .low = 0x0FEDCBA987654321};
  const std::string id = make_tool_call_id(ToolFormat::kHermes, bits);
  EXPECT_EQ(id.size(), 29U);
  EXPECT_TRUE(id.starts_with("call_"));
  const std::string mistral = make_tool_call_id(ToolFormat::kMistral, bits);
  EXPECT_EQ(mistral.size(), 9U);
  EXPECT_TRUE(std::ranges::all_of(mistral, [](unsigned char c) { return std::isalnum(c) != 0; }));
  EXPECT_NE(id, make_tool_call_id(ToolFormat::kHermes, {.high = bits.high, .low = bits.low + 1}));
}

TEST(ToolText, IsReadBackByTheParser) {
  const std::vector<ToolCall> calls{
      {.id = "1", .name = "f", .arguments_json = R"({"a": "}]</tool_call>```"})"},
      {.id = "2", .name = "g.h", .arguments_json = "{}"}};
  for (const ToolFormat format : {ToolFormat::kHermes,
                                  ToolFormat::kLlama3,
                                  ToolFormat::kMistral,
                                  ToolFormat::kDeepSeek,
                                  ToolFormat::kGemmaJson,
                                  ToolFormat::kPhi4}) {
    AnswerParser parser({.tools = format, .tool_names = {"f", "g.h"}});
    std::vector<AnswerEvent> events = parser.push(write_tool_calls(format, calls));
    const std::vector<AnswerEvent> rest = parser.finish();
    events.insert(events.end(), rest.begin(), rest.end());
    ASSERT_EQ(events.size(), 6U) << tool_format_name(format);
    for (std::size_t i = 0; i < calls.size(); ++i) {
      EXPECT_EQ(events[3 * i].text, calls[i].name);
      EXPECT_EQ(events[3 * i + 1].text, calls[i].arguments_json) << tool_format_name(format);
    }
  }
}

TEST(ToolText, InstructionListsTheTools) {
  const std::vector<ToolSpec> tools =
      parse_tools(R"([{"type":"function","function":{"name":"f"}}])").value();
  const std::string text = tool_instruction(ToolFormat::kHermes, tools);
  EXPECT_THAT(text, HasSubstr("\n" + tools[0].json + "\n"));
  EXPECT_THAT(text, HasSubstr("<tool_call>\n{\"name\": "));
  EXPECT_THAT(tool_instruction(ToolFormat::kGemmaJson, tools), HasSubstr("\"parameters\": {"));
}

}  // namespace
}  // namespace genesis::text
