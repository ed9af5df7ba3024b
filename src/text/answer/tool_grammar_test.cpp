// Languages of calls: what they hold, what they refuse, and that the parser reads every answer in
// them as calls.
#include "text/answer/tool_grammar.h"

#include "text/answer/answer_parser.h"
#include "text/grammar/matcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace genesis::text {
namespace {

using testing::HasSubstr;

// A token for each byte, and the given special ones.
std::shared_ptr<const Tokenizer> tokenizer(const std::vector<std::string>& special = {}) {
  GgufVocabulary vocabulary{.model = "gpt2", .pre = "smollm"};
  for (int byte = 0; byte < 256; ++byte) {
    // GPT-2's alphabet: printable bytes stand for themselves, the others follow from U+0100 on.
    static constexpr auto kPrintable = [](int b) {
      return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    };
    int code = byte;
    if (!kPrintable(byte)) {
      code = 256;
      for (int before = 0; before < byte; ++before) {
        code += kPrintable(before) ? 0 : 1;
      }
    }
    std::string token;
    if (code < 0x80) {
      token.push_back(static_cast<char>(code));
    } else {
      token.push_back(static_cast<char>(0xC0 | (code >> 6)));
      token.push_back(static_cast<char>(0x80 | (code & 0x3F)));
    }
    vocabulary.tokens.push_back(token);
    vocabulary.token_types.push_back(1);
  }
  for (const std::string& token : special) {
    vocabulary.tokens.push_back(token);
    vocabulary.token_types.push_back(3);
  }
  vocabulary.tokens.emplace_back("</s>");
  vocabulary.token_types.push_back(3);
  vocabulary.bos_id = vocabulary.eos_id = static_cast<std::int32_t>(vocabulary.tokens.size() - 1);
  return Tokenizer::from_gguf(vocabulary).value();
}

std::vector<ToolSpec> tools() {
  return parse_tools(
             R"([{"type":"function","function":{"name":"add","parameters":{"type":"object",)"
             R"("properties":{"a":{"type":"integer"}},"required":["a"]}}},)"
             R"({"type":"function","function":{"name":"no_args"}}])")
      .value();
}

class Language {
 public:
  Language(ToolFormat format,
           ToolChoice choice,
           CallCount count,
           const std::vector<std::string>& special = {})
      : tokenizer_(tokenizer(special)), format_(format) {
    GrammarBuilder builder;
    const ToolLanguage language{.format = format, .tools = tools_, .tokenizer = tokenizer_.get()};
    const auto expr = tool_answer_expr(builder, language, choice, count);
    EXPECT_TRUE(expr.has_value());
    grammar_ = builder.build(*expr).value();
    trie_ = TokenTrie::build(*tokenizer_);
  }

  // Special tokens are recognised where they are written.
  bool holds(std::string_view answer) const {
    GrammarMatcher matcher = GrammarMatcher::create(grammar_, trie_).value();
    for (const std::int32_t id : ids(answer)) {
      if (!matcher.accept(id)) {
        return false;
      }
    }
    return matcher.can_end();
  }

  // How many calls the parser reads of it.
  int calls(std::string_view answer) const {
    AnswerParser parser({.tools = format_, .tool_names = tool_names(tools_)});
    for (const std::int32_t id : ids(answer)) {
      const std::string bytes = tokenizer_->token_bytes(id);
      tokenizer_->is_special(id) ? parser.push_special(bytes) : parser.push(bytes);
    }
    parser.finish();
    return parser.calls();
  }

 private:
  std::vector<std::int32_t> ids(std::string_view answer) const {
    return tokenizer_->encode(answer, {.add_special_tokens = false, .parse_special = true});
  }

  std::vector<ToolSpec> tools_ = tools();
  std::shared_ptr<const Tokenizer> tokenizer_;
  ToolFormat format_;
  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTrie> trie_;
};

constexpr auto kRequired = ToolChoice::Kind::kRequired;

struct Sample {
  ToolFormat format;
  std::string one;
  std::string two;
  std::vector<std::string> special = {};
};

std::vector<Sample> samples() {
  const std::string call = R"({"name": "add", "arguments": {"a": 1}})";
  const std::string none = R"({"name": "no_args", "arguments": {}})";
  const std::string llama = R"({"name": "add", "parameters": {"a": 1}})";
  const std::string hermes = "<tool_call>\n" + call + "\n</tool_call>";
  const std::string fence = "```json\n" + llama + "\n```";
  const std::string deepseek =
      "<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\": 1}\n```<｜tool▁call▁end｜>";
  const std::vector<std::string> deepseek_tokens{"<｜tool▁calls▁begin｜>",
                                                 "<｜tool▁calls▁end｜>",
                                                 "<｜tool▁call▁begin｜>",
                                                 "<｜tool▁sep｜>",
                                                 "<｜tool▁call▁end｜>"};
  const std::string open = "<｜tool▁calls▁begin｜>";
  const std::string close = "<｜tool▁calls▁end｜>";
  return {
      {ToolFormat::kHermes, hermes, hermes + "\n" + hermes},
      {ToolFormat::kHermes, hermes, hermes + "\n" + hermes, {"<tool_call>", "</tool_call>"}},
      {ToolFormat::kLlama3, llama, llama + "; " + llama},
      {ToolFormat::kMistral,
       "[TOOL_CALLS][" + call + "]",
       "[TOOL_CALLS][" + call + ", " + none + "]",
       {"[TOOL_CALLS]"}},
      {ToolFormat::kMistral,
       "[TOOL_CALLS]add[ARGS]{\"a\": 1}",
       "[TOOL_CALLS]add[ARGS]{\"a\": 1}[TOOL_CALLS]no_args[ARGS]{}",
       {"[TOOL_CALLS]", "[ARGS]"}},
      {ToolFormat::kDeepSeek, open + deepseek + close, open + deepseek + "\n" + deepseek + close},
      {ToolFormat::kDeepSeek,
       open + deepseek + close,
       open + deepseek + "\n" + deepseek + close,
       deepseek_tokens},
      {ToolFormat::kGemmaJson, fence, fence + "\n" + fence},
      {ToolFormat::kPhi4,
       "<|tool_call|>[" + call + "]<|/tool_call|>",
       "<|tool_call|>[" + call + ", " + none + "]<|/tool_call|>",
       {"<|tool_call|>", "<|/tool_call|>"}},
  };
}

TEST(ToolGrammar, RequiredHoldsCallsOnly) {
  for (const Sample& sample : samples()) {
    SCOPED_TRACE(sample.one);
    const Language required(sample.format, {.kind = kRequired}, {}, sample.special);
    EXPECT_TRUE(required.holds(sample.one));
    EXPECT_TRUE(required.holds(sample.two));
    EXPECT_FALSE(required.holds(""));
    EXPECT_FALSE(required.holds("Hello"));
    EXPECT_FALSE(required.holds("Hello " + sample.one));
    EXPECT_EQ(required.calls(sample.one), 1);
    EXPECT_EQ(required.calls(sample.two), 2);
    const Language one(sample.format, {.kind = kRequired}, {.most = 1}, sample.special);
    EXPECT_TRUE(one.holds(sample.one));
    EXPECT_FALSE(one.holds(sample.two)) << "parallel_tool_calls is false";
  }
}

TEST(ToolGrammar, MistralMayWriteABlankBehindTheMarker) {
  const Language required(ToolFormat::kMistral, {.kind = kRequired}, {}, {"[TOOL_CALLS]"});
  constexpr std::string_view kAnswer = R"([TOOL_CALLS] [{"name": "no_args", "arguments": {}}])";
  EXPECT_TRUE(required.holds(kAnswer));
  EXPECT_EQ(required.calls(kAnswer), 1);
}

TEST(ToolGrammar, AutoHoldsTextAndCalls) {
  for (const Sample& sample : samples()) {
    SCOPED_TRACE(sample.one);
    const Language free(sample.format, {.kind = ToolChoice::Kind::kAuto}, {}, sample.special);
    EXPECT_TRUE(free.holds(""));
    EXPECT_TRUE(free.holds("Hello <b> [1] {\"x\": 1}\n"));
    EXPECT_TRUE(free.holds(sample.one));
    EXPECT_TRUE(free.holds(sample.two));
    EXPECT_EQ(free.holds("Hello\n" + sample.one), sample.format != ToolFormat::kLlama3);
    EXPECT_FALSE(free.holds(sample.one + " Hello"));
    EXPECT_FALSE(free.holds(sample.one.substr(0, sample.one.size() - 1)))
        << "a begun call is finished";
    const Language text(sample.format, {.kind = ToolChoice::Kind::kNone}, {}, sample.special);
    EXPECT_TRUE(text.holds("Hello"));
    EXPECT_FALSE(text.holds(sample.one));
  }
}

TEST(ToolGrammar, ArgumentsFollowTheSchema) {
  const Language required(ToolFormat::kLlama3, {.kind = kRequired}, {});
  const auto call = [](const std::string& name, const std::string& arguments) {
    return "{\"name\": \"" + name + "\", \"parameters\": " + arguments + "}";
  };
  EXPECT_TRUE(required.holds(call("add", R"({"a": -7})")));
  EXPECT_TRUE(required.holds(call("no_args", "{}")));
  EXPECT_FALSE(required.holds(call("add", R"({"a": "1"})")));
  EXPECT_FALSE(required.holds(call("add", "{}")));
  EXPECT_FALSE(required.holds(call("add", R"({"a": 1, "b": 2})")));
  EXPECT_FALSE(required.holds(call("no_args", R"({"a": 1})")));
  EXPECT_FALSE(required.holds(call("sub", "{}")));
  const Language named(
      ToolFormat::kLlama3, {.kind = ToolChoice::Kind::kNamed, .name = "no_args"}, {});
  EXPECT_TRUE(named.holds(call("no_args", "{}")));
  EXPECT_FALSE(named.holds(call("add", R"({"a": 1})")));
}

// The error of a request with this schema, and whether it holds an object of any members.
Result<bool> takes_any_object(const std::string& function) {
  const auto specs =
      parse_tools(R"([{"type":"function","function":{"name":"x"}},{"type":"function","function":)" +
                  function + "}]");
  const auto words = tokenizer();
  GrammarBuilder builder;
  const ToolLanguage language{
      .format = ToolFormat::kLlama3, .tools = *specs, .tokenizer = words.get()};
  GENESIS_TRY(const auto expr, tool_calls_expr(builder, language, {}));
  GENESIS_TRY(const auto grammar, builder.build(expr));
  GrammarMatcher matcher = GrammarMatcher::create(grammar, TokenTrie::build(*words)).value();
  for (const std::int32_t id :
       words->encode(R"({"name": "f", "parameters": {"zz": 1}})", {.add_special_tokens = false})) {
    if (!matcher.accept(id)) {
      return false;
    }
  }
  return matcher.can_end();
}

TEST(ToolGrammar, SchemasOfEveryKind) {
  EXPECT_FALSE(takes_any_object(R"({"name":"f"})").value());
  EXPECT_FALSE(takes_any_object(R"({"name":"f","parameters":{"properties":{}}})").value());
  EXPECT_TRUE(
      takes_any_object(R"({"name":"f","parameters":{ "additionalProperties": true }})").value());
  const auto bad_type = takes_any_object(R"({"name":"f","parameters":{"type":"array"}})");
  ASSERT_FALSE(bad_type.has_value());
  EXPECT_EQ(bad_type.error().param, "tools[1].function.parameters.type");
  const std::string odd =
      R"("parameters":{"type":"object","unevaluatedProperties":false,"not":{"required":["q"]}})";
  EXPECT_TRUE(takes_any_object(R"({"name":"f",)" + odd + "}").value()) << "any object";
  const auto strict = takes_any_object(R"({"name":"f","strict":true,)" + odd + "}");
  ASSERT_FALSE(strict.has_value());
  EXPECT_EQ(strict.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(strict.error().param, "tools[1].function.parameters");
  EXPECT_THAT(strict.error().message, HasSubstr("tools[1].function.parameters"));
}

bool prefix_holds(ReasoningStart start,
                  std::string_view answer,
                  const std::vector<std::string>& special = {}) {
  const auto words = tokenizer(special);
  GrammarBuilder builder;
  const std::array<GrammarBuilder::Expr, 2> parts{reasoning_prefix_expr(builder, start, *words),
                                                  builder.literal("OK")};
  const auto grammar = builder.build(builder.sequence(parts)).value();
  GrammarMatcher matcher = GrammarMatcher::create(grammar, TokenTrie::build(*words)).value();
  for (const std::int32_t id : words->encode(answer, {.add_special_tokens = false})) {
    if (!matcher.accept(id)) {
      return false;
    }
  }
  return matcher.can_end();
}

TEST(ToolGrammar, ReasoningComesFirst) {
  using enum ReasoningFormat;
  EXPECT_TRUE(prefix_holds({}, "OK"));
  for (const std::vector<std::string>& special :
       {std::vector<std::string>(), std::vector<std::string>{"<think>", "</think>"}}) {
    EXPECT_TRUE(prefix_holds({.format = kThink}, "OK", special));
    EXPECT_TRUE(prefix_holds({.format = kThink}, "<think>\nHm <x>\n</think>\n\nOK", special));
    EXPECT_FALSE(prefix_holds({.format = kThink}, "<think>\nHm", special));
    EXPECT_FALSE(prefix_holds({.format = kThink}, "Hm</think>OK", special));
    EXPECT_TRUE(prefix_holds({.format = kThink, .inside = true}, "Hm\n</think>\n\nOK", special));
    EXPECT_FALSE(prefix_holds({.format = kThink, .inside = true}, "OK", special));
  }
}

}  // namespace
}  // namespace genesis::text
